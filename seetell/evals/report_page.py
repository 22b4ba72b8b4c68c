"""The report as one self-contained page: a few pictures, the tables, and every question with its picture and answers.

Pictures are made small, so that a page of hundreds stays a few megabytes; a box filters the cards by any words on
them ("wrong", a category, a model's words).
"""

from __future__ import annotations

from collections.abc import Sequence

from seetell.evals.report import Figures, Table, figures_lines
from seetell.evals.run import Row, Run
from seetell.evals.task import Score
from seetell.page import Card, Line, Page
from seetell.pictures import small_jpeg
from seetell.types import Unscored

MOST_CARDS = 300
FIRST_CARDS = 4  # above all figures, of one picture each
SIDE_PX = 280
SHOWN_CHARS = 1200


def page(figures: Figures) -> str:
    """The whole file."""
    shown = Page(figures.task.title)
    for line in figures_lines(figures):
        shown.paragraph(line)
    cards = _cards(figures.runs)
    by_picture = {card.picture: card for card in reversed(cards) if isinstance(card.picture, bytes)}
    first = list(reversed(by_picture.values()))[:FIRST_CARDS]
    if first:
        shown.grid(first, search=False)
    shown.heading("Figures")
    _table(shown, figures.metrics())
    if figures.compared()[1]:
        shown.heading("Differences")
        shown.paragraph(
            f"Over the {figures.task.unit}s that both have. The last column says how many would tell runs that differ "
            "this much apart, four times out of five."
        )
        _table(shown, figures.compared())
    for table in figures.published:
        shown.heading(table.title)
        _table(shown, figures.beside(table))
        if table.note:
            shown.paragraph(table.note)
    shown.heading("How")
    _table(shown, figures.facts())
    others = [card for card in cards if card not in first]
    if others:
        shown.heading("More questions and answers" if first else "Questions and answers")
        if len(cards) == MOST_CARDS:
            shown.paragraph(f"The first {MOST_CARDS}; scores.jsonl in each run's folder has them all.")
        shown.grid(others)
    return shown.html()


def _table(shown: Page, table: Table) -> None:
    header, rows = table
    if rows:
        shown.table(rows, header)


def _cards(runs: Sequence[Run]) -> list[Card]:
    """A card an item, with every run's answer."""
    by_item: dict[str, dict[str, list[Row]]] = {}
    for run in runs:
        for row in run.rows:
            by_item.setdefault(row.item.id, {}).setdefault(run.name, []).append(row)
    return [_card(id, said) for id, said in list(by_item.items())[:MOST_CARDS]]


def _card(id: str, said: dict[str, list[Row]]) -> Card:
    item = next(iter(said.values()))[0].item
    lines = [Line("question", _short(item.question))]
    lines += [Line("kind", item.kind)] if item.kind else []
    lines += [Line("reference", _short("; ".join(dict.fromkeys(item.accepted))))] if item.accepted else []
    for name, rows in said.items():
        results = [row.result for row in rows]
        lines.append(Line(name, _short(rows[0].answer.text) or "(nothing)", _right(results)))
        for row in rows:
            lines.append(Line("verdict", _short(_verdict(row))))
    return Card(id, tuple(lines), small_jpeg(item.images[0], SIDE_PX) if item.images else None)


def _right(results: Sequence[Score | Unscored | None]) -> bool | None:
    """A mark where the rule says right or wrong; a judge's points are no mark."""
    values = [result.value for result in results if isinstance(result, Score) and result.value in (0.0, 1.0)]
    return bool(values[0]) if len(values) == len(results) == 1 else None


def _verdict(row: Row) -> str:
    if isinstance(row.result, Unscored):
        return f"no score: {row.result.reason} {row.verdict}"
    if row.result is None:
        return "not scored here"
    if row.verdict:
        return f"{'other order: ' if row.swapped else ''}{row.verdict}"
    mark = "right" if row.result.value == 1 else "wrong" if row.result.value == 0 else f"{row.result.value:.3f}"
    return mark + ("" if row.result.parsed else ", could not be read")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + " …"
