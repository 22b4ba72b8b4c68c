"""The page a person looks at: pictures with their boxes and words, what was asked, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seetell.files import write_atomic
from seetell.generate.items import Item
from seetell.generate.outcome import STATES, Counts, Sample
from seetell.generate.parse import Parsed
from seetell.generate.prompts import context
from seetell.page import Card, Line, Page
from seetell.pictures import small_jpeg
from seetell.types import Rejected

PAGE = "report.html"
SIDE_PX = 320
FIRST_CARDS = 4  # above all figures
MOST_BARS = 40
FIRST_WORDS = 20  # of questions
ALWAYS_SHOWN = ("asked", "kept", "rejected")  # the other states only where there are any


def write_page(out: Path, counts: Counts, sample: Sample, report: Mapping[str, Any]) -> None:
    """Writes `report.html` beside `report.json`."""
    page = Page(f"Generated conversations: {out.name}")
    cards = [_card(item, result) for item, result in sample]
    if cards:
        page.paragraph("The boxes are what the teacher was told, or could have been told; it saw no picture.")
        page.grid(cards[:FIRST_CARDS], search=False)
    _figures(page, report)
    _kept(page, counts)
    if cards[FIRST_CARDS:]:
        page.heading("More of them")
        page.grid(cards[FIRST_CARDS:])
    write_atomic(out / PAGE, page.html())


def _figures(page: Page, report: Mapping[str, Any]) -> None:
    page.heading("What was asked, and what came of it")
    by_kind = report["by_kind"]
    states = [s for s in STATES if s in ALWAYS_SHOWN or any(counts[s] for counts in by_kind.values())]
    rows = [[kind, *(counts[state] for state in states)] for kind, counts in by_kind.items()]
    page.table([*rows, ["all", *(sum(row[at] for row in rows) for at in range(1, len(states) + 1))]], ["kind", *states])
    calls, tokens = report["calls"], report["tokens"]
    page.paragraph(
        f"{calls['sent']:,} requests were sent and {calls['answered']:,} answered, with {tokens['prompt']:,} tokens of "
        f"prompts and {tokens['completion']:,} of replies. Cost: ${report['cost_usd']:.2f}."
    )
    for title, name in (
        ("Rejected, and why", "rejected"),
        ("Given up, and why", "failed"),
        ("Not asked about, and why", "skipped"),
    ):
        if report[name]:
            page.heading(title)
            page.bars(report[name].items(), ("reason", "items"))


def _kept(page: Page, counts: Counts) -> None:
    """How long conversations and answers are, and how questions begin."""
    if counts.repairs:
        page.heading("Mended in kept replies")
        page.bars(counts.repairs.most_common(), ("repair", "times"))
    if counts.pairs:
        page.heading("Lengths")
        pairs = [(str(number), count) for number, count in _without_gaps(counts.pairs, 1)]
        page.bars(pairs, ("questions", "conversations"))
        words = [(f"{low}–{low + 9}", count) for low, count in _without_gaps(counts.answer_words, 10)]
        page.bars(words, ("words in an answer", "answers"))
        page.heading("How questions begin")
        page.bars(counts.first_words.most_common(FIRST_WORDS), ("first words", "questions"))


def _without_gaps(counts: Mapping[int, int], step: int) -> list[tuple[int, int]]:
    """From the least to the greatest number, with zeros between; numbers far apart stand as they are."""
    numbers = range(min(counts), max(counts) + 1, step)
    return [(number, counts.get(number, 0)) for number in (numbers if len(numbers) <= MOST_BARS else sorted(counts))]


def _card(item: Item, result: Parsed | Rejected) -> Card:
    """The picture with its boxes and the conversation; what the teacher read is folded."""
    scene = item.scene
    if isinstance(result, Rejected):
        lines = [Line("rejected", ": ".join(filter(None, (result.reason, result.detail))), right=False)]
        lines += [Line("reply", result.raw, folded=True)] if result.raw else []
    else:
        lines = [Line("Q" if turn.role == "user" else "A", turn.text) for turn in result.conversation.turns]
        lines += [Line("mended", ", ".join(result.repairs))] if result.repairs else []
    lines.append(Line(f"{len(scene.captions)} captions, {len(scene.boxes)} boxes", context(scene), folded=True))
    picture = None if scene.image is None else small_jpeg(scene.image, SIDE_PX)
    return Card(f"{item.kind} · {scene.id}", tuple(lines), picture, scene.boxes)
