"""Data in tar shards, as the webdataset layout has it: a sample is the members that share a name up to its first dot.

    000042.jpg   000042.json    a picture and its row of a conversation file (or the list of its turns alone)
    000043.png   000043.txt     a picture and its caption

Shards are read in place. One pass over a tar gives its rows, in which a picture is named as a part of the file,
`shards/000.tar#1536+20480`: where its bytes begin, and how many they are. Whoever wants it reads that part alone
(`files.read_bytes`), so samples are shuffled like those of any other file. What is damaged is a `Rejected`; a
compressed tar has no places to read from, and is refused.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from seetell.errors import BadInput
from seetell.files import as_list, as_object
from seetell.sources.faults import json_row
from seetell.types import Rejected

PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(slots=True)
class _Sample:
    """The members of one name: pictures as parts of the file, and the words."""

    key: str
    pictures: list[str] = field(default_factory=list[str])
    words: dict[str, bytes] = field(default_factory=dict[str, bytes])


def is_shards(path: str | Path) -> bool:
    """Whether the path names tar shards: one, a pattern of them, or a folder that holds some."""
    name = str(path)
    return name.endswith((".tar", *COMPRESSED)) or (Path(name).is_dir() and any(Path(name).glob("*.tar*")))


def shard_files(path: str | Path) -> list[Path]:
    """The tars, in order; `shards/{000..007}.tar` and `shards/*.tar` are patterns, a folder is all tars in it."""
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.tar*"))
    elif "*" in str(path):
        root = Path(path.anchor) if path.is_absolute() else Path()
        files = sorted(root.glob(str(path.relative_to(path.anchor)) if path.is_absolute() else str(path)))
    else:
        files = [Path(name) for name in _expanded(str(path))]
    for file in files:
        if not file.is_file():
            raise BadInput(f"There is no data file {file}.")
        with file.open("rb") as opened:
            begins = opened.read(6)
        if file.name.endswith(COMPRESSED) or begins.startswith(MAGIC):
            raise BadInput(
                f"{file} is compressed, and a sample in it cannot be found by its place: unpack it to a .tar."
            )
    if not files:
        raise BadInput(f"There is no data file {path}.")
    return files


def shard_rows(path: str | Path) -> Iterator[dict[str, Any] | Rejected]:
    """The samples of all shards in order, as rows of LLaVA's format."""
    for file in shard_files(path):
        yield from _rows(file)


def _rows(path: Path) -> Iterator[dict[str, Any] | Rejected]:
    """One shard's samples, up to where it is damaged."""
    sample: _Sample | None = None
    for member, data in _members(path):
        key, ending = _split(member.id if isinstance(member, Rejected) else member.name)
        if sample is not None and sample.key != key:
            yield _row(sample)
            sample = None
        if isinstance(member, Rejected):
            yield member
            return
        sample = sample or _Sample(key)
        if ending.rpartition(".")[2].lower() in PICTURES:
            sample.pictures.append(f"{path.absolute()}#{member.offset_data}+{member.size}")
        else:
            sample.words[ending.lower()] = data
    if sample is not None:
        yield _row(sample)


def _split(name: str) -> tuple[str, str]:
    """The name of the sample, and what a member is to it."""
    path = PurePosixPath(name)
    key, _, ending = path.name.partition(".")
    return str(path.parent / key), ending


def _members(path: Path) -> Iterator[tuple[tarfile.TarInfo | Rejected, bytes]]:
    """The files of a tar with the bytes of those that are words; at last, whether it is damaged."""
    bytes_in_all = path.stat().st_size
    last = "its beginning"
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.isfile() or PurePosixPath(member.name).name.startswith("."):
                    continue
                if member.offset_data + member.size > bytes_in_all:
                    yield Rejected(member.name, "truncated shard", f"{path} ends inside {member.name}"), b""
                    return
                is_picture = member.name.rpartition(".")[2].lower() in PICTURES
                opened = None if is_picture else tar.extractfile(member)
                yield member, opened.read() if opened is not None else b""
                last = member.name
            at = tar.offset  # a tar ends in blocks of zeros; after a header that is none, tarfile stops without a word
    except (tarfile.TarError, OSError) as error:
        yield Rejected(path.name, "damaged shard", f"{path} cannot be read after {last}: {error}"), b""
        return
    with path.open("rb") as file:
        file.seek(at)
        ends = file.read(tarfile.BLOCKSIZE)
    if not ends or any(ends):
        yield Rejected(path.name, "damaged shard", f"{path} is not a tar any more after {last}"), b""


def _row(sample: _Sample) -> dict[str, Any] | Rejected:
    shown: dict[str, Any] = {"image": sample.pictures} if sample.pictures else {}
    if "json" in sample.words:
        held = json_row(sample.words["json"], sample.key, f"{sample.key}.json")
        if isinstance(held, Rejected):
            return held
        turns = as_list(held)
        row: dict[str, Any] = {"conversations": turns} if turns is not None else (as_object(held) or {})
        return {"id": sample.key, **row, **shown}
    if "txt" in sample.words and sample.pictures:
        try:
            caption = sample.words["txt"].decode().strip()
        except UnicodeDecodeError as error:
            return Rejected(sample.key, "not text", f"{sample.key}.txt: {error}")
        asked = {"from": "human", "value": "<image>" * len(sample.pictures)}
        return {"id": sample.key, **shown, "conversations": [asked, {"from": "gpt", "value": caption}]}
    missing = "words" if sample.pictures else "picture"
    return Rejected(sample.key, f"no {missing} in the sample", "a sample is a picture with KEY.json or KEY.txt")


def _expanded(name: str) -> Iterator[str]:
    """`a-{08..11}.tar` -> a-08.tar, a-09.tar, a-10.tar, a-11.tar"""
    found = _RANGE.search(name)
    if found is None:
        yield name
        return
    first, last = found.groups()
    for number in range(int(first), int(last) + 1):
        yield from _expanded(f"{name[: found.start()]}{number:0{len(first)}}{name[found.end() :]}")
