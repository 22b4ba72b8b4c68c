"""Conversation files: pictures in place, every fault of a row a value with a reason, writing undone by reading."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.errors import BadInput, UsageError
from seetell.sources import rows
from seetell.sources.conversations import captions_as_pairs, read_conversations, write_conversations
from seetell.types import Conversation, Image, Rejected, Scene, Turn

A, B = Image("pics/a.jpg"), Image("pics/b.jpg")


def said(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[at % 2], "value": text} for at, text in enumerate(texts)]


def read(tmp_path: Path, *rows: Any) -> list[Conversation | Rejected]:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return list(read_conversations(path, "pics"))


def parts(conversation: Conversation | Rejected) -> list[tuple[str | Image, ...]]:
    assert isinstance(conversation, Conversation), conversation
    return [turn.parts for turn in conversation.turns]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<image>\nWhat is it?", (A, "What is it?")),
        ("What is it?\n<image>", ("What is it?", A)),
        ("Look: <image> What is it?", ("Look: ", A, " What is it?")),
        ("One\n<image>\ntwo", ("One", A, "two")),
        ("<image>", (A,)),
        ("<image>\n\n What?", (A, "\n What?")),
        ("\n<image>\n", (A,)),
    ],
)
def test_a_picture_stands_where_its_tag_stood(tmp_path: Path, value: str, expected: tuple[str | Image, ...]) -> None:
    (row,) = read(tmp_path, {"id": 7, "image": "a.jpg", "conversations": said(value, " A cat. ")})
    assert parts(row) == [expected, (" A cat. ",)]
    assert row.id == "7"


def test_several_pictures_come_in_order_over_turns(tmp_path: Path) -> None:
    talk = said("<image>\n<image>\nSame?", "No.", "And now?\n<image>", "Yes.")
    (row,) = read(tmp_path, {"id": "x", "image": ["a.jpg", "b.jpg", "a.jpg"], "conversations": talk})
    assert parts(row) == [(A, B, "Same?"), ("No.",), ("And now?", A), ("Yes.",)]


def test_without_pictures_the_tag_is_text_and_a_system_turn_may_come_first(tmp_path: Path) -> None:
    talk = [{"from": "system", "value": "Be <image> brief."}, *said("What is it?", "An <image>.")]
    (row,) = read(tmp_path, {"id": "x", "model": "any", "conversations": talk})
    assert parts(row) == [("Be <image> brief.",), ("What is it?",), ("An <image>.",)]
    assert isinstance(row, Conversation)
    assert [turn.role for turn in row.turns] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (3, "no conversation"),
        ({}, "no conversation"),
        ({"conversations": []}, "no conversation"),
        ({"conversations": {"from": "human"}}, "no conversation"),
        ({"conversations": ["hi"]}, "turn without text"),
        ({"conversations": [{"from": "human", "value": None}]}, "turn without text"),
        ({"conversations": [{"from": "cat", "value": "mew"}]}, "unknown speaker"),
        ({"conversations": [{"from": ["human"], "value": "a"}]}, "unknown speaker"),
        ({"conversations": said("a", "b")[::-1]}, "speakers out of order"),
        ({"conversations": said("a")[:1] * 2}, "speakers out of order"),
        ({"conversations": [{"from": "system", "value": "a"}]}, "speakers out of order"),
        ({"conversations": [*said("a", "b"), {"from": "system", "value": "c"}]}, "speakers out of order"),
        ({"image": "a.jpg", "conversations": said("no tag", "b")}, "image tags and images differ"),
        ({"image": "a.jpg", "conversations": said("<image><image>", "b")}, "image tags and images differ"),
        ({"image": ["a.jpg", "b.jpg"], "conversations": said("<image>", "b")}, "image tags and images differ"),
        ({"image": "a.jpg", "conversations": said("<image>", "an <image>")}, "picture outside a question"),
        ({"image": 5, "conversations": said("<image>", "b")}, "bad image name"),
        ({"image": "", "conversations": said("<image>", "b")}, "bad image name"),
        ({"image": ["a.jpg", None], "conversations": said("<image>", "b")}, "bad image name"),
    ],
)
def test_a_faulty_row_is_rejected_with_its_reason_and_the_others_kept(tmp_path: Path, row: Any, reason: str) -> None:
    good = {"id": "good", "conversations": said("a", "b")}
    first, bad, last = read(tmp_path, good, row, good)
    assert isinstance(first, Conversation)
    assert isinstance(last, Conversation)
    assert isinstance(bad, Rejected)
    assert bad.id == "row 1"
    assert bad.reason == reason
    assert bad.detail
    assert json.loads(bad.raw) == row


@pytest.mark.parametrize(
    "content", ["<html>", '[{"id": 1}', '[{"id": 1} {"id": 2}]', "[1] [2]", "[1]\n{}\n", "\udcff", "[1,]"]
)
def test_a_file_that_is_no_conversation_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadInput, match=r"data\.json is not a"):
        list(read_conversations(path))


def test_what_is_missing_or_unknown_is_told_before_reading(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no data file"):
        read_conversations(tmp_path / "none.json")
    with pytest.raises(UsageError, match="'yaml' is not known"):
        read_conversations(tmp_path / "none.json", format="yaml")


@pytest.mark.parametrize(
    ("text", "rows"),
    [("\ufeff[1,2 , 3 ]\n", 3), ('{}\n{"torn', 2), ('{"torn', 1)],
)
def test_marks_of_order_space_and_torn_ends_do_no_harm(tmp_path: Path, text: str, rows: int) -> None:
    path = tmp_path / "data.json"
    path.write_text(text.strip(" "), encoding="utf-8")
    assert len(list(read_conversations(path))) == rows


@pytest.mark.parametrize("text", ["[]", "\ufeff[ ]\n", "", "\n\n"])
def test_a_file_without_rows_is_said_to_be_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match="holds no row"):
        list(read_conversations(tmp_path / "data.json"))


def test_lines_and_list_hold_the_same(tmp_path: Path) -> None:
    rows = [{"id": str(at), "conversations": said(f"é{at}", "b")} for at in range(5)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=4), encoding="utf-8")
    lines, listed = (list(read_conversations(tmp_path / name)) for name in ("a.jsonl", "a.json"))
    assert [parts(row) for row in lines] == [parts(row) for row in listed]
    assert list(read_conversations(tmp_path / "a.jsonl", format="jsonl")) == lines


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
def test_a_list_is_read_in_blocks_of_any_size(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK_CHARS", block)
    lot = random.Random(0)
    listed = [{"id": str(at), "conversations": said('tricky "]}, ' * lot.randrange(1, 5), "1")} for at in range(40)]
    path = tmp_path / "data.json"
    path.write_text(json.dumps(listed, indent=lot.choice([None, 2])), encoding="utf-8")
    assert [row.id for row in read_conversations(path)] == [str(at) for at in range(40)]


TEXT = st.text(max_size=12).filter(lambda text: "<image>" not in text)
QUESTION = st.lists(st.sampled_from([A, B]) | TEXT.filter(str.strip), min_size=1, max_size=4).filter(
    lambda found: not any(isinstance(one, str) and isinstance(two, str) for one, two in pairwise(found))
)


@given(st.lists(st.tuples(QUESTION, TEXT.filter(str.strip)), min_size=1, max_size=3))
def test_reading_undoes_writing(tmp_path_factory: pytest.TempPathFactory, talk: list[tuple[list[Any], str]]) -> None:
    path = tmp_path_factory.mktemp("talk") / "data.json"
    turns: list[Turn] = []
    for question, answer in talk:
        turns += [Turn("user", tuple(question)), Turn("assistant", (answer,))]
    conversation = Conversation("x", tuple(turns), source="data.json")
    write_conversations(path, [conversation], "pics")
    assert list(read_conversations(path, "pics")) == [conversation]


def test_pictures_without_a_file_are_written_beside_the_others(tmp_path: Path) -> None:
    png, jpeg = b"\x89PNG...", b"\xff\xd8\xff..."
    images = (
        Image(data=png),
        Image(data=jpeg),
        Image(str(tmp_path / "pics" / "in" / "a.jpg")),
        Image("/else/where.jpg"),
    )
    talk = Conversation("x", (Turn("user", images), Turn("assistant", ("ok",))))
    (tmp_path / "pics").mkdir()
    write_conversations(tmp_path / "data.json", [talk, talk], tmp_path / "pics")
    first, second = read_conversations(tmp_path / "data.json", tmp_path / "pics")
    assert isinstance(first, Conversation)
    assert first == second
    one, two, three, four = (Path(image.path) for image in first.images)
    assert (one.read_bytes(), one.suffix) == (png, ".png")
    assert (two.read_bytes(), two.suffix) == (jpeg, ".jpg")
    assert three == tmp_path / "pics" / "in" / "a.jpg"
    assert four == Path("/else/where.jpg")


def test_words_that_spell_the_tag_beside_a_picture_cannot_be_written(tmp_path: Path) -> None:
    talk = Conversation("x", (Turn("user", (A, "an <image> tag")), Turn("assistant", ("ok",))))
    with pytest.raises(BadInput, match="cannot spell <image>"):
        write_conversations(tmp_path / "data.json", [talk])


def test_captions_become_pairs_by_seed_alone() -> None:
    scenes = [Scene(str(at), (f"one {at}", f"two {at} "), image=A) for at in range(50)]
    scenes += [Scene("no picture", ("a",)), Scene("no caption", image=A)]
    pairs = list(captions_as_pairs(scenes, seed=1))
    assert len(pairs) == 50
    assert all(pair.turns[0].parts == (A,) for pair in pairs)
    assert {pair.turns[1].text.split()[0] for pair in pairs} == {"one", "two"}
    assert pairs == list(captions_as_pairs(reversed(scenes), seed=1))[::-1]
    assert pairs != list(captions_as_pairs(scenes, seed=2))


def test_the_released_stage_one_rows_read_whole(outside: Callable[[str], Path]) -> None:
    rows = list(read_conversations(outside("captions/lcs_2183_conversations.json"), "images"))
    assert len(rows) == 2183
    first = 0
    for row in rows:
        question, answer = parts(row)
        assert len(question) == 2
        first += isinstance(question[0], Image)
        assert "\n" not in "".join(part for part in question if isinstance(part, str))
        assert answer != ("",)
    assert first == 1124
