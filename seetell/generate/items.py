"""What a folder of generated data was asked to hold: one row a picture, appended by every run and never changed.

A row is the scene with, for each kind, the key of its request (or why it is skipped), and what reading the reply needs
besides. With it and the journal a folder is whole: parsing again, joining folders and reporting need neither the source
files nor the prompts. A later row about the same picture and kind replaces the earlier one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from seetell.errors import DamagedFile
from seetell.files import append_jsonl, as_object
from seetell.generate.prompts import KINDS, Kind
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
    """The rows of a folder; a row is appended unless it is there and still the newest of each of its kinds."""

    def __init__(self, path: str | Path, images_dir: str | Path = "") -> None:
        self.path, self.images_dir = Path(path), images_dir
        append_jsonl(self.path).close()
        self._newest: dict[bytes, bytes] = {}
        for row in _rows(self.path):
            self._newest |= dict.fromkeys(row.items.values(), _digest(row.line))
        self._of_this_run: set[bytes] = set()
        self._file = self.path.open("ab")
        self._bytes_before = self.path.stat().st_size

    def add(self, planned: Planned) -> None:
        line = (json.dumps(_row(planned, self.images_dir), ensure_ascii=True) + "\n").encode()
        digest = _digest(line)
        newest = dict.fromkeys(_names_of(planned.scene.id, (*planned.keys, *planned.skipped)).values(), digest)
        if not newest.items() <= self._newest.items():
            self._newest |= newest
            self._file.write(line)
        self._of_this_run.add(digest)

    def close(self) -> None:
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._newest = {}

    def undo(self) -> None:
        """Takes back what was added since the file was opened."""
        self._file.flush()
        self._file.truncate(self._bytes_before)
        self._of_this_run.clear()

    def of_this_run(self) -> Iterator[Planned]:
        """What was added since the file was opened, each once."""
        self._file.flush()
        left = set(self._of_this_run)
        for row in _rows(self.path):
            if (digest := _digest(row.line)) in left:
                left.remove(digest)
                yield row.planned(self.images_dir)


def read_items(path: str | Path, images_dir: str | Path = "") -> Iterator[Item | tuple[Scene, Kind, str]]:
    """Every item in order, and for each one skipped its scene, kind and reason; only the newest row counts."""
    path = Path(path)
    newest: dict[bytes, int] = {}
    for row in _rows(path):
        newest |= dict.fromkeys(row.items.values(), row.number)
    for row in _rows(path):
        current = {kind for kind, item in row.items.items() if newest[item] == row.number}
        planned = row.planned(images_dir)
        yield from (item for item in items_of(planned) if item.kind in current)
        for kind, reason in planned.skipped.items():
            if kind in current:
                yield planned.scene, kind, reason


def items_of(planned: Planned) -> Iterator[Item]:
    """What is asked about a picture."""
    for kind, key in planned.keys.items():
        yield Item(planned.scene, kind, key, planned.question if kind == "detail" else None, planned.seed)


def copy_items(path: str | Path, to: BinaryIO) -> None:
    """Writes a file's whole rows after others."""
    for row in _rows(Path(path)):
        to.write(row.line)


def _row(planned: Planned, images_dir: str | Path) -> dict[str, Any]:
    row = scene_row(planned.scene, images_dir)
    row |= {"keys": planned.keys, "skipped": planned.skipped, "seed": planned.seed}
    if planned.question:
        row["question"] = planned.question
    if planned.again:
        row["again"] = planned.again
    return row


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the file that is an object by kind; `items` has a short name for the picture with each of its kinds."""

    path: Path
    number: int
    line: bytes
    values: dict[str, Any]
    items: dict[str, bytes]

    def planned(self, images_dir: str | Path) -> Planned:
        keys, skipped, again = (self.values.get(name, {}) for name in ("keys", "skipped", "again"))
        question = str(self.values.get("question", ""))
        try:
            for key in keys.values():
                bytes.fromhex(key)
            return Planned(
                scene_of(self.values, images_dir), keys, skipped, again, question, int(self.values.get("seed", 0))
            )
        except (KeyError, ValueError, TypeError) as error:
            raise _damaged(self.path, self.number, str(error)) from None


def _rows(path: Path) -> Iterator[_Row]:
    """Every row; a torn last line is passed over."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = as_object(json.loads(line)) or {}
            except ValueError:
                if not line.endswith(b"\n"):
                    return
                row = {}
            keys, skipped, again = (as_object(row.get(name, {})) for name in ("keys", "skipped", "again"))
            if "id" not in row or keys is None or skipped is None or again is None:
                raise _damaged(path, number, "it has no 'id' with 'keys' and 'skipped' by kind")
            if unknown := {*keys, *skipped, *again} - set(KINDS):
                raise _damaged(path, number, f"there is no kind {min(unknown)!r}")
            names = _names_of(str(row["id"]), (*keys, *skipped))
            yield _Row(path, number, line.rstrip(b"\n") + b"\n", row, names)


def _damaged(path: Path, number: int, why: str) -> DamagedFile:
    return DamagedFile(f"{path}, line {number}, is not an item ({why}); was it changed by hand?")


def _names_of(id: str, kinds: Iterable[str]) -> dict[str, bytes]:
    return {kind: _digest(f"{kind} {id}".encode(errors="surrogatepass")) for kind in kinds}


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=8).digest()
