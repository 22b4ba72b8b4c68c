"""A self-contained HTML page: headings, tables, bars, plots, pictures and cards, in one file without a network.

Everything that is shown is escaped. The page follows the reader's light or dark setting, fits a screen of 390 px,
prints well, and says nothing by colour alone (lines differ by dash, answers carry a mark, boxes have labels). The
series colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from seetell.page.cards import Card, Line, card_html, picture_address
from seetell.page.plot import Plot, Series, plot_html
from seetell.page.style import SCRIPT, STYLE
from seetell.page.tables import bars_html, table_html

__all__ = ["Card", "Line", "Page", "Plot", "Series"]


class Page:
    """Grows from top to bottom; `html` gives the whole file."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        self._parts.append(f"<p>{escape(text)}</p>")

    def terms(self, meanings: Mapping[str, str]) -> None:
        """Words that the page uses, with their meanings."""
        rows = "".join(f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in meanings.items())
        self._parts.append(f'<dl class="terms">{rows}</dl>')

    def table(self, rows: Iterable[Sequence[object]], header: Sequence[str], folded: str = "") -> None:
        """Numbers stand right-aligned, with digits of one width; floats get three decimals. `folded` is what is shown
        of a table that opens by a click."""
        table = f'<div class="wide">{table_html(rows, header)}</div>'
        self._parts.append(f"<details><summary>{escape(folded)}</summary>{table}</details>" if folded else table)

    def bars(self, rows: Iterable[tuple[str, int]], header: tuple[str, str]) -> None:
        """Counts by name."""
        self._parts.append(f'<div class="wide">{bars_html(rows, header)}</div>')

    def link(self, text: str, address: str) -> None:
        self._parts.append(f'<p><a href="{escape(address)}">{escape(text)}</a></p>')

    def plots(self, plots: Iterable[Plot]) -> None:
        """Side by side where there is room; a plot without a line is not drawn."""
        drawn = [plot_html(plot) for plot in plots]
        self._parts += [text for text in drawn if text.startswith("<p>")]
        figures = "".join(text for text in drawn if text.startswith("<figure>"))
        if figures:
            self._parts.append(f'<div class="plots">{figures}</div>')

    def picture(self, data: bytes, caption: str) -> None:
        self._parts.append(
            f'<figure class="picture"><img src="{picture_address(data)}" alt="{escape(caption)}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def grid(self, cards: Iterable[Card], search: bool = True) -> None:
        """Cards side by side, under a box that filters them by any text on them."""
        shown = [card_html(card) for card in cards]
        box = (
            '<label>Show only <input type="search" placeholder="any words"></label> '
            f"<output>{len(shown)} of {len(shown)}</output>"
        )
        grid = f'<div class="grid">{"".join(shown)}</div>'
        self._parts.append(f'<section class="cards">{box if search else ""}{grid}</section>')

    def html(self) -> str:
        title = escape(self.title)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
            f"<title>{title}</title><style>{STYLE}</style></head>\n"
            f"<body><main><h1>{title}</h1>\n"
            + "\n".join(self._parts)
            + f"\n</main><script>{SCRIPT}</script></body></html>\n"
        )
