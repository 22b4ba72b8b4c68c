"""What a folder of generated data was asked to hold: one row a picture, appended by every run and never changed.

A row is the scene with, for each kind, the key of its request (or why it is skipped), and what reading the reply needs
besides. With it and the journal a folder is whole: parsing again, joining folders and reporting need neither the source
files nor the prompts. A later row about the same picture and kind replaces the earlier one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seetell.files import DamagedFile, append_jsonl, as_object
from seetell.generate.prompts import Kind
from seetell.sources.scenes import scene_of, scene_row
from seetell.types import Scene


@dataclass(frozen=True, slots=True)
class Planned:
    """One picture: the kinds that are asked about it, with keys, and those that are not, with reasons.

    `again` marks, by kind, requests that are the same as another picture's, word for word.
    """

    scene: Scene
    keys: dict[Kind, str]
    skipped: dict[Kind, str]
    again: dict[Kind, str]
    question: str = ""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """One picture and kind: one request, one conversation."""

    scene: Scene
    kind: Kind
    key: str
    question: str | None
    seed: int


class ItemFile:
    """The rows of a folder; what is added twice is there once."""

    def __init__(self, path: str | Path, images_dir: str | Path = "") -> None:
        self.path, self.images_dir = Path(path), images_dir
        append_jsonl(self.path).close()
        with self.path.open("rb") as file:
            self._known = {_digest(line) for line in file}
        self._of_this_run: set[bytes] = set()
        self._file = self.path.open("ab")

    def add(self, planned: Planned) -> None:
        line = (json.dumps(_row(planned, self.images_dir), ensure_ascii=True) + "\n").encode()
        digest = _digest(line)
        if digest not in self._known:
            self._known.add(digest)
            self._file.write(line)
        self._of_this_run.add(digest)

    def close(self) -> None:
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def of_this_run(self) -> Iterator[Planned]:
        """What was added since the file was opened."""
        self._file.flush()
        with self.path.open("rb") as file:
            for line in file:
                if _digest(line) in self._of_this_run:
                    yield _planned(line, self.path, self.images_dir)


def read_items(path: str | Path, images_dir: str | Path = "") -> Iterator[Item | tuple[Scene, Kind, str]]:
    """Every item in order, and for each one skipped its scene, kind and reason; only the newest row counts."""
    path = Path(path)
    newest: dict[bytes, int] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file):
            row = as_object(json.loads(line)) or {}
            for kind in (*row["keys"], *row["skipped"]):
                newest[_digest(f"{kind} {row['id']}".encode())] = number
    with path.open("rb") as file:
        for number, line in enumerate(file):
            planned = _planned(line, path, images_dir)

            def current(kind: Kind, id: str = planned.scene.id, number: int = number) -> bool:
                return newest[_digest(f"{kind} {id}".encode())] == number

            for kind, key in planned.keys.items():
                if current(kind):
                    question = planned.question if kind == "detail" else None
                    yield Item(planned.scene, kind, key, question, planned.seed)
            for kind, reason in planned.skipped.items():
                if current(kind):
                    yield planned.scene, kind, reason


def _row(planned: Planned, images_dir: str | Path) -> dict[str, Any]:
    row = scene_row(planned.scene, images_dir)
    row |= {"keys": planned.keys, "skipped": planned.skipped, "seed": planned.seed}
    if planned.question:
        row["question"] = planned.question
    if planned.again:
        row["again"] = planned.again
    return row


def _planned(line: bytes, path: Path, images_dir: str | Path) -> Planned:
    try:
        row = as_object(json.loads(line)) or {}
        question, seed = str(row.get("question", "")), int(row["seed"])
        return Planned(scene_of(row, images_dir), row["keys"], row["skipped"], row.get("again", {}), question, seed)
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedFile(f"{path} has a row that is not an item ({error}); was it changed by hand?") from None


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=8).digest()
