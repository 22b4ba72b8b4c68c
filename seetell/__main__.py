"""`python -m seetell`, which `torchrun -m seetell` needs: the same as the command."""

from seetell.cli import main

if __name__ == "__main__":
    main()
