"""The page a person looks at: what was asked, what came of it, and pictures with their boxes, contexts and words."""

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
from seetell.pictures import jpeg, small_picture
from seetell.types import Box, Rejected, Scene

PAGE = "report.html"
SIDE_PX = 320
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")  # Okabe and Ito's


def write_page(out: Path, counts: Counts, sample: Sample, report: Mapping[str, Any]) -> None:
    """Writes `report.html` beside `report.json`."""
    page = Page(f"Generated conversations: {out.name}")
    _figures(page, report)
    _tables(page, counts)
    page.heading("Some of them")
    page.paragraph("The boxes are what the teacher was told, or could have been told; it saw no picture.")
    page.grid(_card(item, result) for item, result in sample)
    write_atomic(out / PAGE, page.html())


def _figures(page: Page, report: Mapping[str, Any]) -> None:
    rows = [[kind, *(states[state] for state in STATES)] for kind, states in report["by_kind"].items()]
    page.table([*rows, ["all", *(sum(row[at] for row in rows) for at in range(1, len(STATES) + 1))]], ["kind", *STATES])
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
            page.table(list(report[name].items()), ["reason", "items"])


def _tables(page: Page, counts: Counts) -> None:
    if counts.repairs:
        page.heading("Mended in kept replies")
        page.table(counts.repairs.most_common(), ["repair", "times"])
    if counts.pairs:
        page.heading("Lengths")
        page.table(sorted(counts.pairs.items()), ["questions", "conversations"])
        words = [(float(low), float(count)) for low, count in sorted(counts.answer_words.items())]
        page.plot({"answers": words}, "Words in an answer", "words, in tens", "answers")
        page.heading("How questions begin")
        page.table(counts.first_words.most_common(25), ["first words", "questions"])


def _card(item: Item, result: Parsed | Rejected) -> Card:
    lines = [Line("id", item.scene.id), Line("context", context(item.scene))]
    if isinstance(result, Rejected):
        lines += [Line("rejected", f"{result.reason}: {result.detail}", right=False), Line("reply", result.raw)]
    else:
        lines += [Line("Q" if turn.role == "user" else "A", turn.text) for turn in result.conversation.turns]
        lines += [Line("mended", ", ".join(result.repairs))] if result.repairs else []
    return Card(item.kind, tuple(lines), picture_with_boxes(item.scene))


def picture_with_boxes(scene: Scene) -> bytes | Rejected | None:
    """A small JPEG with the boxes drawn, or why there is none; None for a scene without a picture."""
    from PIL import ImageDraw

    picture = None if scene.image is None else small_picture(scene.image, SIDE_PX)
    if picture is None or isinstance(picture, Rejected):
        return picture
    pen = ImageDraw.Draw(picture)
    colours: dict[str, str] = {}
    for box in scene.boxes:
        colour = colours.setdefault(box.label, COLOURS[len(colours) % len(COLOURS)])
        pen.rectangle(_corners(box, picture.width, picture.height), outline=colour, width=2)
        pen.text((box.x0 * picture.width + 3, box.y0 * picture.height + 1), box.label, fill=colour)
    return jpeg(picture)


def _corners(box: Box, width_px: int, height_px: int) -> tuple[float, float, float, float]:
    return box.x0 * width_px, box.y0 * height_px, max(box.x1, box.x0) * width_px, max(box.y1, box.y0) * height_px
