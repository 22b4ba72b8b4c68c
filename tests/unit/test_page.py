"""Pages: one file, well formed, everything escaped, scales that enclose what they show."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from seetell.page import DASHES, Card, Line, Page, Plot, ticks

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
    page.plot({NASTY: [(0, 1), (1, 2)], "b": []}, NASTY, NASTY, NASTY)
    page.link(NASTY, NASTY)
    page.picture(PNG, NASTY)
    page.grid([Card(NASTY, (Line(NASTY, NASTY, right=True),), b"\xff\xd8 a jpeg")])
    reader = read(page)
    assert sum(tag == "script" for tag, _ in reader.tags) == 1
    assert reader.text.count(NASTY) == 17
    sources = [str(attributes["src"]) for _, attributes in reader.tags if "src" in attributes]
    assert [source.split(";")[0] for source in sources] == ["data:image/png", "data:image/jpeg"]
    assert "http" not in page.html().replace("http-equiv", "")


def test_numbers_stand_in_right_aligned_columns() -> None:
    page = Page("t")
    page.table([("colour", 0.91234, 12000, None), ("kind", float("nan"), 5, "3 s")], ["type", "tuned", "asked", "time"])
    html = page.html()
    for cell in ("0.912", "12,000", "—", "3 s"):
        assert f'<td class="number">{cell}</td>' in html
    assert "<td>colour</td>" in html
    assert '<th scope="col">type</th>' in html


def test_plots_side_by_side_tell_every_line_apart() -> None:
    page = Page("t")
    lines = {f"line {at}": [(0, at), (1, at + 1)] for at in range(2 * len(DASHES))}
    page.plots([Plot("many", "x", "y", lines), Plot("pale", "x", "y", {"a": [(0, 1), (1, 2)], "b": []}, faint=("b",))])
    html = page.html()
    read(page)
    drawn = re.findall(r'<path class="(series s\d d\d)" d="M[\d.]+ [\d.]+L', html)
    assert len(set(drawn[: 2 * len(DASHES)])) == 2 * len(DASHES)
    assert html.index('class="series faint" d=""') < html.rindex('class="series s0 d0"')


def test_a_logarithmic_scale_leaves_out_what_has_no_logarithm() -> None:
    page = Page("t")
    page.plots([Plot("norm", "step", "norm", {"norm": [(1, 0.0), (2, 0.01), (3, 100.0), (4, -1.0)]}, log=True)])
    html = page.html()
    for tick in ("0.01", "1", "100"):
        assert f">{tick}</text>" in html
    (path,) = re.findall(r'<path class="series s0 d0" d="([^"]+)"><title>', html)
    assert path.count("L") == 1


def test_an_empty_table_and_an_empty_plot_are_drawn() -> None:
    page = Page("t")
    page.table([], ["a"])
    page.plot({"none": [], "not finite": [(0, math.nan)]}, "t", "x", "y")
    page.plot({"one": [(3, 5)]}, "t", "x", "y")
    page.grid([])
    read(page)


def test_a_long_series_is_thinned_to_what_the_plot_can_show() -> None:
    page = Page("t")
    page.plot({"loss": [(step, 1.0 / (step + 1)) for step in range(50_000)]}, "t", "step", "loss")
    assert len(page.html()) < 30_000


finite = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)


@given(st.lists(finite, min_size=1, max_size=5))
def test_ticks_enclose_the_values_in_few_even_steps(values: list[float]) -> None:
    marks = ticks(values)
    step = marks[1] - marks[0]
    assert marks[0] <= min(values) + 1e-6 * step
    assert marks[-1] >= max(values) - 1e-6 * step
    assert 2 <= len(marks) <= 9
