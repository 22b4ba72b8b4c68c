"""Plots: lines in an SVG that stretches, with labels that are text and so keep their size on a narrow screen.

The axes end where the data end. Lines with the same points are drawn once, under both names; lines without points
are left out. A plot that would have no line at all becomes a sentence with its one value, or nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

UNITS = 1000  # of the SVG's square, which is stretched over the frame
MAX_POINTS = 600  # of a series: more than the frame's width would draw over themselves
DASHES = ("", "7 4", "2 4", "9 3 2 3", "1 3", "12 5")
TICKS_ABOUT = 5
CLEAR_OF_ENDS = 0.12  # of the axis: nearer to an end's label no other label fits
TINY = 1e-15  # nearer to zero is zero
MINUS = "\N{MINUS SIGN}"

Point = tuple[float, float]
Series = Mapping[str, Sequence[Point]]


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


@dataclass(frozen=True, slots=True)
class Axis:
    """From the least to the greatest value, and the labels on the way."""

    low: float
    high: float
    labels: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """Where a value lies between the ends, as a fraction."""
        return (value - self.low) / (self.high - self.low)


def plot_html(plot: Plot) -> str:
    """A figure; a sentence if no line has two points; nothing if there is no point."""
    lines = _lines(plot)
    if not lines:
        return ""
    if all(len(points) == 1 for points in lines.values()):
        values = ", ".join(f"{name} {_plain(points[0][1], plot.log)}" for name, points in lines.items())
        return f"<p>{escape(f'{plot.title}: {values} ({plot.x_label} {next(iter(lines.values()))[0][0]:,g}).')}</p>"
    points = [point for line in lines.values() for point in line]
    x, y = x_axis([x for x, _ in points]), y_axis([y for _, y in points], plot.log)
    rules = "".join(f'<i class="rule" style="bottom:{_percent(y.share(value))}"></i>' for value, _ in y.labels)
    marks = "".join(
        f'<span class="y" style="bottom:{_percent(y.share(value))}">{label}</span>' for value, label in y.labels
    )
    marks += "".join(
        f'<span class="x" style="left:{_percent(x.share(value))}">{label}</span>' for value, label in x.labels
    )
    classes = {name: _class(at, name in plot.faint) for at, name in enumerate(lines)}
    unit = f'<span class="unit">{escape(plot.y_label)}</span>' if plot.y_label else ""
    return (
        f"<figure><figcaption>{escape(plot.title)}</figcaption>{_legend(classes)}"
        f'<div class="plot" role="img" aria-label="{escape(plot.title)}">{unit}<div class="frame">{rules}'
        f'<svg viewBox="0 0 {UNITS} {UNITS}" preserveAspectRatio="none">{_paths(lines, classes, x, y)}</svg>{marks}'
        f'</div><span class="along">{escape(plot.x_label)}</span></div></figure>'
    )


def _lines(plot: Plot) -> dict[str, list[Point]]:
    """What is drawn, by name: lines with points, those with the same points once."""
    names: dict[tuple[Point, ...], list[str]] = {}
    for name, points in plot.series.items():
        names.setdefault(tuple(_thinned(points, plot.log)), []).append(name)
    lines = {", ".join(same): list(points) for points, same in names.items() if points}
    return dict(sorted(lines.items(), key=lambda line: line[0] in plot.faint))


def _legend(classes: Mapping[str, str]) -> str:
    if len(classes) < 2:
        return ""
    keys = "".join(
        f'<li><svg viewBox="0 0 28 8" aria-hidden="true"><path class="{mark}" d="M0 4H28"/></svg>{escape(name)}</li>'
        for name, mark in classes.items()
    )
    return f'<ul class="legend">{keys}</ul>'


def _class(at: int, faint: bool) -> str:
    """Beyond six lines colours come again, each with another dash."""
    count = len(DASHES)
    return "series faint" if faint else f"series s{at % count} d{(at + at // count) % count}"


def _paths(lines: Mapping[str, Sequence[Point]], classes: Mapping[str, str], x: Axis, y: Axis) -> str:
    """The faint ones first, so that they lie behind."""
    drawn: list[str] = []
    for name in reversed(list(lines)):
        places = [(x.share(at) * UNITS, (1 - y.share(value)) * UNITS) for at, value in lines[name]]
        path = "".join(f"{'L' if at else 'M'}{left:.1f} {top:.1f}" for at, (left, top) in enumerate(places))
        if len(places) == 1:
            path += "h.01"  # a line without length is drawn as a dot by its round caps
        drawn.append(f'<path class="{classes[name]}" d="{path}"><title>{escape(name)}</title></path>')
    return "".join(drawn)


def _thinned(points: Sequence[Point], log: bool = False) -> list[Point]:
    """Finite points; of a long series, the mean of each run of neighbours, and its ends as they are."""
    if log:
        points = [(x, math.log10(y)) for x, y in points if y > 0]
    finite = [(float(x), float(y)) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    size = math.ceil(len(finite) / MAX_POINTS)
    if size <= 1:
        return finite
    inner = finite[1:-1]
    runs = [inner[at : at + size] for at in range(0, len(inner), size)]
    means = [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]
    return [finite[0], *means, finite[-1]]


# ---------------------------------------------------------------------------------------------- axes


def x_axis(values: Sequence[float]) -> Axis:
    """Labels at both ends, and between them at round values that leave the ends' labels room."""
    low, high = _ends(values)
    step = _step(low, high)
    clear = CLEAR_OF_ENDS * (high - low)
    inner = [value for value in ticks(low, high) if low + clear <= value <= high - clear]
    ends = [f"{end:,.0f}" if end == round(end) or abs(end) >= 1000 else f"{end:.3g}" for end in (low, high)]
    labels = [(low, ends[0]), *((value, _label(value, step)) for value in inner), (high, ends[1])]
    return Axis(low, high, tuple((value, text.replace("-", MINUS)) for value, text in labels))


def y_axis(values: Sequence[float], log: bool = False) -> Axis:
    """Labels at round values, with one number of decimals. Under `log` the values are logarithms."""
    low, high = _ends(values)
    if log:
        inside = [(value, f"{10**value:.3g}") for value in _log_ticks(low, high)]
        if len(inside) >= 2:
            return Axis(low, high, tuple(inside))
        bottom, top = 10**low, 10**high
        inside = [(math.log10(value), _label(value, _step(bottom, top))) for value in ticks(bottom, top) if value > 0]
        return Axis(low, high, tuple(inside))
    step = _step(low, high)
    labels = ((value, _label(value, step).replace("-", MINUS)) for value in ticks(low, high))
    return Axis(low, high, tuple(labels))


def ticks(low: float, high: float) -> list[float]:
    """Round values between the ends, evenly spaced by 1, 2 or 5 times a power of ten; at least two."""
    step = _step(low, high)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Logarithms of 1, 2 and 5 times powers of ten between the ends; of a wide range, of powers of ten alone."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    fine = [power + math.log10(times) for power in powers for times in (1, 2, 5)]
    inside = [value for value in fine if low <= value <= high]
    if len(inside) <= TICKS_ABOUT + 2:
        return inside
    whole = [float(power) for power in powers if low <= power <= high]
    return whole[:: math.ceil(len(whole) / TICKS_ABOUT)]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The least and the greatest value; around what is as good as one value there is room."""
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    if high - low > max(1e-9 * size, TINY):
        return low, high
    half = size / 2 if size > TINY else 0.5
    return low - half, high + half


def _step(low: float, high: float) -> float:
    rough = (high - low) / TICKS_ABOUT
    power = 10.0 ** math.floor(math.log10(rough))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= rough * 0.999)


def _label(value: float, step: float) -> str:
    """As many decimals as the step between labels needs, so that labels of one axis line up."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value + 0.0:,.{decimals}f}" if decimals <= 5 else f"{value:.2g}"


def _plain(value: float, log: bool) -> str:
    return f"{10**value:.3g}" if log else f"{value:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
