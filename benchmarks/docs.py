"""Runs the commands of README.md and docs/ that are marked slow, really, each page in a fresh copy of the checkout.

    python benchmarks/docs.py                        every page
    python benchmarks/docs.py README.md --json t.json

The others are run by the tests (`tests/flow/test_documents.py`); `tests/documents.py` says how a page marks them.
What changes the shell (`cd`, `source`, `export`) holds for the commands after it. Prints a table; the exit code
is the number of commands that failed. `make demo` installs from the package index that pip knows.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from seetell.files import write_json
from tests.documents import ROOT, Step, pages, steps_of

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache")
KEPT = ("cd ", "source ", "export ")  # what changes the shell that one types in


@dataclass
class Ran:
    """How a command ended."""

    step: Step
    seconds: float
    exit_code: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", help="their names, such as README.md; else all")
    parser.add_argument("--folder", type=Path, help="where to work; else a temporary folder")
    parser.add_argument("--json", type=Path, help="write the same table here")
    given = parser.parse_args()
    chosen = [page for page in pages() if not given.pages or page.name in given.pages]
    with tempfile.TemporaryDirectory() as own:
        ran = [each for page in chosen for each in run_page(page, given.folder or Path(own))]
    print("| command | seconds | |\n| --- | ---: | --- |")
    for each in ran:
        command = " ".join(each.step.text.replace("\\\n", " ").split())
        ended = "" if each.exit_code == 0 else f"exit code {each.exit_code}"
        print(f"| `{command}` ({each.step.page}) | {each.seconds:.0f} | {ended} |")
    if given.json:
        write_json(
            given.json,
            [{"step": str(each.step), "seconds": each.seconds, "exit_code": each.exit_code} for each in ran],
        )
    sys.exit(sum(each.exit_code != 0 for each in ran))


def run_page(page: Path, folder: Path) -> Iterator[Ran]:
    steps = [step for step in steps_of(page) if "slow" in step.marks and "not run" not in step.marks]
    if not steps:
        return
    checkout = folder / page.stem
    shutil.copytree(ROOT, checkout, ignore=LEFT_OUT)
    stand_ins = None
    if any("stand-in" in step.marks for step in steps):
        from tests.stand_ins import StandIns

        stand_ins = StandIns(folder / f"{page.stem}-stand-ins")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    before: list[str] = []
    for step in steps:
        command = f"python -c {shlex.quote(step.text)}" if step.is_python else step.text
        print(f"$ {command}", file=sys.stderr)
        began_s = time.monotonic()
        with stand_ins.linked(checkout) if stand_ins and "stand-in" in step.marks else nullcontext():
            ended = subprocess.run(["bash", "-ec", "\n".join([*before, command])], cwd=checkout, env=environment)
        yield Ran(step, time.monotonic() - began_s, ended.returncode)
        if command.startswith(KEPT):
            before.append(command)


if __name__ == "__main__":
    main()
