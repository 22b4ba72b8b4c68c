"""One folder out of several: what shards on many machines made, put together.

Items and journals are rows that stand for themselves, so joining is adding them up; everything else is written anew
from them. Joining again starts over.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seetell.ask.journal import Journal, read_journal
from seetell.errors import BadInput, UsageError
from seetell.files import write_json
from seetell.generate.items import copy_items
from seetell.generate.outcome import ITEMS, JOURNAL, SETTINGS, read_settings


def join_folders(folders: Sequence[Path], out: Path) -> None:
    """Fills `out` with the items and journals of all; the pictures of drawn scenes come along."""
    if not folders:
        raise UsageError("--join needs the folders to join, as: --join OUT1 OUT2 --out OUT.")
    settings = [_settings(folder) for folder in folders]
    if (out / SETTINGS).exists() and not read_settings(out).get("joined"):
        raise UsageError(f"{out} holds a run of its own: join into another folder.")
    for number, folder in enumerate(folders):
        if folder.resolve() == out.resolve():
            raise UsageError(f"{out} cannot be joined into itself.")
        if any(folder.resolve() == other.resolve() for other in folders[:number]):
            raise UsageError(f"{folder} is named twice: a folder is joined once.")
    out.mkdir(parents=True, exist_ok=True)
    for name in (ITEMS, JOURNAL):
        (out / name).unlink(missing_ok=True)
    images_dir = _images_dir(folders, settings, out)
    with (out / ITEMS).open("wb") as items:
        for folder in folders:
            copy_items(folder / ITEMS, items)
        items.flush()
        os.fsync(items.fileno())
    with Journal(out / JOURNAL) as journal:
        for folder in folders:
            journal.copy(read_journal(folder / JOURNAL))
    write_json(
        out / SETTINGS, {**settings[0], "images_dir": str(images_dir), "joined": [str(path) for path in folders]}
    )


def _settings(folder: Path) -> dict[str, Any]:
    if not all((folder / name).is_file() for name in (SETTINGS, ITEMS, JOURNAL)):
        raise BadInput(f"{folder} holds no generated data: it needs {SETTINGS}, {ITEMS} and {JOURNAL}.")
    return read_settings(folder)


def _images_dir(folders: Sequence[Path], settings: Sequence[dict[str, Any]], out: Path) -> Path:
    """The folder that names are taken from. Pictures that lie in a folder itself are copied; others stay where they
    are, and where machines call that place by several names, the first that exists is taken."""
    places = [Path(each["images_dir"]) for each in settings]
    own = [place for folder, place in zip(folders, places, strict=True) if _within(place, folder)]
    if own:
        for folder in folders:
            shutil.copytree(folder / "images", out / "images", dirs_exist_ok=True)
        return out / "images"
    return next((place for place in places if place.is_dir()), places[0])


def _within(place: Path, folder: Path) -> bool:
    return place.name == "images" and (folder / "images").is_dir() and place.parent.name == folder.name
