"""Where results go: a folder that appears whole at its place or not at all, and places checked before the work.

A folder is filled beside its place, or within it where it is an empty folder already, under a name that begins with
a dot; its manifest comes last. The name is locked while it is filled, so that what a killed command left can be told
from what another one is writing.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from seetell.errors import UsageError
from seetell.files import MANIFEST, sync, telling_full_disk, write_manifest

LOST_AND_FOUND = "lost+found"  # what an empty disk holds


def output_file(path: str | Path) -> Path:
    """A file to write, checked before anything is read for it; the folders that it lacks are made."""
    path = Path(path).expanduser()
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name the file to write, such as {path / 'NAME'}.")
    _refuse_file_among(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def output_folder(path: str | Path) -> Path:
    """A folder to write, there or not, checked before anything is read for it."""
    path = Path(path).expanduser()
    _refuse_file_among(path)
    return path


def _refuse_file_among(path: Path) -> None:
    for each in (path, *path.absolute().parents):
        if each.exists():
            if not each.is_dir():
                raise UsageError(f"{each} is a file, not a folder to write in: give another --out.")
            return


@contextmanager
def publish(folder: str | Path, *, replaces: bool = False) -> Generator[Path]:
    """A folder to fill, which stands at `folder` whole, its manifest last, at the end of the block or not at all.

    Its place is free, or an empty folder: also a link to one, a mount point, the folder one stands in. Into such a
    folder the files are moved; else the new folder is renamed. With `replaces` what is there gives way. Commands with
    the same place refuse each other; what a killed one left there is removed.
    """
    target = output_folder(folder).resolve()
    within = target.is_dir() and not replaces
    home = target if within else target.parent
    refuse_filled(target, replaces)
    made = [parent for parent in (home, *home.parents) if not parent.exists()]
    with telling_full_disk(target):
        try:
            home.mkdir(parents=True, exist_ok=True)
            with _part_of(target, home) as part:
                yield part
                write_manifest(part)
                refuse_filled(target, replaces)
                if within:
                    _move_into(part, target)
                else:
                    _rename_to(part, target, replaces)
                sync(home)
        except BaseException:
            for parent in made:
                with suppress(OSError):
                    parent.rmdir()
            raise


def refuse_filled(folder: Path, replaces: bool = False) -> None:
    """Nothing that is there is ever written over, unless it is to be replaced."""
    folder = output_folder(folder)
    if replaces or not folder.exists():
        return
    if any(path.name != LOST_AND_FOUND and not _is_part(path, folder) for path in folder.iterdir()):
        raise UsageError(f"{folder} is there already and not empty: choose another folder, or remove it.")


def _is_part(path: Path, target: Path) -> bool:
    return path.name.startswith(f".{target.name}.") and path.name.endswith(".part")


@contextmanager
def _part_of(target: Path, home: Path) -> Generator[Path]:
    """A new folder in `home`, locked while it is filled, and gone at the end of the block, moved or removed."""
    for left in [path for path in home.iterdir() if _is_part(path, target) and path.is_dir()]:
        with _locked(left) as free:
            _refuse_second(target, free)
            if free:
                shutil.rmtree(left, ignore_errors=True)
    while True:
        part = home / f".{target.name}.{secrets.token_hex(4)}.part"
        part.mkdir()
        with _locked(part) as mine:
            if mine is False or not part.exists():  # another command takes it for one that was left
                continue
            try:
                yield part
            finally:
                shutil.rmtree(part, ignore_errors=True)
            return


@contextmanager
def _locked(folder: Path) -> Generator[bool | None]:
    """Whether nobody else holds the folder, which is held meanwhile; None where that cannot be known."""
    handle = -1
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        except (OSError, ValueError):  # no such folder, or a file system without locks
            free = None
        yield free
    finally:
        if handle >= 0:
            os.close(handle)


def _refuse_second(target: Path, free: bool | None) -> None:
    if free is False:
        raise UsageError(f"Another command is writing {target}: wait for it, or give another --out.")


def _rename_to(part: Path, target: Path, replaces: bool) -> None:
    if replaces and target.exists():
        shutil.rmtree(target)
    try:
        part.rename(target)
    except OSError:
        refuse_filled(target)  # another command was quicker
        raise


def _move_into(part: Path, target: Path) -> None:
    """Moves what is in `part` into the empty folder around it, the manifest last; all or nothing."""
    with _locked(target) as free:
        _refuse_second(target, free)
        refuse_filled(target)
        moved: list[Path] = []
        try:
            for path in sorted(part.iterdir(), key=lambda path: path.name == MANIFEST):
                moved.append(path.rename(target / path.name))
        except BaseException:
            for path in moved:
                path.rename(part / path.name)
            raise
