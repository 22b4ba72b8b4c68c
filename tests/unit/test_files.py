"""Files: whole or as before, whatever kills the writer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell import files
from seetell.errors import DamagedFile

ROWS = st.lists(
    st.dictionaries(st.text(max_size=3), st.text(max_size=8) | st.integers() | st.none(), max_size=3), max_size=6
)


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_atomic(path, "old")
    files.write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    files.write_atomic(path, "old")

    def full_disk(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, "é 猫"]}, [], "half a pair: \ud83d"])
def test_json_comes_back_as_it_was_written(tmp_path: Path, value: object) -> None:
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value
    (tmp_path / "a.json").read_bytes().decode("utf-8")


def test_json_refuses_what_it_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_a_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("<html>")
    with pytest.raises(DamagedFile, match=r"a\.json is not JSON"):
        files.read_json(tmp_path / "a.json")


@given(rows=ROWS, more=ROWS, cut=st.integers(min_value=0, max_value=400))
def test_jsonl_survives_a_cut_at_any_byte(tmp_path_factory: pytest.TempPathFactory, rows, more, cut: int) -> None:
    """What was whole before the cut is read, before and after another writer goes on; nothing else is."""
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    with files.append_jsonl(path) as writer:
        for row in rows:
            writer.write(row)
    path.write_bytes(path.read_bytes()[:cut])
    whole = list(files.read_jsonl(path))
    assert whole == rows[: len(whole)]
    with files.append_jsonl(path) as writer:
        for row in more:
            writer.write(row)
    assert list(files.read_jsonl(path)) == whole + more


def test_a_long_torn_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"b": "' + "x" * 200_000)
    files.append_jsonl(path).close()
    assert path.read_text() == '{"a": 1}\n'


def test_a_bad_line_before_the_last_is_an_error_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n[1]\n{"b": 2}\n')
    with pytest.raises(DamagedFile, match="line 3, is not a JSON object"):
        list(files.read_jsonl(path))


def test_rows_reach_the_disk_in_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    writer = files.append_jsonl(path)
    for number in range(files.ROWS_PER_SYNC + 1):
        writer.write({"n": number})
    assert len(list(files.read_jsonl(path))) == files.ROWS_PER_SYNC
    writer.flush()
    assert len(list(files.read_jsonl(path))) == files.ROWS_PER_SYNC + 1
    writer.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(1000))
    (tmp_path / "inner" / "facts.json").write_text("{}")
    files.write_manifest(tmp_path)
    return tmp_path


def test_a_whole_folder_passes(folder: Path) -> None:
    files.check_manifest(folder)
    named = json.loads((folder / files.MANIFEST).read_text())["files"]
    assert sorted(named) == ["inner/facts.json", "weights.bin"]


def test_what_its_writer_hashed_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder / "large.bin").open("wb") as file:
        hashing = files.Hashing(file)
        for part in (b"a" * 100_000, b"b"):
            hashing.write(part)
    read: list[str] = []
    monkeypatch.setattr(files, "sha256_file", lambda path: read.append(path.name) or files.sha256_text("{}"))
    (folder / "weights.bin").unlink()
    files.write_manifest(folder, {"large.bin": hashing.entry()})
    assert read == ["facts.json"]
    monkeypatch.undo()
    files.check_manifest(folder)
    (folder / "large.bin").write_bytes(b"a")
    with pytest.raises(DamagedFile, match="has 1 bytes, and 100001 were written"):
        files.write_manifest(folder, {"large.bin": hashing.entry()})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / files.MANIFEST).unlink(), "never finished"),
        (lambda folder: (folder / files.MANIFEST).write_text("[]"), "names no files"),
        (lambda folder: (folder / files.MANIFEST).write_text("{"), "is not JSON"),
        (lambda folder: (folder / "weights.bin").unlink(), r"weights\.bin is missing"),
        (lambda folder: (folder / "weights.bin").write_bytes(bytes(999)), "999 bytes"),
        (lambda folder: (folder / "weights.bin").write_bytes(b"\1" * 1000), "its hash differs"),
    ],
)
def test_a_damaged_folder_is_told(folder: Path, damage, said: str) -> None:
    damage(folder)
    with pytest.raises(DamagedFile, match=said):
        files.check_manifest(folder)


def test_hashes_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("abc")
    assert files.sha256_file(tmp_path / "a") == files.sha256_text("abc")
    assert files.sha256_text("abc").startswith("ba7816bf")
