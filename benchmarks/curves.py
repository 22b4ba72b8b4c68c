"""Prints how a run's losses fell, as a table for the docs: what another run of the same recipe can be held against.

    python benchmarks/curves.py runs/demo

reads `metrics.jsonl` there. Losses are smoothed as on the run's page (`train/curves.py`), at the first step and at
fractions of each stage, with the figures that observers saw nearest before.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from seetell.files import read_jsonl, write_json
from seetell.train.curves import Points, curves_of
from seetell.train.run_files import METRICS

FRACTIONS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--json", type=Path, help="write the same numbers here")
    given = parser.parse_args()
    table = table_of(given.run)
    for line in as_markdown(table):
        print(line)
    if given.json:
        write_json(given.json, table)


def table_of(run: Path) -> dict[str, dict[str, dict[str, float]]]:
    """By stage and line, the value at each step that is shown."""
    rows = list(read_jsonl(run / METRICS))
    table: dict[str, dict[str, dict[str, float]]] = {}
    for stage in dict.fromkeys(str(row["stage"]) for row in rows):
        curves = curves_of([row for row in rows if row["stage"] == stage])
        last = curves.loss[-1][0]
        steps = sorted({curves.loss[0][0], *(max(1.0, round(last * part)) for part in FRACTIONS)})
        lines = {"loss": curves.smoothed, **{f"loss/{name}": line for name, line in curves.by_source.items()}}
        table[stage] = {name: at_steps(line, steps) for name, line in (lines | curves.observed).items()}
    return table


def at_steps(line: Points, steps: list[float]) -> dict[str, float]:
    """The last value not behind each step; nothing before the first."""
    found: dict[str, float] = {}
    for step in steps:
        known = [value for at, value in line if at <= step]
        if known:
            found[f"{step:.0f}"] = round(known[-1], 3)
    return found


def as_markdown(table: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """A table for each stage, a column for each step."""
    lines: list[str] = []
    for stage, values in table.items():
        steps = list(values["loss"])
        lines += [f"| {stage}, step | {' | '.join(steps)} |", "| --- |" + " ---: |" * len(steps)]
        lines += [f"| {name} | {' | '.join(str(at.get(s, '')) for s in steps)} |" for name, at in values.items()]
        lines.append("")
    return lines


if __name__ == "__main__":
    main()
