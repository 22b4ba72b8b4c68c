"""`seetell data`: faults found and counted, formats changed without loss or refused by name."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from seetell.errors import BadInput, Failed, UsageError
from seetell.sources.conversations import read_rows
from seetell.sources.dialects import Row
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
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:-25])
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
    with pytest.raises(BadInput, match=r"6 faults in 6 of 10 rows and 4 remarks; see .*faults\.jsonl, a line each"):
        check(data, images, against=against, out=tmp_path / "faults.jsonl")
    listed = [json.loads(line) for line in (tmp_path / "faults.jsonl").read_text().splitlines()]
    assert len(listed) == 6 + 4
    assert {(each["id"], each["reason"]) for each in listed} == {
        ("1", "same conversation twice"),
        ("2", "missing picture"),
        ("3", "damaged picture"),
        ("4", "image tags and images differ"),
        ("5", "empty turn"),
        ("6", "control token"),
        ("7", "speakers out of order"),
        ("8", "too long"),
        ("9", "missing picture"),
        ("9", "picture of the evaluation set"),
    }
    out = capsys.readouterr().out
    assert "missing picture: 2 (first: 2" in out
    assert "too long: 1, remarks only (first: 8" in out


def test_remarks_are_counted_where_there_is_no_fault(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(written(tmp_path / "data.json", [row("0"), row("1"), row("2")]), images, out=tmp_path / "found.jsonl")
    assert "has 2 remarks; see" in capsys.readouterr().err
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 2


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


ENDINGS = ["json", "jsonl", pytest.param("parquet", marks=pytest.mark.skipif(not PARQUET, reason="needs pyarrow"))]


@pytest.mark.parametrize("to", ["llava", "sharegpt", "openai"])
@pytest.mark.parametrize("ending", ENDINGS)
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


def refusals(data: Path, out: Path, to: str, images: Path) -> dict[str, str]:
    """The rows that convert lists, with reason and detail; none when all are written."""
    try:
        convert(data, out, to, images)
    except Failed:
        listed = map(json.loads, out.with_name(f"{out.stem}.refused.jsonl").read_text().splitlines())
        return {each["id"]: f"{each['reason']}: {each['detail']}" for each in listed}
    return {}


@pytest.mark.parametrize("empty", [{}, {"images": []}, {"image": None}])
def test_a_tag_without_a_picture_is_a_fault_and_is_not_passed_on(tmp_path: Path, empty: dict[str, Any]) -> None:
    data = written(tmp_path / "data.json", [{**row("bare", None), **empty}, row("fine", None, "Hi?", "An <image>.")])
    with pytest.raises(BadInput, match="1 fault in 1 of 2 rows"):
        check(data, out=tmp_path / "faults.jsonl")
    faults = map(json.loads, (tmp_path / "faults.jsonl").read_text().splitlines())
    said = "image tags and images differ: 1 <image> tag stands for 0 images"
    assert any(f"{each['reason']}: {each['detail']}".startswith(said) for each in faults)
    (refused,) = refusals(data, tmp_path / "out.jsonl", "openai", tmp_path).items()
    assert refused[0] == "bare"
    assert refused[1].startswith(said)


@pytest.mark.parametrize("ending", ENDINGS)
def test_ids_come_through_as_they_were(tmp_path: Path, ending: str) -> None:
    named = {**row("x"), "id": 7}, {**row("x"), "id": None}, {key: row("x")[key] for key in ("image", "conversations")}
    data = written(tmp_path / "data.json", list(named))
    convert(data, tmp_path / f"there.{ending}", "openai", tmp_path)
    convert(tmp_path / f"there.{ending}", tmp_path / "back.json", "llava", tmp_path)
    assert json.loads((tmp_path / "back.json").read_text()) == list(named)


def test_keys_that_would_be_lost_refuse_their_row_and_are_remarked_upon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noted, silent, seen, both = row("noted"), row("silent"), row("seen"), row("both")
    noted["conversations"][0]["note"] = "n"
    silent["conversations"][1]["loss"] = False
    picture = {"type": "image_url", "image_url": {"url": "a.png", "detail": "high"}}
    answer = {"role": "assistant", "content": "b"}
    rows = [
        noted,
        silent,
        both | {"images": ["b.png"]},
        {"id": "named", "messages": [{"role": "user", "content": "a", "name": "Bo"}, answer]},
        {"id": "weighed", "messages": [{"role": "user", "content": "a"}, {**answer, "weight": 0, "refusal": None}]},
        {"id": "detail", "messages": [{"role": "user", "content": [picture]}, answer]},
        {"id": "beside", "images": ["a.png"], "messages": [{"role": "user", "content": "a"}, answer]},
        seen,
    ]
    data = written(tmp_path / "data.json", rows)
    Pillow.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    for to in ("llava", "openai"):
        assert refusals(data, tmp_path / "out.json", to, tmp_path) == {
            "noted": "unknown keys: turn 0 also holds 'note'",
            "silent": "unknown keys: turn 1 also holds 'loss'",
            "both": "unknown keys: the row also holds 'images'",
            "named": "unknown keys: turn 0 also holds 'name'",
            "weighed": "unknown keys: turn 1 also holds 'weight'",
            "detail": "unknown keys: a picture of turn 0 also holds 'detail'",
            "beside": "image tags and images differ: 0 <image> tags stand for 1 image",
        }
    with pytest.raises(BadInput, match="1 fault in 1 of 8 rows"):
        check(data)
    assert "unknown keys: 6, remarks only (first: noted: turn 0 also holds 'note')" in capsys.readouterr().out


def test_a_system_text_beside_the_turns_is_the_first_turn(tmp_path: Path) -> None:
    rows = [{**row("0", None, "a", "b"), "system": "Be kind."}, {**row("1", None, "a", "b"), "system": ""}]
    convert(written(tmp_path / "data.json", rows), tmp_path / "out.json", "openai")
    first, second = json.loads((tmp_path / "out.json").read_text())
    assert first["messages"][0] == {"role": "system", "content": "Be kind."}
    assert "system" not in first
    assert [message["role"] for message in second["messages"]] == ["user", "assistant"]


def test_pictures_on_the_web_are_not_fetched_and_this_is_said(tmp_path: Path) -> None:
    content = [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}]
    talk = [{"role": "user", "content": content}, {"role": "assistant", "content": "b"}]
    data = written(tmp_path / "data.json", [{"id": "messages", "messages": talk}, row("llava", "https://x/a.png")])
    said = "picture on the web: pictures on the web are not fetched: https://x/a.png"
    assert refusals(data, tmp_path / "out.json", "sharegpt", tmp_path) == {"messages": said, "llava": said}


def test_what_json_cannot_say_is_listed(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps([row("0") | {"score": float("nan")}, row("1", answer="\ud83d")]))
    for ending in ("json", "parquet") if PARQUET else ("json",):
        assert list(refusals(tmp_path / "data.json", tmp_path / f"out.{ending}", "llava", tmp_path)) == ["0", "1"]


@pytest.mark.skipif(not PARQUET, reason="needs pyarrow")
def test_parquet_of_other_people(tmp_path: Path) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    data = tmp_path / "data.parquet"
    talk = row("0")["conversations"]
    parquet.write_table(
        arrow.Table.from_pylist([{"id": "0", "image": "a.png", "extra": "e", "conversations": talk}]), data
    )
    convert(data, tmp_path / "out.json", "llava", tmp_path)
    assert json.loads((tmp_path / "out.json").read_text()) == [row("0") | {"extra": "e"}]
    picture = {"bytes": b"\x89PNG" * 1000, "path": "a.png"}
    parquet.write_table(arrow.Table.from_pylist([{"id": "0", "image": picture, "conversations": talk}]), data)
    convert(data, tmp_path / "out.json", "llava", tmp_path)
    (written_row,) = json.loads((tmp_path / "out.json").read_text())
    assert (tmp_path / written_row["image"]).read_bytes() == picture["bytes"]
    data.write_bytes(b"PAR1 junk")
    with pytest.raises(BadInput, match=r"data\.parquet is not a Parquet file"):
        check(data)


@pytest.mark.parametrize("image", [5, [5], {"a": "b"}])
def test_an_evaluation_whose_pictures_have_no_names_is_refused(tmp_path: Path, image: Any) -> None:
    (tmp_path / "bench.jsonl").write_text(json.dumps({"image": image}) + "\n")
    with pytest.raises(BadInput, match=r"bench\.jsonl, row 1: 'image' must be a name"):
        check(written(tmp_path / "data.json", [row("0")]), against=tmp_path / "bench.jsonl")


@pytest.mark.parametrize("content", ["", "[]"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, content: str) -> None:
    (tmp_path / "data.json").write_text(content)
    with pytest.raises(BadInput, match="holds no row"):
        check(tmp_path / "data.json")


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.json, \.jsonl or \.parquet"):
        convert(written(tmp_path / "data.json", ROWS), tmp_path / "out.txt", "llava", tmp_path)
    assert not (tmp_path / "out.txt").exists()


def test_captions_become_stage_1_rows(tmp_path: Path) -> None:
    data = written(tmp_path / "data.json", [row(str(n), answer="a red kite") for n in range(60)])
    convert(data, tmp_path / "pairs.json", "pairs", tmp_path)
    rows = [each.conversation for each in read_rows(tmp_path / "pairs.json") if isinstance(each, Row)]
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


def test_pictures_that_are_not_beside_the_file_are_missed_with_a_word_on_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "rows.json"
    talk = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A cat."}]
    data.write_text(json.dumps([{"id": "1", "image": "a.png", "conversations": talk}]))
    with pytest.raises(BadInput, match="1 fault"):
        check(data)
    assert "add --images FOLDER" in capsys.readouterr().err
    with pytest.raises(BadInput, match="1 fault"):
        check(data, tmp_path)
    assert "give --images" not in capsys.readouterr().err
