"""Where results go: a folder appears whole at its place or not at all, whatever that place is, and a full disk is
told in a sentence that names it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from seetell.errors import DiskFull, Failed, UsageError
from seetell.files import append_jsonl, check_manifest, write_atomic
from seetell.publish import output_file, output_folder, publish
from tests.tiny_ranks import full_disk


def fill(folder: Path) -> None:
    (folder / "weights").write_bytes(b"w" * 100)
    (folder / "inner").mkdir()
    (folder / "inner" / "words").write_text("words")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


WHOLE = ["inner", "manifest.json", "weights"]


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """An empty folder on another file system where there is one, to which nothing can be renamed."""
    home = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")
    folder = home / f"seetell-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("place", ["free", "deep", "empty", "link", "link to another disk", "dangling", "."])
def test_a_folder_is_published_at_any_place(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    out = tmp_path / "out"
    real = out
    if place == "deep":
        out = real = tmp_path / "a" / "b" / "out"
    elif place == "empty":
        out.mkdir()
    elif place in ("link", "link to another disk", "dangling"):
        real = elsewhere if "disk" in place else tmp_path / "real"
        if place == "link":
            real.mkdir()
        out.symlink_to(real)
    elif place == ".":
        out.mkdir()
        monkeypatch.chdir(out)
        out, real = Path(), out
    before = real.stat().st_ino if real.exists() else None
    with publish(out) as writing:
        fill(writing)
        assert not (real / "weights").exists()
    assert names(real) == WHOLE
    check_manifest(real)
    assert before in (None, real.stat().st_ino)  # a mount point and the folder one stands in stay what they are
    assert not list(tmp_path.glob(".*"))
    if place in ("link", "dangling"):
        assert out.is_symlink()


def test_home_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with publish("~/models/mine") as writing:
        fill(writing)
    assert names(tmp_path) == ["models"]
    assert output_folder("~/x") == tmp_path / "x"
    assert output_file("~/y/page.html") == tmp_path / "y" / "page.html"


@pytest.mark.parametrize("there", [False, True])
def test_what_fails_leaves_nothing(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "a" / "out"
    if there:
        out.mkdir(parents=True)
    with pytest.raises(ValueError, match="broken"), publish(out) as writing:  # noqa: PT012
        fill(writing)
        raise ValueError("broken")
    assert not (tmp_path / "a").exists() or (there and not names(out) and names(out.parent) == ["out"])


def test_a_full_disk_names_the_place_and_leaves_nothing(tmp_path: Path) -> None:
    old = tmp_path / "file"
    old.write_text("old")

    def fill_much() -> None:
        with publish(tmp_path / "out") as writing:
            (writing / "weights").write_bytes(b"w" * 10_000)

    def append_much() -> None:
        with append_jsonl(tmp_path / "rows.jsonl") as writer:
            for _ in range(20):
                writer.write({"row": "r" * 1_000})

    with full_disk():
        with pytest.raises(DiskFull, match=r"no room left for .*/out \(File too large\): make room"):
            fill_much()
        with pytest.raises(DiskFull, match=r"no room left for .*/file "):
            write_atomic(old, b"n" * 10_000)
        with pytest.raises(DiskFull, match=r"no room left for .*/rows\.jsonl "):
            append_much()
    assert old.read_text() == "old"
    assert names(tmp_path) == ["file", "rows.jsonl"]
    assert DiskFull(28, "No space left on device", "x").exit_code == Failed.exit_code == 1


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(UsageError, match="is there already and not empty"), publish(tmp_path):
        pass
    with pytest.raises(UsageError, match="kept is a file, not a folder"), publish(tmp_path / "kept" / "out"):
        pass
    with pytest.raises(UsageError, match="is a folder: name the file"):
        output_file(tmp_path)
    with pytest.raises(UsageError, match="kept is a file, not a folder"):
        output_file(tmp_path / "kept" / "page.html")
    assert names(tmp_path) == ["kept"]
    with publish(tmp_path / "disk") as writing:
        fill(writing)
    with publish(tmp_path / "disk", replaces=True) as writing:
        (writing / "new").touch()
    assert names(tmp_path / "disk") == ["manifest.json", "new"]


def test_a_new_disk_is_empty(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    with publish(tmp_path) as writing:
        fill(writing)
    assert names(tmp_path) == sorted([*WHOLE, "lost+found"])


@pytest.mark.parametrize("there", [False, True])
def test_two_at_once_refuse_each_other_and_a_killed_one_leaves_no_trace(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
    home = out if there else tmp_path
    left = home / ".out.00000000.part"
    left.mkdir()
    (left / "weights").touch()
    with publish(out) as writing:
        fill(writing)
        assert not left.exists()
        with pytest.raises(UsageError, match=r"Another command is writing .*/out"), publish(out):
            pass
    assert names(out) == WHOLE
    check_manifest(out)


def test_of_many_at_once_one_is_published(tmp_path: Path) -> None:
    for turn in range(10):
        out = tmp_path / str(turn)
        refused: list[str] = []
        start = threading.Barrier(4)

        def write(number: int, out: Path = out, refused: list[str] = refused, start: threading.Barrier = start) -> None:
            start.wait()
            try:
                with publish(out) as writing:
                    (writing / str(number)).touch()
            except UsageError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(names(out)) <= 2, names(out)
        assert len(refused) >= 3
        assert out.exists() == (len(refused) == 3)
    assert not list(tmp_path.glob(".*"))
