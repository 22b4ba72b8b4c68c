"""The demo's page: what was done, how well the result sees, and pictures to judge it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seetell.files import write_atomic
from seetell.page import Card, Line, Page
from seetell.sources.drawn.questions import TYPES, is_right

if TYPE_CHECKING:
    from seetell.types import Item
    from seetell.verbs.demo_measure import Measured

SHOWN_SCENES = 48


def write_report(
    path: Path,
    report: Mapping[str, Any],
    measured: Measured,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    written: Mapping[str, int],
) -> None:
    page = Page("A language model that learned to see drawn scenes")
    stages = list(report["vqa_accuracy"])
    page.paragraph(
        f"{report['n_questions']} open questions about {report['n_scenes']} scenes that no training drew. Right means "
        "equal to an accepted short answer. before: the connector knows nothing yet. aligned: the connector "
        "learned from captions. tuned: connector and language model learned from conversations. blind: the tuned "
        "model, shown another scene's picture. best constant: what one and the same answer would get."
    )
    constant = report["best_constant"]
    rows = [[type, *(report["by_type"][type][stage] for stage in stages), constant[type]] for type in TYPES]
    rows.append(["all", *(report["vqa_accuracy"][stage] for stage in stages), ""])
    page.table(rows, ["questions", *stages, "best constant"])
    unseen = report["unseen_pairs"]
    page.paragraph(
        f"{unseen['n_questions']} questions turn on a kind in a colour that no picture and no caption of any training "
        f"showed together: {unseen['tuned']:.3f} right."
    )
    page.heading("What was trained, on how much, for how long")
    page.table([[name, seconds] for name, seconds in report["seconds"].items()], ["phase", "seconds"])
    page.table([[name, count] for name, count in written.items()], ["written by the built-in teacher", "count"])
    for stage, points in curves.items():
        page.plot({"loss": points}, f"{stage}: loss per supervised token", "step", "loss")
    page.link("How it learned, step by step, and what it said meanwhile", "run.html")
    page.heading("Pictures, questions, answers")
    page.grid(_cards(measured))
    write_atomic(path, page.html())


def _cards(measured: Measured) -> list[Card]:
    by_scene: dict[str, list[Item]] = {}
    for item in measured.items:
        by_scene.setdefault(item.group, []).append(item)
    cards: list[Card] = []
    for scene, items in list(by_scene.items())[:SHOWN_SCENES]:
        lines = [line for item in items for line in _lines(item, measured)]
        cards.append(Card(scene, tuple(lines), items[0].images[0].data))
    return cards


def _lines(item: Item, measured: Measured) -> list[Line]:
    said = {stage: measured.answers[stage].get(item.id, "") for stage in ("before", "tuned")}
    return [
        Line(item.kind, f"{item.question} — {item.accepted[0]}"),
        *(Line(stage, text[:60], is_right(text, item.accepted)) for stage, text in said.items()),
    ]
