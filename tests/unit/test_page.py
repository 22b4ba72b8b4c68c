"""Pages: one file, well formed, everything escaped, scales that enclose what they show."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from seetell.page import Card, Line, Page, Plot
from seetell.page.plot import DASHES, ticks, x_axis, y_axis
from seetell.types import Box

NASTY = '<script>alert("1")</script> & \' "'
VOID = {"meta", "img", "input", "br"}
PNG = b"\x89PNG and more"


class Reader(HTMLParser):
    """Checks that tags nest, and keeps the text and the addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: Page) -> Reader:
    reader = Reader()
    reader.feed(page.html())
    assert reader.open == []
    return reader


def test_everything_shown_is_escaped_and_nothing_comes_from_outside() -> None:
    page = Page(NASTY)
    page.heading(NASTY)
    page.paragraph(NASTY)
    page.table([(NASTY, 1)], [NASTY, NASTY])
    page.table([(NASTY, 1)], [NASTY, NASTY], folded=NASTY)
    page.bars([(NASTY, 1)], (NASTY, NASTY))
    page.terms({NASTY: NASTY})
    page.plots([Plot(NASTY, NASTY, NASTY, {NASTY: [(0, 1), (1, 2)], "b": [(0, 3), (1, 4)]})])
    page.plots([Plot(NASTY, NASTY, NASTY, {NASTY: [(0, 1)]})])
    page.link(NASTY, NASTY)
    page.picture(PNG, NASTY)
    lines = (Line(NASTY, NASTY, right=True), Line("", NASTY), Line(NASTY, NASTY, folded=True))
    page.grid([Card(NASTY, lines, b"\xff\xd8 a jpeg", (Box(NASTY, 0.1, 0.2, 0.3, 0.4),))])
    reader = read(page)
    assert sum(tag == "script" for tag, _ in reader.tags) == 1
    assert reader.text.count(NASTY) == 34
    sources = [str(attributes["src"]) for _, attributes in reader.tags if "src" in attributes]
    assert [source.split(";")[0] for source in sources] == ["data:image/png", "data:image/jpeg"]
    assert "http" not in page.html().replace("http-equiv", "")


def test_numbers_stand_in_right_aligned_columns() -> None:
    page = Page("t")
    page.table([("colour", 0.91234, 12000, None), ("kind", float("nan"), 5, "3 s")], ["type", "tuned", "asked", "time"])
    html = page.html()
    for cell in ("0.912", "12,000", "—", "3 s"):
        assert re.search(rf'<td class="number" data-of="\w+">{cell}</td>', html)
    assert '<td data-of="type">colour</td>' in html
    assert '<th scope="col">type</th>' in html


@pytest.mark.parametrize("empty", ["", None, "—"])
def test_an_empty_cell_leaves_its_column_a_column_of_numbers(empty: str | None) -> None:
    page = Page("t")
    rows = [("count", 0.5, 12, "36.36 to 90.91"), ("all", empty, "0:31", "-1.50 to +2.00")]
    page.table(rows, ["questions", "constant", "time", "interval"])
    assert '<th scope="col" class="number">constant</th>' in page.html()
    assert '<td class="number" data-of="constant">0.500</td>' in page.html()
    assert '<td class="number" data-of="time">0:31</td>' in page.html()
    assert '<td class="number" data-of="interval">-1.50 to +2.00</td>' in page.html()


def test_a_table_wider_than_a_narrow_screen_is_laid_out_by_rows_there() -> None:
    for columns, stacked in ((3, False), (12, True)):
        page = Page("t")
        page.table([range(columns)], [f"column{at}" for at in range(columns)])
        assert ('<table class="stacked">' in page.html()) is stacked


def test_counts_have_bars_as_long_as_their_share() -> None:
    page = Page("t")
    page.bars([("two", 1200), ("one", 300), ("none", 0)], ("reason", "items"))
    html = page.html()
    read(page)
    assert re.findall(r'<i style="width:([\d.]+)%">', html) == ["100.0", "25.0", "0.0"]
    assert '<td class="number">1,200</td>' in html


def test_plots_side_by_side_tell_every_line_apart() -> None:
    page = Page("t")
    lines = {f"line {at}": [(0, at), (1, at + 1)] for at in range(2 * len(DASHES))}
    pale = {"a": [(0.0, 1.0), (1.0, 2.0)], "b": [(0.0, 2.0), (1.0, 1.0)]}
    page.plots([Plot("many", "x", "y", lines), Plot("pale", "x", "y", pale, faint=("b",))])
    html = page.html()
    read(page)
    many, faint = (part.partition("</figure>")[0] for part in html.split("<figure>")[1:])
    drawn = re.findall(r'<path class="(series s\d d\d)" d="M[\d.]+ [\d.]+L', many)
    assert len(set(drawn)) == 2 * len(DASHES)
    assert faint.index('class="series faint" d="M0.0') < faint.index('class="series s0 d0" d="M0.0')


def test_labels_of_a_plot_are_text_that_does_not_shrink_with_it() -> None:
    page = Page("t")
    page.plots([Plot("loss", "step", "loss", {"loss": [(1, 2.0), (50, 1.0)]})])
    html = page.html()
    assert "<text" not in html
    for label in ("1", "50", "1.0", "1.8", "step", "loss"):
        assert re.search(rf"<span [^>]+>{label}</span>", html)


def test_a_curve_is_drawn_once_and_nothing_is_not_drawn() -> None:
    page = Page("t")
    same, other = [(1.0, 2.0), (2.0, 1.0)], [(1.0, 1.0), (2.0, 1.5)]
    page.plots([Plot("rate", "step", "", {"connector": same, "language": list(same), "tower": other, "none": []})])
    html = page.html()
    assert html.count("<path class") == 4  # two lines, and each in the legend
    assert "connector, language" in html
    assert "none</li>" not in html
    page.plots([Plot("empty", "step", "", {"a": [], "b": [(0, math.nan)]}), Plot("void", "step", "", {})])
    assert page.html() == html
    page.plots([Plot("seen", "step", "", {"drawn": [(100.0, 0.5)]})])
    assert "<p>seen: drawn 0.500 (step 100).</p>" in page.html()
    assert page.html().count("<figure>") == 1


def test_a_logarithmic_scale_leaves_out_what_has_no_logarithm() -> None:
    page = Page("t")
    page.plots([Plot("norm", "step", "norm", {"norm": [(1, 0.0), (2, 0.01), (3, 100.0), (4, -1.0)]}, log=True)])
    html = page.html()
    for tick in ("0.01", "1", "100"):
        assert f">{tick}</span>" in html
    (path,) = re.findall(r'<path class="series s0 d0" d="([^"]+)"><title>', html)
    assert path.count("L") == 1


def test_boxes_lie_over_their_picture_and_long_texts_are_folded() -> None:
    page = Page("t")
    boxes = (Box("cup", 0.1, 0.1, 0.2, 0.2), Box("table", 0.0, 0.0, 1.0, 1.0), Box("cup", 0.7, 0.5, 0.9, 0.9))
    page.grid([Card("t", (Line("boxes", "cup: [0.1, 0.1, 0.2, 0.2]", folded=True),), PNG, boxes)], search=False)
    html = page.html()
    read(page)
    assert re.findall(r"<title>(\w+)</title></rect>", html) == ["table", "cup", "cup"]  # the small ones on top
    labels = re.findall(r'<span class="b\d" style="([\w:.%;]+)">(\w+)</span>', html)
    assert labels == [("left:0.0%;top:0.0%", "table"), ("right:10.0%;top:50.0%", "cup")]
    assert "<details><summary>boxes</summary><p>cup: [0.1, 0.1, 0.2, 0.2]</p></details>" in html
    assert "<input" not in html


def test_an_empty_table_and_an_empty_plot_are_no_error() -> None:
    page = Page("t")
    page.table([], ["a"])
    page.bars([], ("a", "b"))
    page.plots([Plot("t", "x", "y", {"none": [], "not finite": [(0, math.nan)]})])
    page.plots([Plot("t", "x", "y", {"one": [(3, 5)]})])
    page.grid([])
    read(page)


def test_a_long_series_is_thinned_to_what_the_plot_can_show() -> None:
    page = Page("t")
    page.plots([Plot("t", "step", "loss", {"loss": [(step, 1.0 / (step + 1)) for step in range(50_000)]})])
    assert len(page.html()) < 30_000
    assert ">49,999</span>" in page.html()


finite = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)


@given(st.lists(finite, min_size=2, max_size=5))
def test_axes_end_where_the_data_end(values: list[float]) -> None:
    for axis in (x_axis(values), y_axis(values)):
        spread = max(values) - min(values)
        assume(spread > max(1e-6 * max(map(abs, values)), 1e-12))
        assert (axis.low, axis.high) == (min(values), max(values))
        assert 2 <= len(axis.labels) <= 9
        assert all(-1e-6 <= axis.share(value) <= 1 + 1e-6 for value, _ in axis.labels)
    assert [value for value, _ in x_axis(values).labels][:: len(x_axis(values).labels) - 1] == [axis.low, axis.high]


@given(finite)
def test_one_value_has_room_around_it(value: float) -> None:
    axis = y_axis([value, value])
    assert axis.low < value < axis.high or abs(value) < 1e-15
    assert len(axis.labels) >= 2


def test_labels_of_an_axis_have_one_number_of_decimals() -> None:
    assert [label for _, label in y_axis([0.0, 1.0]).labels] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [label for _, label in y_axis([0.0, 0.002]).labels] == ["0.0000", "0.0005", "0.0010", "0.0015", "0.0020"]
    assert [label for _, label in y_axis([-0.2, 0.2]).labels] == ["−0.2", "−0.1", "0.0", "0.1", "0.2"]
    assert [label for _, label in x_axis([1, 625]).labels] == ["1", "200", "400", "625"]
    assert [label for _, label in y_axis([math.log10(0.25), math.log10(7)], log=True).labels] == ["0.5", "1", "2", "5"]
    assert ticks(0.0, 10.0) == [0, 2, 4, 6, 8, 10]


def test_a_page_is_laid_out_for_the_width_of_its_screen() -> None:
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in Page("t").html()
