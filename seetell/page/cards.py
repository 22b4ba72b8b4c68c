"""Cards: a picture, with boxes over it where there are any, and what was asked and said about it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from seetell.pictures import media_type
from seetell.types import Box, Rejected

BOX_COLOURS = 7  # of the page's style
RIGHT_PART = 0.6  # a label of a box that begins further right ends where the box ends


@dataclass(frozen=True, slots=True)
class Line:
    """One labelled text on a card; `right` marks it as a right or a wrong answer.

    A line without a label begins a group: it is what the lines after it are about. A `folded` one opens by a click.
    """

    label: str
    text: str
    right: bool | None = None
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """A picture (PNG or JPEG bytes, or why there is none) with what belongs to it; `boxes` are drawn on it."""

    title: str
    lines: tuple[Line, ...] = ()
    picture: bytes | Rejected | None = field(default=None, repr=False)
    boxes: tuple[Box, ...] = ()


def card_html(card: Card) -> str:
    lines = "".join(_line(line) for line in card.lines if not line.folded)
    folded = "".join(
        f"<details><summary>{escape(line.label)}</summary><p>{escape(line.text)}</p></details>"
        for line in card.lines
        if line.folded
    )
    words = f"<dl>{lines}</dl>" if lines else ""
    return f"<article>{_picture(card)}<h3>{escape(card.title)}</h3>{words}{folded}</article>"


def picture_address(data: bytes) -> str:
    return f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"


def _line(line: Line) -> str:
    mark = {True: '<b class="right" title="right">✓</b> ', False: '<b class="wrong" title="wrong">✗</b> ', None: ""}
    if not line.label:
        return f'<dt class="about">{mark[line.right]}{escape(line.text)}</dt>'
    return f"<dt>{escape(line.label)}</dt><dd>{mark[line.right]}{escape(line.text)}</dd>"


def _picture(card: Card) -> str:
    if isinstance(card.picture, Rejected):
        return f'<p class="wrong">{escape(card.picture.reason)}</p>'
    if not card.picture:
        return ""
    image = f'<img src="{picture_address(card.picture)}" alt="{escape(card.title)}" loading="lazy">'
    return f'<div class="seen">{image}{_boxes(card.boxes)}</div>' if card.boxes else image


def _boxes(boxes: Sequence[Box]) -> str:
    """Outlines with their labels on hover, the small ones on top; the largest of each label also wears it."""
    colours = {label: at % BOX_COLOURS for at, label in enumerate(dict.fromkeys(box.label for box in boxes))}
    by_size = sorted(boxes, key=_area, reverse=True)
    outlines = "".join(
        f'<rect class="b{colours[box.label]}" x="{box.x0:.4g}" y="{box.y0:.4g}" width="{max(box.x1 - box.x0, 0):.4g}" '
        f'height="{max(box.y1 - box.y0, 0):.4g}"><title>{escape(box.label)}</title></rect>'
        for box in by_size
    )
    largest: dict[str, Box] = {}
    for box in by_size:
        largest.setdefault(box.label, box)
    labels = "".join(
        f'<span class="b{colours[label]}" style="{_place(box)}">{escape(label)}</span>'
        for label, box in largest.items()
    )
    return f'<svg viewBox="0 0 1 1" preserveAspectRatio="none">{outlines}</svg>{labels}'


def _place(box: Box) -> str:
    side = f"right:{100 * (1 - box.x1):.1f}%" if box.x0 > RIGHT_PART else f"left:{100 * box.x0:.1f}%"
    return f"{side};top:{100 * box.y0:.1f}%"


def _area(box: Box) -> float:
    return (box.x1 - box.x0) * (box.y1 - box.y0)
