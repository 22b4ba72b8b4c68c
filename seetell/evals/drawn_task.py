"""The drawn-scene task in the shape of every other: the demo's own questions and rule, its answers in a report."""

from __future__ import annotations

from pathlib import Path

from seetell.evals import drawn
from seetell.evals.task import Number, Score, Task, Totals, right_or_wrong, shares
from seetell.sources.drawn.questions import TYPES
from seetell.types import Answer, Item

SCENES = 250  # as many as the demo asks about, so that its table can be had again


def items(data: Path) -> list[Item]:
    """Nothing is read: the scenes are drawn again."""
    del data
    return drawn.items(SCENES)


def score(item: Item, answer: Answer) -> Score:
    return right_or_wrong(item, drawn.score(item, answer), item.kind, "all", evidence=drawn.normal(answer.text))


def metrics(totals: Totals) -> dict[str, Number]:
    found = shares(totals)
    return {name: found[name] for name in (*TYPES, "all") if name in found}


TASK = Task(
    name="drawn",
    title="Drawn scenes",
    headline="all",
    unit="picture",
    layout="nothing: the scenes are drawn when they are asked about",
    items=items,
    score=score,
    metrics=metrics,
)
