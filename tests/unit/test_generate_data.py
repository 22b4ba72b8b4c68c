"""`seetell data`: faults found and counted, formats changed without loss or refused by name."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from seetell.console import BadInput, Failed, UsageError
from seetell.sources.formats import Row, read_any
from seetell.verbs.data import browse, check, convert, picture_key, stats

PARQUET = importlib.util.find_spec("pyarrow") is not None


def row(
    id: str, image: Any = "a.png", question: str = "<image>\nWhat is it?", answer: str = "A cat."
) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": id, **({"image": image} if image else {}), "conversations": turns}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "pics"
    folder.mkdir()
    Pillow.new("RGB", (8, 8), "red").save(folder / "a.png")
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:40])
    return folder


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(rows))
    return path


def test_every_fault_is_found_and_counted(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backwards = {"id": "7", "conversations": [{"from": "gpt", "value": "x"}]}
    data = written(
        tmp_path / "data.json",
        [
            row("0"),
            row("1"),
            row("2", "gone.png"),
            row("3", "torn.png"),
            row("4", question="no tag"),
            row("5", answer="  "),
            row("6", answer="Yes</s>"),
            backwards,
            row("8", answer="word " * 5000),
            row("9", "sub/COCO_val2014_000000000042.jpg"),
        ],
    )
    against = tmp_path / "bench.jsonl"
    against.write_text('{"question_id": 0, "image": "000000000042.jpg"}\n')
    with pytest.raises(BadInput, match="faults in 10 rows"):
        check(data, images, against=against, out=tmp_path / "faults.jsonl")
    listed = [json.loads(line) for line in (tmp_path / "faults.jsonl").read_text().splitlines()]
    assert {(each["id"], each["reason"]) for each in listed} == {
        ("1", "same conversation twice"),
        ("2", "missing image"),
        ("3", "broken image"),
        ("4", "image tags and images differ"),
        ("5", "empty turn"),
        ("6", "control token"),
        ("7", "speakers out of order"),
        ("8", "too long"),
        ("9", "missing image"),
        ("9", "picture of the evaluation set"),
    }
    assert "missing image: 2" in capsys.readouterr().out


def test_a_sound_file_passes(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(written(tmp_path / "data.json", [row("0"), row("1", None, "Hi?")]), images).faults == 0
    assert capsys.readouterr().out == "rows: 2\n"


def test_stats_count_what_is_there(tmp_path: Path) -> None:
    figures = stats(
        written(tmp_path / "data.json", [row("0"), row("1", None, "Hi?"), {"id": "2"}]), tmp_path / "s.json"
    )
    assert (figures["rows"], figures["unreadable rows"], figures["answers"]) == (3, 1, 2)
    assert figures["rows by images"] == {0: 1, 1: 1}
    assert json.loads((tmp_path / "s.json").read_text())["words an answer"] == 2.0


ROWS = [
    row("0"),
    {
        **row("1", ["a.png", "b.png"], "<image>\n<image>\nWhich is older?", "The first,\nby far."),
        "model": "m",
        "n": [1],
    },
    row("2", None, "Hello é \u2028 there", "Hi."),
    row("3", question="What is it?\n<image>"),
    {
        "id": "4",
        "conversations": [
            {"from": "system", "value": "Be kind."},
            {"from": "human", "value": "a"},
            {"from": "gpt", "value": "b"},
            {"from": "human", "value": "c"},
        ],
    },
]


@pytest.mark.parametrize("to", ["llava", "sharegpt", "openai"])
@pytest.mark.parametrize(
    "ending", ["json", "jsonl", pytest.param("parquet", marks=pytest.mark.skipif(not PARQUET, reason="needs pyarrow"))]
)
def test_there_and_back_without_loss(tmp_path: Path, to: str, ending: str) -> None:
    data = written(tmp_path / "data.json", ROWS)
    there, back = tmp_path / f"there.{ending}", tmp_path / "back.json"
    convert(data, there, to, tmp_path)
    convert(there, back, "llava", tmp_path)
    assert json.loads(back.read_text()) == ROWS


def test_what_a_format_cannot_say_is_listed_and_not_changed(tmp_path: Path) -> None:
    spelt = {"id": "tag", "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "Why do people write <image>?"},
            {"type": "image_url", "image_url": {"url": "a.png"}},
        ]},
        {"role": "assistant", "content": "Habit."},
    ]}  # fmt: skip
    fetched = {
        "id": "web",
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/a.png"}}]}],
    }
    fine = {"id": "ok", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    data = written(tmp_path / "data.json", [spelt, fetched, fine])
    with pytest.raises(Failed, match="2 of 3 rows"):
        convert(data, tmp_path / "out.json", "llava", tmp_path)
    refused = [json.loads(line)["id"] for line in (tmp_path / "out.refused.jsonl").read_text().splitlines()]
    assert refused == ["tag", "web"]
    assert [each["id"] for each in json.loads((tmp_path / "out.json").read_text())] == ["ok"]
    with pytest.raises(UsageError, match="openai"):
        convert(data, tmp_path / "out.json", "open-ai", tmp_path)


def test_captions_become_stage_1_rows(tmp_path: Path) -> None:
    data = written(tmp_path / "data.json", [row(str(n), answer="a red kite") for n in range(60)])
    convert(data, tmp_path / "pairs.json", "pairs", tmp_path)
    rows = [each.conversation for each in read_any(tmp_path / "pairs.json") if isinstance(each, Row)]
    assert {each.turns[1].text for each in rows} == {"a red kite"}
    assert len({each.turns[0].text for each in rows}) > 8
    assert {isinstance(each.turns[0].parts[0], str) for each in rows} == {True, False}


def test_a_page_of_rows(tmp_path: Path, images: Path) -> None:
    data = written(tmp_path / "data.json", [row(str(n), answer=f"answer {n} <b>") for n in range(30)])
    page = browse(data, tmp_path / "page.html", images, count=7).read_text()
    assert page.count("<article>") == 7
    assert "&lt;b&gt;" in page
    assert "data:image/jpeg" in page


def test_names_of_one_picture_agree() -> None:
    assert picture_key("COCO_val2014_000000525439.jpg") == picture_key("val2017/000000525439.png") == "000000525439"
