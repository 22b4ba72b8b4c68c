"""A stage's numbers as lines over its steps: smoothed losses, rates, speed. Read from `metrics.jsonl`, plain Python.

A smoothed value is a weighted mean of what came before, each step counting a little less than the one behind it;
losses weigh by their supervised tokens, as the loss of a step does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from seetell.train.run_files import HELD_OUT_LOSS

Points = list[tuple[float, float]]
SMOOTHED_OVER = 0.02  # of a stage's steps, and at least
SMOOTHED_OVER_STEPS = 5
SPEEDS = 60  # points of a curve of speed, each a mean over its part of the stage


@dataclass(slots=True)
class Curves:
    """Lines of (step, value) by name."""

    loss: Points = field(default_factory=Points)
    smoothed: Points = field(default_factory=Points)
    held_out: Points = field(default_factory=Points)
    by_source: dict[str, Points] = field(default_factory=dict[str, Points])  # smoothed
    lr: dict[str, Points] = field(default_factory=dict[str, Points])
    grad_norm: Points = field(default_factory=Points)
    speed: Points = field(default_factory=Points)  # samples/s
    observed: dict[str, Points] = field(default_factory=dict[str, Points])


def curves_of(rows: Sequence[Mapping[str, Any]]) -> Curves:
    """The lines of one stage's rows of metrics."""
    curves = Curves()
    weighed: list[tuple[float, float, float]] = []
    of_source: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for row in rows:
        step = float(row["step"])
        for name, value in row.items():
            if name.startswith("lr_"):
                curves.lr.setdefault(name.removeprefix("lr_"), []).append((step, float(value)))
            elif name.startswith("observed_"):
                curves.observed.setdefault(name.removeprefix("observed_"), []).append((step, float(value)))
        if HELD_OUT_LOSS in row:
            curves.held_out.append((step, float(row[HELD_OUT_LOSS])))
        if "loss" in row:
            curves.loss.append((step, float(row["loss"])))
            curves.grad_norm.append((step, float(row["grad_norm"])))
            weighed.append((step, float(row["loss"]), float(row["supervised"])))
            for name, loss in row.get("loss_by_source", {}).items():
                of_source[name].append((step, float(loss), float(row["supervised_by_source"][name])))
    over = max(SMOOTHED_OVER_STEPS, SMOOTHED_OVER * len(weighed))
    curves.smoothed = smoothed(weighed, over)
    curves.by_source = {name: smoothed(points, over) for name, points in of_source.items()}
    curves.speed = rates([row for row in rows if "seconds" in row and "samples" in row], "samples")
    return curves


def smoothed(points: Iterable[tuple[float, float, float]], over_steps: float) -> Points:
    """(step, value, weight) as a running mean that forgets by steps, so that a source seen rarely is not held up."""
    total = weight = 0.0
    before = None
    line: Points = []
    for step, value, share in points:
        kept = (1 - 1 / over_steps) ** (step - before) if before is not None else 0.0
        total, weight, before = total * kept + value * share, weight * kept + share, step
        line.append((step, total / weight))
    return line


def rates(rows: Sequence[Mapping[str, Any]], total: str) -> Points:
    """How fast a running total grew, in parts of the stage; what each part takes includes looking up from work."""
    size = max(1, len(rows) // SPEEDS)
    marks = rows[::size] if (len(rows) - 1) % size == 0 else [*rows[::size], rows[-1]]
    line: Points = []
    for before, after in pairwise(marks):
        seconds = float(after["seconds"]) - float(before["seconds"])
        if seconds > 0:
            line.append((float(after["step"]), (float(after[total]) - float(before[total])) / seconds))
    return line
