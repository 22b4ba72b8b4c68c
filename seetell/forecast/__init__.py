"""What only `seetell plan` needs: a stage in figures before it runs."""
