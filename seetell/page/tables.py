"""Tables and bars. A table that is too wide for a narrow screen is laid out there as a block a row."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape

NARROW_CHARS = 48  # what a line of a table holds on a screen of 390 px
GAP_CHARS = 1.5  # between columns there
LONG_WORD_CHARS = 20  # a longer one may be broken
EMPTY = "—"
_ONE = r"[-+±]?[\d\s,.:]+(e[-+]?\d+)?\s*(%|s|ms|min|h|MB|MiB|GB|GiB)?"
_NUMBER = re.compile(rf"{_ONE}( to {_ONE})?|[—–-]?")


def cell(value: object) -> str:
    """Floats with three decimals, counts in groups of three."""
    if isinstance(value, float):
        return f"{value:.3f}" if math.isfinite(value) else EMPTY
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return EMPTY if value is None else str(value)


def table_html(rows: Iterable[Sequence[object]], header: Sequence[str]) -> str:
    """Columns of numbers stand right-aligned, with digits of one width; an empty cell among them changes nothing."""
    texts = [[cell(value) for value in row] for row in rows]
    columns = [[row[at] for row in texts] for at in range(len(header))]
    numeric = [any(column) and all(map(_NUMBER.fullmatch, column)) for column in columns]
    classes = [_class("number" if numbers else "", column) for numbers, column in zip(numeric, columns, strict=True)]
    head = "".join(f'<th scope="col"{mark}>{escape(name)}</th>' for name, mark in zip(header, classes, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{mark} data-of="{escape(name)}">{escape(text)}</td>'
            for text, mark, name in zip(row, classes, header, strict=True)
        )
        + "</tr>"
        for row in texts
    )
    stacked = ' class="stacked"' if _chars(header, columns) > NARROW_CHARS else ""
    return f"<table{stacked}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def bars_html(rows: Iterable[tuple[str, int]], header: tuple[str, str]) -> str:
    """Counts, each with a bar as long as its share of the greatest."""
    counts = list(rows)
    most = max((count for _, count in counts), default=0)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="number">{count:,}</td>'
        f'<td class="bar"><i style="width:{100 * count / most if most else 0:.1f}%"></i></td></tr>'
        for name, count in counts
    )
    return (
        f'<table class="bars"><thead><tr><th scope="col">{escape(header[0])}</th>'
        f'<th scope="col" class="number">{escape(header[1])}</th><td></td></tr></thead><tbody>{body}</tbody></table>'
    )


def _class(mark: str, column: Sequence[str]) -> str:
    long = any(len(word) > LONG_WORD_CHARS for text in column for word in text.split())
    names = " ".join(name for name in (mark, "long" if long else "") if name)
    return f' class="{names}"' if names else ""


def _chars(header: Sequence[str], columns: Sequence[Sequence[str]]) -> float:
    """The least width of a table: of each column the longest word, which is not broken unless it is long."""
    words = (
        [word for text in (name, *column) for word in text.split()]
        for name, column in zip(header, columns, strict=True)
    )
    longest = (min(max(map(len, each), default=0), LONG_WORD_CHARS) for each in words)
    return sum(longest) + GAP_CHARS * (len(header) - 1)
