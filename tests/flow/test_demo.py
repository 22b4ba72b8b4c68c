"""The whole road, short: the demo's own verb with few scenes, the shipped base, and the README's Python lines."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from seetell.sources.drawn.questions import TYPES
from seetell.verbs.demo import demo
from seetell.verbs.demo_measure import STAGES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    demo(out, scenes=48, test_scenes=4, unseen_scenes=3)
    return out


def test_the_report_says_what_was_measured(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    assert set(report["vqa_accuracy"]) == set(STAGES)
    assert all(0.0 <= share <= 1.0 for share in report["vqa_accuracy"].values())
    assert set(report["by_type"]) == set(TYPES)
    assert all(set(figures) == set(STAGES) for figures in report["by_type"].values())
    assert 0.0 <= report["unseen_pairs"]["tuned"] <= 1.0
    assert report["n_questions"] >= 4
    assert {"draw", "write", "align", "tune", "measure"} <= set(report["seconds"])
    assert Path(report["model"]) == run / "model"


def test_the_report_says_what_a_talk_is_like(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    for turns in (report["later_turns"], report["later_turns_blind"]):
        assert set(turns) == {"second", "third"}
        assert all(0.0 <= share <= 1.0 for share in turns.values())
    assert set(report["second_turn_after"]) == {"description", "question", "greeting"}
    described = report["descriptions"]
    assert set(described) == {"true", "named", "repeated", "cut_off"}
    assert all(0.0 <= described[name] <= 1.0 for name in ("true", "named"))
    assert all(0 <= described[name] <= report["n_scenes"] for name in ("repeated", "cut_off"))
    assert "Hello, who are you?" in report["small_talk"]


def test_the_page_shows_pictures_with_questions_and_answers(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert page.count("<img") >= 4
    assert "before" in page
    assert "tuned" in page
    assert not re.search(r'(src|href)="https?:', page)


def test_a_demo_run_again_trains_nothing_anew(run: Path) -> None:
    weights = run / "model" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    demo(run, scenes=48, test_scenes=2, unseen_scenes=1)
    assert weights.stat().st_mtime_ns == before


def test_the_lines_of_the_readme_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code is not None
    picture = min((run / "data" / "images").iterdir())
    lines = code[1].replace("runs/demo/model", str(run / "model"))
    exec(re.sub(r"runs/demo/data/images/[\w.-]+", str(picture), lines), {})
    assert len(capsys.readouterr().out.splitlines()) >= 2
