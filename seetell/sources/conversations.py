"""Conversation files of every dialect, read row by row, and LLaVA's JSON list, written.

What a row looks like is known in `dialects.py`, how a file holds rows in `rows.py`. A row that is not as it should be
becomes a `Rejected`; only a file that cannot be read at all is an error. Training, planning, showing and the verbs of
`seetell data` read by these two functions, so what one of them takes, all take.

Source: the format of Liu et al. 2023 (arXiv:2304.08485) as the released data sets have it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from seetell.errors import BadInput
from seetell.files import is_there, json_text, write_atomic, writing
from seetell.pictures import content_key, suffix_of
from seetell.sources.dialects import TAG, Row, read_row
from seetell.sources.parquet import ENDING as PARQUET
from seetell.sources.rows import file_rows
from seetell.sources.shards import is_shards
from seetell.types import Conversation, Image, Rejected, Role, Scene, Turn

IMAGES = "images"
DATA_ENDINGS = (".json", ".jsonl", PARQUET)
SPEAKERS: dict[Role, str] = {"system": "system", "user": "human", "assistant": "gpt"}


def is_data(path: str | Path) -> bool:
    """Whether the path names a data file or tar shards, by its ending or by what is there."""
    return str(path).endswith(DATA_ENDINGS) or is_shards(path)


def read_rows(path: str | Path, images_dir: str | Path = "", format: str = "auto") -> Iterator[Row | Rejected]:
    """Every row of the file in order; no picture is opened.

    Names of pictures are taken from `images_dir`; one that is not there, from `images/` in it, if it is there.
    `format` is `json` (a list), `jsonl`, or `auto`: whatever the file is. A file without a row is an error.
    """
    path = Path(path)
    return _read(file_rows(path, format), Path(images_dir), path)


def _read(values: Iterator[Any], images_dir: Path, path: Path) -> Iterator[Row | Rejected]:
    number, inner = -1, images_dir / IMAGES
    has_inner = inner.is_dir()  # or a data set on a slow disk would pay for looking at each picture
    for number, value in enumerate(values):
        row = read_row(value, number, images_dir, path.name)
        if has_inner and isinstance(row, Row):
            row = replace(row, conversation=_with_inner_pictures(row.conversation, images_dir, inner))
        yield row
    if number < 0:
        raise BadInput(f"{path} is empty: it holds no row.")


def _with_inner_pictures(conversation: Conversation, folder: Path, inner: Path) -> Conversation:
    """The same, pictures that are not in `folder` but in `inner` taken from there."""

    def placed(part: str | Image) -> str | Image:
        if isinstance(part, str) or not part.path or part.data is not None:
            return part
        path = Path(part.path)
        if not path.is_relative_to(folder) or is_there(path):
            return part
        within = inner / path.relative_to(folder)
        return replace(part, path=str(within)) if is_there(within) else part

    turns = (replace(turn, parts=tuple(map(placed, turn.parts))) for turn in conversation.turns)
    return replace(conversation, turns=tuple(turns))


def where_looked(folder: Path) -> str:
    """What to do about pictures that were not found."""
    return f"Pictures were looked for in {folder} and {folder / IMAGES}: if they lie elsewhere, add --images FOLDER."


def read_conversations(
    path: str | Path, images_dir: str | Path = "", format: str = "auto"
) -> Iterator[Conversation | Rejected]:
    """The same without what the rows hold besides."""
    rows = read_rows(path, images_dir, format)
    return (row if isinstance(row, Rejected) else row.conversation for row in rows)


def write_conversations(path: str | Path, conversations: Iterable[Conversation], images_dir: str | Path = "") -> None:
    """Writes LLaVA's JSON list, a row a line and one row in memory at a time.

    Pictures under `images_dir` are named from there, others by their whole path; one that has no file yet is
    written into `images_dir`.
    """
    with writing(path) as file:
        file.write(b"[")
        for number, conversation in enumerate(conversations):
            row = json_text(conversation_row(with_files(conversation, Path(images_dir)), images_dir))
            file.write(f"{',' if number else ''}\n{row}".encode())
        file.write(b"\n]\n")


def captions_as_pairs(scenes: Iterable[Scene], seed: int = 0) -> Iterator[Conversation]:
    """Stage-1 rows: a user turn that is only a picture, and one of its captions, drawn by `seed`, as the answer.

    The released sets put a request to describe the picture beside it; the `plain` template drops it, so it is
    not written here. A scene without a picture or a caption makes no pair.
    """
    for scene in scenes:
        if scene.image is not None and scene.captions:
            caption = random.Random(f"{seed}:{scene.id}").choice(scene.captions)
            turns = (Turn("user", (scene.image,)), Turn("assistant", (caption.strip(),)))
            yield Conversation(scene.id, turns, source="captions")


def conversation_row(conversation: Conversation, images_dir: str | Path = "") -> dict[str, Any]:
    """The row of LLaVA's format; every picture has a file."""
    if conversation.images and any(TAG in turn.text for turn in conversation.turns):
        raise BadInput(f"Conversation {conversation.id} has pictures, so its words cannot spell {TAG}.")
    names = [_name(image, Path(images_dir)) for image in conversation.images]
    turns = [{"from": SPEAKERS[turn.role], "value": _value(turn)} for turn in conversation.turns]
    image: dict[str, Any] = {"image": names[0] if len(names) == 1 else names} if names else {}
    return {"id": conversation.id, **image, "conversations": turns}


def _value(turn: Turn) -> str:
    """A turn's words with tags for its pictures; a newline separates the two."""
    text = ""
    for at, part in enumerate(turn.parts):
        beside = at > 0 and not (isinstance(part, str) and isinstance(turn.parts[at - 1], str))
        text += ("\n" if beside else "") + (part if isinstance(part, str) else TAG)
    return text


def _name(image: Image, images_dir: Path) -> str:
    """The picture's name from `images_dir`."""
    path = Path(image.path)
    return path.relative_to(images_dir).as_posix() if path.is_relative_to(images_dir) else str(path.absolute())


def with_files(conversation: Conversation, images_dir: Path) -> Conversation:
    """The same with a file for every picture that came without one, named by its content."""
    if all(image.data is None for image in conversation.images):
        return conversation

    def filed(part: str | Image) -> str | Image:
        if isinstance(part, str) or part.data is None:
            return part
        path = images_dir / (content_key(part.data)[:16] + suffix_of(part.data))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, part.data)
        return Image(str(path))

    turns = (replace(turn, parts=tuple(map(filed, turn.parts))) for turn in conversation.turns)
    return replace(conversation, turns=tuple(turns))
