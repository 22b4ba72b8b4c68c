"""Tar shards: read in place, in order, picture by picture, and told of where they are damaged."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seetell.encode.image import ImageProcessor
from seetell.errors import BadInput
from seetell.files import read_bytes
from seetell.sources.conversations import read_conversations
from seetell.sources.shards import is_shards, shard_files
from seetell.types import Conversation, Image, Rejected
from seetell.verbs.data import browse, check, stats

TURNS = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "a square"}]


def picture(level: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (12, 9), (level, 90, 30)).save(file, "JPEG")
    return file.getvalue()


def write(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def members(first: int, count: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for number in range(first, first + count):
        found[f"set/{number:04}.jpg"] = picture(number)
        found[f"set/{number:04}.json"] = json.dumps(
            {"id": f"c{number}", "image": "x.jpg", "conversations": TURNS}
        ).encode()
    return found


def read(path: Path | str) -> list[Conversation | Rejected]:
    return list(read_conversations(path))


def shown(row: Conversation | Rejected) -> bytes:
    assert isinstance(row, Conversation), row
    (image,) = row.images
    return read_bytes(image.path)


def test_what_webdataset_writes_is_read(tmp_path: Path) -> None:
    webdataset: Any = importlib.import_module("webdataset")
    with webdataset.TarWriter(str(tmp_path / "000.tar")) as writer:
        writer.write({"__key__": "a", "jpg": picture(1), "json": {"id": "first", "conversations": TURNS}})
        writer.write({"__key__": "b", "jpg": picture(2), "txt": "a small square"})
        writer.write({"__key__": "c", "json": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}]})
    first, second, third = read(tmp_path / "000.tar")
    assert isinstance(first, Conversation)
    assert (first.id, first.turns[1].text, shown(first)) == ("first", "a square", picture(1))
    assert isinstance(second, Conversation)
    assert (second.id, second.turns[0].text, second.turns[1].text) == ("b", "", "a small square")
    assert shown(second) == picture(2)
    assert isinstance(third, Conversation)
    assert third.images == ()


def test_a_part_of_a_tar_is_decoded_like_a_file(tmp_path: Path) -> None:
    write(tmp_path / "000.tar", members(0, 2))
    (tmp_path / "alone.jpg").write_bytes(picture(1))
    row = read(tmp_path / "000.tar")[1]
    assert isinstance(row, Conversation)
    processor = ImageProcessor(8)
    assert torch.equal(processor.pixels(row.images[0]), processor.pixels(Image(str(tmp_path / "alone.jpg"))))  # type: ignore[arg-type]
    (tmp_path / "000.tar").write_bytes(b"")
    gone = processor.pixels(row.images[0])
    assert isinstance(gone, Rejected)


def test_shards_are_named_by_pattern_or_folder(tmp_path: Path) -> None:
    for number in range(9, 12):
        write(tmp_path / f"s-{number:03}.tar", members(10 * number, 2))
    files = [tmp_path / f"s-{number:03}.tar" for number in range(9, 12)]
    for name in ("s-{009..011}.tar", "s-*.tar", ""):
        assert is_shards(tmp_path / name)
        assert shard_files(tmp_path / name) == files
    assert [row.id for row in read(tmp_path / "s-{010..011}.tar")] == ["c100", "c101", "c110", "c111"]
    with pytest.raises(BadInput, match=r"There is no data file .*s-012\.tar"):
        read(tmp_path / "s-{011..012}.tar")


@pytest.mark.parametrize("name", ["000.tar.gz", "000.tar"])
def test_a_compressed_shard_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    packed = write(tmp_path / "plain", members(0, 1)).read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(packed))
    with pytest.raises(BadInput, match=r"is compressed, .* unpack it to a \.tar"):
        read(tmp_path / name)


WHOLE = members(0, 3)


@given(st.data())
def test_a_cut_shard_gives_what_is_whole_and_says_that_it_is_cut(tmp_path_factory, data) -> None:
    path = write(tmp_path_factory.mktemp("cut") / "000.tar", WHOLE)
    with tarfile.open(path) as tar:
        end = max(member.offset_data + member.size for member in tar)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, end))])
    rows = read(path)
    sound = [row for row in rows if isinstance(row, Conversation)]
    assert [shown(row) for row in sound] == [picture(number) for number in range(len(sound))]
    assert len(sound) < 3 or len(rows) > 3
    assert any(isinstance(row, Rejected) for row in rows)


def test_a_spoiled_header_ends_the_shard_with_a_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "000.tar", WHOLE)
    with tarfile.open(path) as tar:
        second = tar.getmembers()[2].offset
    content = bytearray(path.read_bytes())
    content[second : second + 8] = b"\xff" * 8
    path.write_bytes(content)
    first, rejected = read(path)
    assert shown(first) == picture(0)
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "damaged shard"
    assert "after set/0000.json" in rejected.detail


def test_a_sample_that_lacks_its_other_half_is_refused_alone(tmp_path: Path) -> None:
    spoiled = {"0.jpg": picture(0), "1.txt": b"a caption", "2.jpg": picture(2), "2.json": b"{", **members(3, 1)}
    rows = read(write(tmp_path / "000.tar", spoiled))
    assert [row.reason for row in rows if isinstance(row, Rejected)] == [
        "no words in the sample",
        "no picture in the sample",
        "not JSON",
    ]
    assert shown(rows[3]) == picture(3)


def test_the_verbs_read_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "000.tar", members(0, 2))
    write(tmp_path / "001.tar", {**members(2, 1), "set/0003.jpg": b"no picture", "set/0003.txt": b"a caption"})
    assert stats(tmp_path)["rows"] == 4
    with pytest.raises(BadInput, match="1 fault in 1 of 4 rows"):
        check(tmp_path / "{000..001}.tar", images=tmp_path)
    assert "not a picture: 1" in capsys.readouterr().out
    page = browse(tmp_path / "000.tar", tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg") == 2
