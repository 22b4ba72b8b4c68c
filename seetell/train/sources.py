"""Where a stage's samples come from, by name, so that the loss can be told apart by source.

A source is a file of the stage. Where the pictures of a file lie in a few folders, as those of LLaVA's 665K mixture
do (coco, gqa, ocr_vqa, textvqa, vg, and rows without a picture), each folder is a source of its own: short answers
and long ones have losses that a mean of all hides. Many folders are shards, which say nothing.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from seetell.train.recipe import Data
from seetell.types import Image

FOLDERS_AT_MOST = 8
TEXT_ONLY = "text only"


class SourceIndex:
    """Numbers each sample's source as the samples are read; `close` gives the names and the numbers."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], int] = {}  # file, folder -> number
        self._of = array("i")

    def add(self, data: Data, images: Sequence[Image]) -> None:
        """One more sample."""
        self._of.append(self._found.setdefault((data.path, folder_of(data, images)), len(self._found)))

    def close(self) -> tuple[tuple[str, ...], list[int]]:
        """The sources' names, and of each sample the place of its source among them."""
        folders: dict[str, set[str]] = defaultdict(set)
        for path, folder in self._found:
            folders[path].add(folder)
        files = file_names(list(folders))
        names: dict[str, int] = {}
        renumbered: list[int] = []
        for path, folder in self._found:
            few = 1 < len(folders[path]) <= FOLDERS_AT_MOST
            name = f"{files[path]}/{folder}" if few and folder else files[path]
            renumbered.append(names.setdefault(name, len(names)))
        return tuple(names), [renumbered[number] for number in self._of]


def folder_of(data: Data, images: Sequence[Image]) -> str:
    """The first folder below the data's pictures on the way to a row's first picture; nothing if it lies there."""
    if not images:
        return TEXT_ONLY
    root = Path(data.folder).as_posix()
    inside = images[0].path.removeprefix(root + "/") if root != "." else images[0].path
    folder, slash, _ = inside.partition("/")
    return folder if slash else ""


def file_names(paths: Sequence[str]) -> dict[str, str]:
    """A short name for each path: the file's without its ending, or the whole path where two would be alike."""
    stems = [Path(path).stem for path in paths]
    return {path: stem if stems.count(stem) == 1 else path for path, stem in zip(paths, stems, strict=True)}
