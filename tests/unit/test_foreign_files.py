"""Scenes, captions, answers and tables that others wrote: what a file is instead is named, no torn line is missed."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from seetell.ask.replay import Replay
from seetell.errors import BadInput
from seetell.evals.rows import picture_in, read_object_or_rows, read_rows, read_tsv
from seetell.files import read_json
from seetell.pictures import MISSING, open_picture
from seetell.sources.coco import read_coco
from seetell.sources.scenes import read_scenes
from seetell.types import Rejected
from seetell.verbs.select import Captioned, read_captions


def read_scene_file(path: Path) -> list[Any]:
    return list(read_scenes(path))


READERS = {
    "scenes": (read_scene_file, '{"id": "1", "captions": ["a"]}'),
    "captions": (lambda path: list(read_captions(path, "{:09d}.jpg")), '{"image": "a.png", "caption": "a"}'),
    "replies": (Replay.load, '{"text": "a"}'),
    "answers": (read_rows, '{"question_id": 1, "text": "a"}'),
    "object or rows": (read_object_or_rows, '{"question_id": 1}'),
}


@pytest.mark.parametrize("name", READERS)
def test_other_readers_name_what_a_file_is_and_miss_no_torn_line(tmp_path: Path, name: str) -> None:
    reader, line = READERS[name]
    path = tmp_path / "file.jsonl"
    path.write_text(line + "\n" + line)
    reader(path)
    for content, said in (
        ((line + "\n" + line[:-3]).encode(), "line 2"),
        ((line + "\n").encode("utf-16"), "UTF-16"),
        (gzip.compress(line.encode()), "gzip"),
        ((line + "\n").encode() + b'{"id": ' + b"[" * 100_000, "line 2"),
    ):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=said):
            reader(path)


def test_a_name_too_long_for_a_file_names_no_picture(tmp_path: Path) -> None:
    image = picture_in([tmp_path, tmp_path / "images"], "x" * 5000)
    opened = open_picture(image)
    assert isinstance(opened, Rejected)
    assert opened.reason == MISSING
    assert len(opened.id) <= 200


def test_tables_and_whole_json_say_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "file.tsv"
    for content, said in (("a\tb\n\xe9\tc\n".encode("cp1252"), "Windows-1252"), ("a\tb\n".encode("utf-16"), "UTF-16")):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=said):
            list(read_tsv(path))
    path.write_bytes(b"a fine one\nein caf\xe9\n")
    fine, rejected = read_captions(path, "{:09d}.jpg")
    assert isinstance(fine, Captioned)
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "not UTF-8"
    path.write_bytes(b"[" * 100_000)
    for read in (read_json, lambda path: list(read_coco(path))):
        with pytest.raises(BadInput, match="nested too deeply"):
            read(path)
