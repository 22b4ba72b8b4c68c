"""The pages that seetell writes: what stands first, what is drawn and how often, and what a narrow screen holds.

They are written here from small files; a Chromium, where one is installed, lays them out as a reader's browser would.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as Pillow

from benchmarks.screenshots import browser, measured, screenshot, small_png
from seetell.ask.journal import Tally
from seetell.evals import drawn as task
from seetell.generate.items import Item
from seetell.generate.outcome import Counts, Sample
from seetell.generate.parse import Parsed
from seetell.generate.report import write_page
from seetell.sources.drawn.scenes import drawn_scenes
from seetell.train.run_page import run_page
from seetell.types import Answer, Box, Conversation, Rejected, Turn
from seetell.verbs.demo_measure import STAGES, Measured, summary
from seetell.verbs.demo_report import FIRST_SCENES, write_report
from tests.unit.test_page import Reader

SCENES = 6
COORDINATES = re.compile(r"\[\d\.\d+, ")


def write_demo(folder: Path) -> Path:
    items = task.items(SCENES)
    demo = Measured(items, unseen_questions=3, unseen=0.5)
    for stage in STAGES:
        demo.answers[stage] = {item.id: item.accepted[0] if stage == "tuned" else "a ball, a ball" for item in items}
        demo.accuracy[stage] = task.aggregate(items, (Answer(id, text) for id, text in demo.answers[stage].items()))
    seconds = {"draw": 1.0, "write": 2.25, "train": 9.0, "measure": 4.0, "align": 3.0, "tune": 5.5}
    demo.later, demo.later_blind = {"second": 0.875, "third": 0.86}, {"second": 0.3, "third": 0.3}
    demo.later_after = {"greeting": 0.85}
    demo.descriptions = {"true": 0.94, "named": 0.9, "repeated": 0, "cut_off": 2}
    demo.described = {item.group: ("Describe the picture.", "A red ball is at the top. " * 6) for item in items}
    demo.small_talk = {"Hello, who are you?": "I am a small assistant."}
    report = summary(demo, seconds, folder / "model")
    curves = {"align": [(1.0, 3.0), (20.0, 1.0)], "tune": [(1.0, 2.0), (30.0, 0.5)]}
    write_report(folder / "report.html", report, demo, curves, {"short": 48, "align pairs": 96})
    return folder / "report.html"


def write_run(folder: Path) -> Path:
    """Two stages, the second with two sources; one observation of the first, two of the second."""
    stage = {"template": "own", "lr": {"connector": 1e-3, "language": 1e-3}, "lora": None, "image": "square"}
    recipe = {"align": {**stage, "lr": {"connector": 1e-3}}, "tune": stage, "model": {"vision": "a/tower"}, "seed": 0}
    lines: dict[str, list[dict[str, object]]] = {"metrics": [], "events": [], "observations": []}
    for name in ("align", "tune"):
        lines["events"].append({"stage": name, "step": 0, "event": "began", "at": "2026-01-01T00:00:00+00:00"})
        for step in range(1, 13):
            row = {"stage": name, "step": step, "lr_connector": 1e-3 / step, "supervised": 4, "samples": 8 * step}
            row |= {
                "tokens": 80 * step,
                "seconds": 2.0 * step + step % 3 / 10,
                "loss": 3.0 / step,
                "grad_norm": 1.0 / step,
            }
            if name == "tune":
                row |= {"lr_language": 1e-3 / step, "loss_by_source": {"a": 3.0 / step, "b": 2.0 / step}}
                row |= {"supervised_by_source": {"a": 2, "b": 2}}
            lines["metrics"].append(row)
        lines["metrics"] += [
            {"stage": name, "step": step, "held_out_loss": 4.0 / step} for step in (6, 12) if name == "tune"
        ]
        for step in (6,) if name == "align" else (6, 12):
            lines["metrics"].append({"stage": name, "step": step, "observed_drawn/all": 40.0 + step})
            said = {"stage": name, "step": step, "name": "1 · scene", "prompt": "Which colour?", "text": "red"}
            lines["observations"].append({**said, "truth": "blue", "picture": "none.jpg"})
        lines["events"].append({"stage": name, "step": 12, "event": "finished", "at": "2026-01-01T00:01:00+00:00"})
    for name, rows in lines.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "run.html").write_text(run_page(folder).html())
    return folder / "run.html"


def write_generated(folder: Path) -> Path:
    counts, sample = Counts(), Sample()
    for at, drawn in enumerate(drawn_scenes("train", 6)):
        scene = replace(
            drawn.scene, boxes=(*drawn.scene.boxes, *(Box("cup", 0.01 * n, 0.1, 0.9, 0.9) for n in range(40)))
        )
        item = Item(scene, "conversation", str(at), None, 0)
        pair = (Turn("user", ("How many?",)), Turn("assistant", ("There are two, " + "and two, " * 30,)))
        turns = pair * (2 * (at % 2) + 1)
        kept = Parsed(Conversation(scene.id, turns))
        result = Rejected(scene.id, "repeats itself", "in turn 1", "word " * 400) if at == 5 else kept
        counts.add(item, result)
        sample.add(item, result)
    counts.skipped["no boxes"] += 3
    write_page(folder, counts, sample, counts.report(Tally(), None))
    return folder / "report.html"


WRITERS: dict[str, Callable[[Path], Path]] = {"demo": write_demo, "run": write_run, "generate": write_generated}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp(name)) for name, write in WRITERS.items()}


def headings(html: str) -> list[str]:
    return re.findall(r"<h2>([^<]+)</h2>", html)


def rows_of(html: str, first_header: str) -> list[list[str]]:
    """The cells of the table whose first column has that name."""
    (body,) = re.findall(rf'<thead><tr><th scope="col"[^>]*>{first_header}</th>.*?<tbody>(.*?)</tbody>', html)
    return [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in body.split("</tr>")[:-1]]


@pytest.mark.parametrize("name", WRITERS)
def test_a_page_is_well_formed_and_fits_its_screen(pages: dict[str, Path], name: str) -> None:
    html = pages[name].read_text()
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    titles = re.findall(r"<figcaption>([^<]+)</figcaption>", html)
    assert len(set(titles)) == len(titles)
    for figure in re.findall(r"<figure>.*?</figure>", html):
        drawn = re.findall(r'<path [^>]+d="([^"]*)"><title>', figure)
        assert drawn
        assert len(set(drawn)) == len(drawn)
        assert all("L" in path for path in drawn)


@pytest.mark.parametrize("name", ["demo", "generate"])
def test_pictures_stand_before_figures(pages: dict[str, Path], name: str) -> None:
    html = pages[name].read_text()
    body = html[html.index("<body>") :]
    assert body.index("<img") < min(body.index("<h2>"), body.index("<table"))
    assert body[: body.index("<h2>")].count("<img") == FIRST_SCENES
    assert "<input" not in body[: body.index("<h2>")]
    assert body.count("<img") == SCENES


def test_the_demo_has_its_figures_with_three_decimals_and_each_phase_beside_its_parts(pages: dict[str, Path]) -> None:
    html = pages["demo"].read_text()
    assert headings(html) == [
        "How many answers are right",
        "The same questions as later turns",
        "Descriptions",
        "Without a picture",
        "What each phase took and made",
        "More scenes",
    ]
    rows = rows_of(html, "questions")
    assert [row[0] for row in rows][-1] == "all"
    assert all(re.fullmatch(r"\d\.\d{3}", cell) for row in rows for cell in row[1:] if cell != "—")
    assert re.findall(r'<th scope="col"( class="number")?>best constant</th>', html) == [' class="number"']
    phases = rows_of(html, "phase")
    assert [row[0] for row in phases] == ["draw", "write", "train", "– align", "– tune", "measure"]
    assert [row[1] for row in phases] == ["1.0", "2.2", "9.0", "3.0", "5.5", "4.0"]
    assert [row[2] for row in phases][3:5] == ["20 steps", "30 steps"]
    assert rows_of(html, "turn")[1:] == [
        ["second", "0.875", "0.300"],
        ["third", "0.860", "0.300"],
        ["second, after a greeting", "0.850", "—"],
    ]
    assert rows_of(html, "what is said") == [["Hello, who are you?", "I am a small assistant."]]
    assert html.count("<summary>Describe the picture.</summary><p>A red ball is at the top.") == SCENES
    assert [row[1] for row in rows_of(html, "measure")] == ["0.940", "0.900", "0", "2"]


def test_a_run_is_told_in_the_order_of_its_stages_and_nothing_twice(pages: dict[str, Path]) -> None:
    html = pages["run"].read_text()
    assert headings(html)[:3] == ["align", "tune", "What it says as it learns"]
    titles = re.findall(r"<figcaption>([^<]+)</figcaption>", html)
    of_both = ["loss per supervised token", "gradient norm before clipping", "learning rate", "speed"]
    of_tune = [*of_both[:1], "loss by source, smoothed", "observed, drawn", *of_both[1:]]
    assert titles == [f"align: {what}" for what in of_both] + [f"tune: {what}" for what in of_tune]
    assert "align: observed, drawn: all 46.000 (step 6)." in html  # one value is no curve
    rate = html[html.index("<figcaption>tune: learning rate") :]
    assert rate[: rate.index("</figure>")].count("<title>") == 1  # connector and language alike
    for figure in re.findall(r"<figure>.*?</figure>", html):
        steps = re.findall(r'<span class="x" style="left:([\d.]+)%">(\d+)</span>', figure)
        assert steps[-1] == ("100.00", "12")
        assert steps[0][0] == "0.00"
    loss = html[html.index("<figcaption>tune: loss per") :]
    assert re.findall(r"</svg>([^<]+)</li>", loss[: loss.index("</figure>")]) == ["smoothed", "held out", "each step"]
    figures = {row[0]: row[1:] for row in rows_of(html, "")}
    assert figures["held-out loss"] == ["—", "0.333"]
    assert figures["first loss"] == ["3.000", "3.000"]
    said = re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", html)
    assert said == [("asked", "Which colour?"), ("hoped for", "blue"), ("align 6", "red"), ("tune 6–12", "red")]
    settings = [row[0] for row in rows_of(html, "setting")]
    assert settings == ["template", "lr.connector", "lr.language", "image"]


def test_the_page_of_generated_data_has_bars_and_no_wall_of_coordinates(pages: dict[str, Path]) -> None:
    html = pages["generate"].read_text()
    assert html.count('<table class="bars">') == 5  # reasons twice, two lengths, first words
    assert "<figure" not in html
    assert re.findall(r'<th scope="row">(\d)</th><td class="number">(\d)</td>', html) == [
        ("1", "3"),
        ("2", "0"),
        ("3", "2"),
    ]
    assert COORDINATES.search(html)
    open_text = re.sub(r"<details>.*?</details>", "", html, flags=re.DOTALL)
    assert not COORDINATES.search(open_text)
    assert "word word word word" not in open_text  # a rejected reply is folded too
    assert html.count("<title>cup</title></rect>") == 6 * 40
    assert [row[1:] for row in rows_of(html, "kind")] == [["6", "5", "1"]] * 2  # no column of zeros


@pytest.mark.skipif(browser() is None, reason="no Chromium is installed")
@pytest.mark.parametrize("name", WRITERS)
def test_a_browser_lays_a_page_out_on_a_narrow_screen(pages: dict[str, Path], name: str) -> None:
    assert measured(pages[name], 390) == {"width": "390", "out": "", "small": ""}


@pytest.mark.skipif(browser() is None, reason="no Chromium is installed")
def test_a_browser_shows_a_page_by_day_and_by_night(pages: dict[str, Path]) -> None:
    for dark, least, most in ((False, 200, 255), (True, 0, 60)):
        picture = screenshot(pages["run"], 390, 300, dark=dark)
        assert picture.size == (390, 300)
        corner = picture.getpixel((2, 2))
        assert isinstance(corner, tuple)
        assert all(least <= value <= most for value in corner)


def test_a_picture_of_a_page_is_small() -> None:
    noise = Pillow.effect_noise((600, 600), 90).convert("RGB")
    for picture in (noise, Pillow.new("RGB", (1680, 1860), "white")):
        assert len(small_png(picture)) <= 300_000
