"""One reader of data: what `data check` accepts is what trains, whoever wrote it, and one bad row ends nothing."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch

from benchmarks.fuzz_data import prove
from seetell.console import console
from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor, template_named
from seetell.encode.tokenizer import Tokenizer
from seetell.errors import BadInput, SeetellError
from seetell.sources.conversations import read_conversations
from seetell.train.data import Samples, read_samples
from seetell.train.recipe import Data, Stage
from seetell.types import Rejected
from seetell.verbs.data import browse, check, convert, stats
from seetell.verbs.show import show
from tests.tiny import tiny_tokenizer

PARQUET = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow")
TAG, ASKED = "<image>\nWhat?", "What?"
PLACE = {"type": "image"}


@pytest.fixture
def processor() -> Processor:
    tokenizer = Tokenizer(tiny_tokenizer())
    return Processor(tokenizer, template_named("vicuna-v1", tokenizer), ImageProcessor(16), slots_per_image=4)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with a picture in it."""
    (tmp_path / "a.png").write_bytes(png())
    return tmp_path


def png() -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return file.getvalue()


def talk(question: str = TAG, answer: str = "A cat.") -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def messages(question: Any = ASKED, answer: Any = "A cat.") -> list[dict[str, Any]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def written(path: Path, rows: list[Any]) -> Path:
    lines = "\n".join(map(json.dumps, rows)) + "\n"
    path.write_text(json.dumps(rows) if path.suffix == ".json" else lines)
    return path


def stage(path: Path) -> Stage:
    return Stage(data=(Data(str(path)),), lr={"connector": 1e-3}, samples_per_step=2)


def train_on(path: Path, processor: Processor) -> Samples:
    return read_samples(stage(path), processor, seed=0, what="tune")


def faults_of(path: Path) -> dict[str, int]:
    """What `data check` counts."""
    try:
        return dict(check(path, out=path.parent / "faults.jsonl").counts)
    except BadInput:
        lines = (path.parent / "faults.jsonl").read_text().splitlines()
        reasons = [json.loads(line)["reason"] for line in lines]
        return {reason: reasons.count(reason) for reason in reasons}


# ----------------------------------------------------------------------------------------- dialects


DATA_URL = "data:image/png;base64," + base64.b64encode(png()).decode()
SEEING: dict[str, dict[str, Any]] = {
    "image": {"image": "a.png", "conversations": talk()},
    "image, a list": {"image": ["a.png"], "conversations": talk()},
    "image inside": {"image": DATA_URL, "conversations": talk()},
    "image, an object": {"image": {"path": "a.png", "bytes": None}, "conversations": talk()},
    "images": {"images": ["a.png"], "conversations": talk()},
    "images, a name": {"images": "a.png", "conversations": talk()},
    "image_path": {"image_path": "a.png", "conversations": talk()},
    "image_file": {"image_file": "a.png", "conversations": talk()},
    "img": {"img": "a.png", "conversations": talk()},
    "null beside": {"image": None, "images": [], "image_path": "a.png", "conversations": talk()},
    "openai": {
        "messages": messages([
            {"type": "image_url", "image_url": {"url": "a.png"}},
            {"type": "text", "text": ASKED},
        ])
    },
    "openai, inside": {"messages": messages([{"type": "image_url", "image_url": {"url": DATA_URL}}])},
    "trl": {
        "images": ["a.png"],
        "messages": messages([PLACE, {"type": "text", "text": ASKED}], [{"type": "text", "text": "A cat."}]),
    },
    "trl, numbered": {
        "images": ["a.png"],
        "messages": messages([{"type": "text", "text": ASKED}, {"type": "image", "index": 0, "text": None}]),
    },
    "part with its name": {"messages": messages([{"type": "image", "image": "a.png"}])},
    "messages with tags": {"images": ["a.png"], "messages": messages(TAG)},
    "roles under conversations": {"image": "a.png", "conversations": messages(TAG)},
    "file address": {"image": "file://PLACE/a.png", "conversations": talk()},
}  # fmt: skip


@pytest.mark.parametrize("name", SEEING)
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_training_sees_the_picture_of_every_dialect(
    world: Path, processor: Processor, name: str, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = json.loads(json.dumps({"id": "x", **SEEING[name]}).replace("PLACE", str(world)))
    data = written(world / f"data.{ending}", [row])
    samples = train_on(data, processor)
    assert [len(images) for images in samples.images] == [1]
    pixels = ImageProcessor(8).pixels(samples.images[0][0])
    assert isinstance(pixels, torch.Tensor)
    assert (samples.ids == processor.tokenizer.image_id).sum() == 4
    assert "<image>" not in processor.tokenizer.decode(
        samples.ids[samples.ids != processor.tokenizer.image_id].tolist()
    )
    check(data)
    assert stats(data)["rows by images"] == {1: 1}
    assert "data:image/jpeg" in browse(data, world / "page.html").read_text()
    show(str(data))
    assert "8 × 8" in capsys.readouterr().out


@PARQUET
@pytest.mark.parametrize("picture", [{"bytes": png(), "path": "any.png"}, {"bytes": None, "path": "a.png"}, png()])
@pytest.mark.parametrize("form", ["image", "images"])
def test_training_sees_the_pictures_of_the_hubs_parquet(
    world: Path, processor: Processor, picture: Any, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow
    from pyarrow import parquet

    parts = [{"type": "image", "text": None}, {"type": "text", "text": ASKED}]
    answer = [{"type": "text", "text": "A cat."}]
    shown = {"image": picture, "conversations": talk()}
    if form == "images":
        shown = {"images": [picture], "messages": messages(parts, answer)}
    blind = {"image": None, "conversations": talk(ASKED)} if form == "image" else {"messages": messages(answer, answer)}
    data = world / "data.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([{"id": "seen", **shown}, {"id": "blind", **blind}]), data)
    samples = train_on(data, processor)
    assert [len(images) for images in samples.images] == [1, 0]
    assert isinstance(ImageProcessor(8).pixels(samples.images[0][0]), torch.Tensor)
    check(data)
    show(str(data), id="seen")
    assert "8 × 8" in capsys.readouterr().out
    assert "data:image/jpeg" in browse(data, world / "page.html").read_text()
    convert(data, world / "out.json", "llava")
    assert [len(images) for images in train_on(world / "out.json", processor).images] == [1, 0]


UNUSABLE: dict[str, tuple[dict[str, Any], str]] = {
    "tag without a picture": ({"conversations": talk()}, "image tags and images differ"),
    "tag and another key": ({"photo": "a.png", "conversations": talk()}, "image tags and images differ"),
    "picture without a tag": ({"image": "a.png", "conversations": talk(ASKED)}, "image tags and images differ"),
    "fewer tags": ({"images": ["a.png", "a.png"], "conversations": talk()}, "image tags and images differ"),
    "messages without a place": ({"images": ["a.png"], "messages": messages()}, "image tags and images differ"),
    "place without a picture": ({"messages": messages([{"type": "image"}])}, "image tags and images differ"),
    "tag beside a part": (
        {"messages": messages([{"type": "text", "text": TAG}, {"type": "image", "image": "a.png"}])},
        "image tags and images differ",
    ),
    "places out of order": (
        {"images": ["a.png", "a.png"], "messages": messages([PLACE | {"index": 1}, PLACE | {"index": 0}])},
        "image tags and images differ",
    ),
    "picture in an answer": (
        {"messages": messages(ASKED, [{"type": "image_url", "image_url": {"url": "a.png"}}])},
        "picture outside a question",
    ),
    "empty answer": ({"conversations": talk(ASKED, "")}, "empty turn"),
    "blank answer": ({"messages": messages(ASKED, " \n")}, "empty turn"),
    "empty question": ({"conversations": talk("")}, "empty turn"),
    "nobody answers": ({"conversations": talk()[:1], "image": "a.png"}, "no answer"),
    "null in a name": ({"image": "a\0.png", "conversations": talk()}, "bad image name"),
    "half a pair in a name": ({"image": "\ud83d.png", "conversations": talk()}, "not Unicode"),
    "half a pair in an id": ({"id": "\ud83d", "conversations": talk(ASKED)}, "not Unicode"),
    "half a pair in words": ({"conversations": talk("\ud83d")}, "not Unicode"),
    "bare base64": ({"image": base64.b64encode(png() * 99).decode(), "conversations": talk()}, "bad image name"),
    "torn base64": ({"image": DATA_URL[:-3] + "!", "conversations": talk()}, "bad image name"),
    "on the web": ({"image_url": "https://x/a.png", "conversations": talk()}, "picture on the web"),
    "nested": ({"conversations": talk(ASKED), "extra": json.loads("[" * 200 + "]" * 200)}, "nested too deeply"),
    "a list for a text": ({"conversations": [{"from": "human", "value": ["a"]}, *talk()[1:]]}, "turn without text"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_what_cannot_train_is_rejected_in_training_and_shown_by_check(
    world: Path, processor: Processor, name: str, ending: str
) -> None:
    row, reason = UNUSABLE[name]
    good = {"id": "good", "image": "a.png", "conversations": talk()}
    data = written(world / f"data.{ending}", [good, {"id": "bad", **row}, {**good, "id": "last"}])
    samples = train_on(data, processor)
    assert samples.names == ["good", "last"]
    ((at, rejected),) = samples.rejected
    assert (at, rejected.reason) == (1, reason)
    assert len(rejected.detail) < 500
    assert faults_of(data) == {reason: 1, "same conversation twice": 1}
    written(data, [{"id": "bad", **row}])
    with pytest.raises(BadInput, match=f"1 × {reason}"):
        train_on(data, processor)
    with pytest.raises(BadInput, match="no whole conversation"):
        show(str(data))


def test_a_question_at_the_end_is_left_and_told(world: Path, processor: Processor) -> None:
    data = written(world / "data.json", [{"id": "x", "image": "a.png", "conversations": [*talk(), talk(ASKED)[0]]}])
    assert faults_of(data) == {"question without an answer": 1}
    assert train_on(data, processor).names == ["x"]


def test_a_stage_that_sees_no_picture_says_so(
    world: Path, processor: Processor, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "quiet", False)
    blind = {"id": "x", "conversations": talk(ASKED)}
    train_on(written(world / "data.json", [blind, {"id": "y", "image": "a.png", "conversations": talk()}]), processor)
    assert "sees no picture" not in capsys.readouterr().err
    train_on(
        written(world / "data.json", [blind, {"id": "y", "image": "a.png", "conversations": talk(ASKED)}]), processor
    )
    told = capsys.readouterr().err
    assert "tune sees no picture: none of its 1 rows has one" in told
    assert "1 of 2 rows of tune are rejected: 1 × image tags and images differ" in told


def test_text_alone_trains_and_a_system_may_spell_the_tag(world: Path, processor: Processor) -> None:
    system = {"from": "system", "value": "The tag is <image>."}
    rows = [
        {"id": "1", "conversations": talk(ASKED)},
        {"id": "2", "conversations": [system, *talk(ASKED, "No <image>.")]},
    ]
    data = written(world / "data.json", rows)
    assert check(data).faults == 0
    assert train_on(data, processor).names == ["1", "2"]


# -------------------------------------------------------------------------------------------- files


GOOD = json.dumps({"id": "good", "conversations": talk("Äh?")}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"id": 1, "extra": ' + b"[" * 300 + b"]" * 300 + b"}", "nested too deeply"),
        (b'{"broken', "not JSON"),
        (b'{"id": "\xe9"}', "not UTF-8"),
        (b'{"id": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"17", "no conversation"),
    ],
    ids=["brackets", "deep", "broken", "cp1252", "digits", "number"],
)
@pytest.mark.parametrize("place", ["first", "last"])
def test_one_bad_line_is_rejected_and_the_others_train(
    tmp_path: Path, processor: Processor, line: bytes, reason: str, place: str
) -> None:
    if place == "first" and not line.startswith(b"{"):
        pytest.skip("a file that begins otherwise is no JSONL")
    lines = [line, GOOD.encode()] if place == "first" else [GOOD.encode(), line]
    data = tmp_path / "data.jsonl"
    data.write_bytes(b"\n".join(lines) + b"\n")
    assert faults_of(data) == {reason: 1}
    samples = train_on(data, processor)
    assert samples.names == ["good"]
    assert [rejected.reason for _, rejected in samples.rejected] == [reason]


def test_a_last_line_that_is_cut_off_is_reported(tmp_path: Path, processor: Processor) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(GOOD + "\n" + GOOD[:-9])
    assert faults_of(data) == {"cut off": 1}
    assert [(row.id, row.reason) for _, row in train_on(data, processor).rejected] == [("row 1", "cut off")]
    data.write_text(GOOD + "\n" + GOOD)
    assert len(train_on(data, processor).names) == 2


LISTED = f"[{GOOD}]"
DAMAGED: dict[str, tuple[bytes, str]] = {
    "utf-16": (LISTED.encode("utf-16"), "UTF-16"),
    "utf-16 without a mark": (LISTED.encode("utf-16-le"), "UTF-16"),
    "utf-16, lines": (GOOD.encode("utf-16"), "UTF-16"),
    "cp1252": (LISTED.encode("cp1252"), "Windows-1252"),
    "gzip": (gzip.compress(LISTED.encode()), "gzip"),
    "zip": (b"PK\x03\x04" + bytes(99), "zip"),
    "wrapped": (f'{{"version": 1, "data": {LISTED}}}'.encode(), "'data'"),
    "wrapped, indented": (json.dumps({"data": json.loads(LISTED)}, indent=2).encode(), "'data'"),
    "one object": (json.dumps(json.loads(GOOD), indent=2).encode(), "put it into a list"),
    "a page": (b"<html>404</html>", "not a conversation file"),
    "cut list": (LISTED[:-9].encode(), "not a whole JSON list: row 0"),
    "deep list": (b"[" * 100_000, "nested too deeply"),
    "long number": (b"[" + b"9" * 5000 + b"]", "row 0"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_cannot_be_read_is_named_for_what_it_is(tmp_path: Path, processor: Processor, name: str) -> None:
    content, said = DAMAGED[name]
    data = tmp_path / "data.json"
    data.write_bytes(content)
    for verb in (check, stats, lambda path: show(str(path)), lambda path: train_on(path, processor)):
        with pytest.raises(BadInput, match=said) as caught:
            verb(data)
        assert str(data) in str(caught.value)
        assert len(str(caught.value)) < 500


def test_a_folder_or_nothing_where_a_file_is_needed(tmp_path: Path, processor: Processor) -> None:
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "no" / "data.json", "There is no data file")):
        for verb in (check, stats, lambda path: train_on(path, processor)):
            with pytest.raises(BadInput, match=said):
                verb(path)


def test_a_picture_in_base64_is_never_printed_whole(world: Path, processor: Processor) -> None:
    long = base64.b64encode(bytes(range(256)) * 40).decode()
    rows = [
        {"id": "1", "image": long, "conversations": talk()},
        {"id": "2", "image": f"https://x/{long}", "conversations": talk()},
        {"id": "3", "image": {"b64": long}, "conversations": talk()},
        {"id": "4", "image": long[:230], "conversations": talk()},
        {"id": long, "image": "none.png", "conversations": talk()},
        {"id": "6", "conversations": [{"from": long, "value": "a"}]},
        {"id": "7", "image": "data:image/png;base64," + long[:-1], "conversations": talk()},
        {"id": "8", "image": "a.png", "conversations": talk()},
    ]
    data = written(world / "data.jsonl", rows)
    samples = train_on(data, processor)
    assert [len(rejected.detail) < 300 for _, rejected in samples.rejected] == [True] * 5
    faults = (json.loads(line) for line in (faults_of(data), (world / "faults.jsonl").read_text())[1].splitlines())
    assert all(len(fault["detail"]) < 400 for fault in faults)
    with pytest.raises(SeetellError) as caught:
        show(str(data), id="1")
    assert len(str(caught.value)) < 500


def test_rows_are_read_as_they_come(world: Path) -> None:
    """A bad row is a value at its place: those around it stand where they stood."""
    rows = [{"id": str(at), "conversations": talk(ASKED, "" if at % 3 == 0 else "Yes.")} for at in range(9)]
    read = list(read_conversations(written(world / "data.jsonl", rows)))
    assert [row.id for row in read] == [str(at) for at in range(9)]
    assert [isinstance(row, Rejected) for row in read] == [at % 3 == 0 for at in range(9)]


@PARQUET
def test_fuzzed_files_are_judged_alike_by_all_verbs(tmp_path: Path) -> None:
    """`benchmarks/fuzz_data.py` does the same with hundreds."""
    tally = prove(range(20), tmp_path, whole=False)
    assert tally.faults == []
    assert tally.usable > 20
    assert sum(tally.reasons.values()) > 20
