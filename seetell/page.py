"""A self-contained HTML page: headings, tables, plots, pictures and cards, in one file without a network.

Everything that is shown is escaped; plots are SVG drawn here; the page follows the reader's light or dark
setting, prints well, and says nothing by colour alone (lines differ by dash, answers carry a mark). The
series colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from seetell.pictures import media_type
from seetell.types import Rejected

WIDTH, HEIGHT = 720, 320  # of a plot, in SVG units
SMALL_WIDTH, SMALL_HEIGHT = 520, 260  # of one that stands beside others
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 48  # its margins
MAX_POINTS = 600  # of a series: more than the plot's width would draw over themselves
DASHES = ("", "7 4", "2 4", "9 3 2 3", "1 3", "12 5")
_NUMBER = re.compile(r"[-+±]?[\d\s,.]+(e[-+]?\d+)?\s*(%|s|ms|min|h|MB|MiB|GB|GiB)?|[—–-]")


@dataclass(frozen=True, slots=True)
class Line:
    """One labelled text on a card; `right` marks it as a right or a wrong answer."""

    label: str
    text: str
    right: bool | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A picture (PNG or JPEG bytes, or why there is none) with what belongs to it."""

    title: str
    lines: tuple[Line, ...] = ()
    picture: bytes | Rejected | None = field(default=None, repr=False)


Series = Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines over one pair of axes; points that are not finite are left out, under `log` also those not above 0.

    The lines that `faint` names lie pale behind the others.
    """

    title: str
    x_label: str
    y_label: str
    series: Series
    faint: tuple[str, ...] = ()
    log: bool = False


class Page:
    """Grows from top to bottom; `html` gives the whole file."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        self._parts.append(f"<p>{escape(text)}</p>")

    def table(self, rows: Iterable[Sequence[object]], header: Sequence[str]) -> None:
        """Numbers stand right-aligned, with digits of one width; floats get three decimals."""
        body = [[_cell(value) for value in row] for row in rows]
        numeric = [bool(body) and all(_NUMBER.fullmatch(row[at]) for row in body) for at in range(len(header))]
        marks = [' class="number"' if number else "" for number in numeric]
        head = "".join(f'<th scope="col"{mark}>{escape(name)}</th>' for name, mark in zip(header, marks, strict=True))
        lines = [
            "<tr>" + "".join(f"<td{mark}>{escape(text)}</td>" for text, mark in zip(row, marks, strict=True)) + "</tr>"
            for row in body
        ]
        self._parts.append(
            f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
        )

    def link(self, text: str, address: str) -> None:
        self._parts.append(f'<p><a href="{escape(address)}">{escape(text)}</a></p>')

    def plot(self, series: Series, title: str, x_label: str, y_label: str) -> None:
        """One plot, as wide as text."""
        self._parts.append(_figure(Plot(title, x_label, y_label, series), WIDTH, HEIGHT))

    def plots(self, plots: Iterable[Plot]) -> None:
        """Several, side by side where there is room."""
        drawn = "".join(_figure(plot, SMALL_WIDTH, SMALL_HEIGHT) for plot in plots)
        self._parts.append(f'<div class="plots">{drawn}</div>')

    def picture(self, data: bytes, caption: str) -> None:
        self._parts.append(
            f'<figure class="picture"><img src="{_data_address(data)}" alt="{escape(caption)}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def grid(self, cards: Iterable[Card]) -> None:
        """Cards side by side under a box that filters them by any text on them."""
        shown = [_card(card) for card in cards]
        self._parts.append(
            f'<section class="cards"><label>Show only <input type="search" placeholder="any words"></label> '
            f'<output>{len(shown)} of {len(shown)}</output><div class="grid">{"".join(shown)}</div></section>'
        )

    def html(self) -> str:
        title = escape(self.title)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
            f"<title>{title}</title><style>{_style()}</style></head>\n"
            f"<body><main><h1>{title}</h1>\n"
            + "\n".join(self._parts)
            + f"\n</main><script>{_SCRIPT}</script></body></html>\n"
        )


# --------------------------------------------------------------------------------------------- plots


def _figure(plot: Plot, width: int, height: int) -> str:
    """A plot with its title and legend."""
    legend = "".join(
        f'<li><svg viewBox="0 0 28 8" aria-hidden="true"><path class="{_line_class(at, plot, name)}" d="M0 4H28"/>'
        f"</svg>{escape(name)}</li>"
        for at, name in enumerate(plot.series)
    )
    legend = f'<ul class="legend">{legend}</ul>' if len(plot.series) > 1 else ""
    return (
        f"<figure><figcaption>{escape(plot.title)}</figcaption>{legend}{_Drawing(plot, width, height).svg()}</figure>"
    )


def _line_class(at: int, plot: Plot, name: str) -> str:
    """Beyond six lines colours come again, each with another dash."""
    count = len(DASHES)
    return "series faint" if name in plot.faint else f"series s{at % count} d{(at + at // count) % count}"


class _Drawing:
    """Scales from values to the SVG's units, and the drawing."""

    def __init__(self, plot: Plot, width: int, height: int) -> None:
        self.plot, self.width, self.height = plot, width, height
        self.lines = {name: _thinned(points, plot.log) for name, points in plot.series.items()}
        points = [point for line in self.lines.values() for point in line]
        self.x_ticks = ticks([x for x, _ in points])
        self.y_ticks = ticks([y for _, y in points])

    def x(self, value: float) -> float:
        first, last = self.x_ticks[0], self.x_ticks[-1]
        return LEFT + (value - first) / (last - first) * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        first, last = self.y_ticks[0], self.y_ticks[-1]
        return self.height - BOTTOM - (value - first) / (last - first) * (self.height - TOP - BOTTOM)

    def svg(self) -> str:
        plot, width, height = self.plot, self.width, self.height
        base, middle = height - BOTTOM, (TOP + height - BOTTOM) / 2
        parts = [f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(plot.title)}">']
        for value in self.y_ticks:
            at, shown = f"{self.y(value):.1f}", f"{10**value:.3g}" if plot.log else _tick(value)
            parts.append(f'<path class="rule" d="M{LEFT} {at}H{width - RIGHT}"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{at}" dy=".32em" text-anchor="end">{shown}</text>')
        for value in self.x_ticks:
            at = f"{self.x(value):.1f}"
            parts.append(f'<path class="rule" d="M{at} {base}v5"/>')
            parts.append(f'<text x="{at}" y="{base + 19}" text-anchor="middle">{_tick(value)}</text>')
        numbered = sorted(enumerate(self.lines.items()), key=lambda one: one[1][0] not in plot.faint)
        for number, (name, points) in numbered:
            path = "".join(f"{'L' if at else 'M'}{self.x(x):.1f} {self.y(y):.1f}" for at, (x, y) in enumerate(points))
            if len(points) == 1:
                path += "h.01"  # a line without length is drawn as a dot by its round caps
            parts.append(
                f'<path class="{_line_class(number, plot, name)}" d="{path}"><title>{escape(name)}</title></path>'
            )
        parts.append(
            f'<text class="axis" x="{(LEFT + width - RIGHT) / 2}" y="{height - 8}" text-anchor="middle">'
            f"{escape(plot.x_label)}</text>"
            f'<text class="axis" transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">'
            f"{escape(plot.y_label)}</text></svg>"
        )
        return "".join(parts)


def ticks(values: Sequence[float], about: int = 5) -> list[float]:
    """Round values, evenly spaced by 1, 2 or 5 times a power of ten, that enclose all that is given."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    size = max(abs(low), abs(high))
    if high - low <= max(1e-9 * size, 1e-15):  # as good as one value: room above and below it
        half = size / 2 if size > 1e-15 else 0.5
        low, high = low - half, high + half
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _thinned(points: Sequence[tuple[float, float]], log: bool = False) -> list[tuple[float, float]]:
    """Finite points; of a long series, the mean of each run of neighbours."""
    if log:
        points = [(x, math.log10(y)) for x, y in points if y > 0]
    finite = [(float(x), float(y)) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    size = math.ceil(len(finite) / MAX_POINTS)
    runs = [finite[at : at + size] for at in range(0, len(finite), size)] if size > 1 else [[point] for point in finite]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def _tick(value: float) -> str:
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}")


# ------------------------------------------------------------------------------------------- pieces


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if math.isfinite(value) else "—"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "—" if value is None else str(value)


def _card(card: Card) -> str:
    if isinstance(card.picture, Rejected):
        image = f'<p class="wrong">{escape(card.picture.reason)}</p>'
    else:
        alt = escape(card.title)
        image = f'<img src="{_data_address(card.picture)}" alt="{alt}" loading="lazy">' if card.picture else ""
    marks = {True: '<b class="right" title="right">✓</b> ', False: '<b class="wrong" title="wrong">✗</b> ', None: ""}
    lines = "".join(
        f"<dt>{escape(line.label)}</dt><dd>{marks[line.right]}{escape(line.text)}</dd>" for line in card.lines
    )
    return f"<article>{image}<h3>{escape(card.title)}</h3><dl>{lines}</dl></article>"


def _data_address(data: bytes) -> str:
    return f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"


def _style() -> str:
    lines = "".join(
        f".s{at}{{stroke:var(--s{at})}}.d{at}{{stroke-dasharray:{dash or 'none'}}}" for at, dash in enumerate(DASHES)
    )
    return _STYLE + lines


_STYLE = """
:root{color-scheme:light dark;--ground:#fcfcfa;--ink:#1d2125;--soft:#5c6670;--rule:#dcdfe3;--raised:#fff;--link:#0072b2;
--right:#00734f;--wrong:#b03a00;--s0:#0072b2;--s1:#d55e00;--s2:#00916a;--s3:#b3538a;--s4:#8a6d00;--s5:#3d8fc4}
@media (prefers-color-scheme:dark){:root{--ground:#14171a;--ink:#e6e8ea;--soft:#9aa4ae;--rule:#333a41;--raised:#1c2024;
--link:#56b4e9;--right:#3fcf9f;--wrong:#ff9d5c;--s0:#56b4e9;--s1:#ff8c42;--s2:#2fc99a;--s3:#e79ac4;--s4:#f0e442;--s5:#8ec7ee}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1080px;margin:0 auto;padding:2.5rem 1.25rem 5rem}
h1{font-size:1.9rem;line-height:1.2;letter-spacing:-.01em;margin:0 0 1.5rem}
h2{font-size:1.25rem;margin:2.75rem 0 .75rem;padding-top:1rem;border-top:1px solid var(--rule)}
p{max-width:68ch;margin:.6rem 0}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-size:.95rem}
th,td{padding:.4rem 1.1rem .4rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
th{color:var(--soft);font-weight:600;white-space:nowrap}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tbody tr:hover{background:color-mix(in srgb,var(--link) 7%,transparent)}
figure{margin:1.5rem 0;max-width:760px}
a{color:var(--link)}
.plots{display:grid;gap:1.5rem 2rem;margin:1.25rem 0;
grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr))}
.plots figure{margin:0}
figcaption{font-weight:600;margin-bottom:.35rem}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.25rem;margin:0 0 .35rem;padding:0;
font-size:.9rem;color:var(--soft)}
.legend svg{width:28px;height:8px;margin-right:.45rem}
.plot{width:100%;height:auto;display:block}
.plot text{fill:var(--soft);font-size:12px;font-variant-numeric:tabular-nums}
.plot .axis{font-size:13px}
.rule{stroke:var(--rule);fill:none}
.series{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.series.faint{stroke:var(--soft);stroke-width:1;opacity:.6}
img{max-width:100%;image-rendering:auto;border-radius:6px}
.picture figcaption{font-weight:400;color:var(--soft);font-size:.9rem}
.cards label{font-size:.95rem;color:var(--soft)}
.cards output{margin-left:.6rem;color:var(--soft);font-size:.9rem;font-variant-numeric:tabular-nums}
input{font:inherit;color:inherit;padding:.3rem .6rem;
background:var(--raised);border:1px solid var(--rule);border-radius:6px}
input:focus-visible{outline:2px solid var(--link);outline-offset:1px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:1rem;margin-top:1rem}
article{background:var(--raised);border:1px solid var(--rule);border-radius:10px;padding:.85rem;break-inside:avoid}
article[hidden]{display:none}
article img{width:100%;display:block;margin-bottom:.6rem}
h3{font-size:1rem;margin:.1rem 0 .4rem}
dl{margin:0;font-size:.92rem;display:grid;grid-template-columns:auto 1fr;gap:.15rem .7rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.right{color:var(--right)}.wrong{color:var(--wrong)}
@media print{.cards label,.cards output{display:none}}
"""

_SCRIPT = """
for (const section of document.querySelectorAll(".cards")) {
  const cards = [...section.querySelectorAll("article")], output = section.querySelector("output");
  section.querySelector("input").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const text = card.textContent.toLowerCase();
      card.hidden = !words.every((word) => text.includes(word));
      shown += !card.hidden;
    }
    output.value = `${shown} of ${cards.length}`;
  });
}
"""
