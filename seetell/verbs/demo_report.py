"""The demo's page: pictures to judge the result by, how well it sees, and what each phase took and made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seetell.files import write_atomic
from seetell.page import Card, Line, Page, Plot
from seetell.sources.drawn.questions import TYPES, is_right

if TYPE_CHECKING:
    from seetell.types import Item
    from seetell.verbs.demo_measure import Measured

SHOWN_SCENES = 48
FIRST_SCENES = 4  # above all figures
PHASES = ("draw", "write", "train", "align", "tune", "measure")
STAGES = ("align", "tune")  # the parts of "train"
COLUMNS = {
    "before": "the connector knows nothing yet",
    "aligned": "the connector has learned from captions",
    "tuned": "connector and language model have learned from conversations",
    "blind": "the tuned model, shown another scene's picture",
    "best constant": "what one and the same answer would get",
}
DESCRIPTIONS = {
    "true": "fraction of statements that the scene confirms",
    "named": "fraction of the scene's things that are named",
    "repeated": "descriptions that repeat a sentence",
    "cut_off": "descriptions that are cut off",
}
Points = Sequence[tuple[float, float]]


def write_report(
    path: Path,
    report: Mapping[str, Any],
    measured: Measured,
    curves: Mapping[str, Points],
    written: Mapping[str, int],
) -> None:
    page = Page("A language model that learned to see drawn scenes")
    cards = _cards(measured)
    accuracy = report["vqa_accuracy"]
    page.paragraph(
        f"{report['n_questions']:,} open questions about {report['n_scenes']} scenes that no training drew: "
        f"{accuracy['tuned']:.3f} of the answers are right, {accuracy['before']:.3f} before training, "
        f"{accuracy['blind']:.3f} when the model is shown another scene's picture. The first {FIRST_SCENES} scenes:"
    )
    page.grid(cards[:FIRST_SCENES], search=False)
    _answers(page, report)
    _conversation(page, report)
    _phases(page, report, curves, written)
    if cards[FIRST_SCENES:]:
        page.heading("More scenes")
        page.grid(cards[FIRST_SCENES:])
    write_atomic(path, page.html())


def fractions(
    page: Page, title: str, words: str, rows: Mapping[str, Mapping[str, float | None]], of: str = "questions"
) -> None:
    """A section with a table: a row for each name, its figures in columns; a row may lack some."""
    page.heading(title)
    page.paragraph(words)
    columns = list(dict.fromkeys(column for figures in rows.values() for column in figures))
    page.table([[name, *(figures.get(column) for column in columns)] for name, figures in rows.items()], [of, *columns])


def _answers(page: Page, report: Mapping[str, Any]) -> None:
    constant = report["best_constant"]
    rows = {type: {**report["by_type"][type], "best constant": constant[type]} for type in TYPES}
    fractions(
        page,
        "How many answers are right",
        "The fraction of answers that equal an accepted short answer.",
        {**rows, "all": report["vqa_accuracy"]},
    )
    page.terms(COLUMNS)
    unseen = report["unseen_pairs"]
    page.paragraph(
        f"{unseen['n_questions']} questions turn on a kind in a colour that no picture and no caption of any training "
        f"showed together: {unseen['tuned']:.3f} right."
    )


def _conversation(page: Page, report: Mapping[str, Any]) -> None:
    """Later turns, descriptions, and what is said without a picture."""
    turns = {"first": {"tuned": report["vqa_accuracy"]["tuned"]}}
    blind = report["later_turns_blind"]
    turns |= {turn: {"tuned": share, "blind": blind[turn]} for turn, share in report["later_turns"].items()}
    turns |= {f"second, after a {way}": {"tuned": share} for way, share in report["second_turn_after"].items()}
    fractions(
        page,
        "The same questions as later turns",
        "The earlier turns have the model's own replies. blind: the same turns without the picture.",
        turns,
        of="turn",
    )
    page.heading("Descriptions")
    page.table(
        [[DESCRIPTIONS.get(name, name), value] for name, value in report["descriptions"].items()], ["measure", ""]
    )
    page.heading("Without a picture")
    page.table(report["small_talk"].items(), ["what is said", "the model's reply"])


def _phases(page: Page, report: Mapping[str, Any], curves: Mapping[str, Points], written: Mapping[str, int]) -> None:
    """Each phase with its seconds and what it made; align and tune stand under train, which they are parts of."""
    page.heading("What each phase took and made")
    seconds = report["seconds"]
    made = {
        "write": " · ".join(f"{count:,} {name}" for name, count in written.items()),
        "measure": f"{report['n_questions'] * len(report['vqa_accuracy']):,} answers",
    }
    made |= {name: f"{points[-1][0]:,.0f} steps" for name, points in curves.items() if points}
    rows = [
        (f"– {name}" if name in STAGES else name, f"{seconds[name]:.1f}", made.get(name, ""))
        for name in (*PHASES, *(name for name in seconds if name not in PHASES))
        if name in seconds
    ]
    page.table(rows, ["phase", "seconds", "made"])
    page.plots(Plot(f"{name}: loss per supervised token", "step", "", {"loss": curves[name]}) for name in curves)
    page.link("How it learned, step by step, and what it said meanwhile", "run.html")


def _cards(measured: Measured) -> list[Card]:
    by_scene: dict[str, list[Item]] = {}
    for item in measured.items:
        by_scene.setdefault(item.group, []).append(item)
    cards: list[Card] = []
    for scene, items in list(by_scene.items())[:SHOWN_SCENES]:
        lines = [line for item in items for line in _lines(item, measured)]
        if scene in measured.described:
            request, text = measured.described[scene]
            lines.append(Line(request, text, folded=True))
        cards.append(Card(scene, tuple(lines), items[0].images[0].data))
    return cards


def _lines(item: Item, measured: Measured) -> list[Line]:
    said = {stage: measured.answers[stage].get(item.id, "") for stage in ("before", "tuned")}
    return [
        Line("", f"{item.question} — {item.accepted[0]}"),
        *(Line(stage, text[:60], is_right(text, item.accepted)) for stage, text in said.items()),
    ]
