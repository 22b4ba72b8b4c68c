"""Conversation files: LLaVA's JSON list, or the same rows one a line (JSONL).

A row is `{"id", "image": name or names, "conversations": [{"from": "human" | "gpt", "value"}, …]}`. The tag
`<image>` in a human value is where a picture stands; here it becomes an `Image` among the words, in
place, and the newline that separated it from them goes. In a row without pictures the tag is plain text.
A row that is not as it should be becomes a `Rejected`; only a file that is not JSON at all is an error.

Source: the format of Liu et al. 2023 (arXiv:2304.08485) as the released data sets have it.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from seetell.errors import BadInput, DamagedFile, UsageError
from seetell.files import as_list, as_object, json_text, read_jsonl, write_atomic, writing
from seetell.sources.pictures import suffix_of
from seetell.sources.shards import is_shards, shard_rows
from seetell.types import Conversation, Image, Rejected, Role, Scene, Turn

TAG = "<image>"
SPEAKERS: dict[str, Role] = {"system": "system", "human": "user", "gpt": "assistant"}
BLOCK_CHARS = 1 << 20
MAX_RAW_CHARS = 2000
_SEPARATOR = re.compile(r"\s*([,\]])")


def read_conversations(
    path: str | Path, images_dir: str | Path = "", format: str = "auto"
) -> Iterator[Conversation | Rejected]:
    """Every row of the file in order; image names are taken from `images_dir`, and nothing is opened.

    `format` is `json` (a list), `jsonl`, or `auto`: a file that begins with `[` is a list, and tars are shards.
    """
    path = Path(path)
    if format == "auto" and is_shards(path):
        rows = enumerate(shard_rows(path))
        return (
            row if isinstance(row, Rejected) else read_row(row, number, Path(images_dir), path.name)
            for number, row in rows
        )
    if format not in ("auto", "json", "jsonl"):
        raise UsageError(f"The data format {format!r} is not known: use auto, json or jsonl.")
    if not path.is_file():
        raise BadInput(f"There is no data file {path}.")
    rows = enumerate(json_rows(path, format))
    return (read_row(row, number, Path(images_dir), path.name) for number, row in rows)


def write_conversations(path: str | Path, conversations: Iterable[Conversation], images_dir: str | Path = "") -> None:
    """Writes LLaVA's JSON list, a row a line and one row in memory at a time.

    Pictures under `images_dir` are named from there, others by their whole path; one that has no file yet is
    written into `images_dir`.
    """
    with writing(path) as file:
        file.write(b"[")
        for number, conversation in enumerate(conversations):
            row = json_text(conversation_row(conversation, images_dir))
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


def json_rows(path: Path, format: str = "auto") -> Iterator[Any]:
    """The members of a JSON list, or the lines of a JSONL file, whatever they are."""
    number = -1
    if not path.is_file():
        raise BadInput(f"There is no data file {path}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = _first_sign(file)
            if format == "auto":
                format = "json" if first == "[" else "jsonl"
            for row in _list_rows(file) if format == "json" else read_jsonl(path):
                number += 1
                yield row
    except json.JSONDecodeError as error:
        raise BadInput(f"{path} is not a whole JSON list: row {number + 1}: {error.msg}.") from None
    except (DamagedFile, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not a conversation file (a JSON list, or one JSON object a line): {error}") from None
    if number < 0 and format == "jsonl" and first:
        raise BadInput(f"{path} is not a conversation file (a JSON list, or one JSON object a line).")


def _first_sign(file: TextIO) -> str:
    """The first character that is not space; the file is wound back."""
    sign = file.read(1)
    while sign.isspace():
        sign = file.read(1)
    file.seek(0)
    return sign


def _list_rows(file: TextIO) -> Iterator[Any]:
    """The members of a JSON list, one at a time: a file of 665,000 rows never stands in memory as a whole."""
    decoder = json.JSONDecoder()
    text = file.read(BLOCK_CHARS).lstrip()
    if not text.startswith("["):
        raise json.JSONDecodeError("a list begins with [", text, 0)
    at, sign = 1, "]" if text[1:].lstrip().startswith("]") else ","
    if sign == "]":
        at = text.index("]") + 1
    while sign != "]":
        try:
            row, end = decoder.raw_decode(text, _skip_space(text, at))
            after = _SEPARATOR.match(text, end)
            if after is None:
                raise json.JSONDecodeError("neither a comma nor the closing bracket follows", text, end)
        except json.JSONDecodeError:
            more = file.read(max(BLOCK_CHARS, len(text) - at))
            if not more:
                raise
            text, at = text[at:] + more, 0
            continue
        yield row
        at, sign = after.end(), after[1]
    if text[at:].strip() or file.read(BLOCK_CHARS).strip():
        raise json.JSONDecodeError("something follows the end of the list", text, at)


def _skip_space(text: str, at: int) -> int:
    while text[at : at + 1].isspace():
        at += 1
    return at


class Problem(Exception):
    """Why a row is not a conversation: the phrase that reports count by, and the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def of(self, id: str, value: Any) -> Rejected:
        """The row as a value; what has no words in JSON, such as bytes, is named by its type."""
        raw = json.dumps(value, ensure_ascii=False, default=lambda other: f"<{type(other).__name__}>")
        return Rejected(id, self.reason, self.detail, raw[:MAX_RAW_CHARS])


def id_of(row: Mapping[str, Any], number: int) -> str:
    """The row's id, or its place in the file."""
    return f"row {number}" if row.get("id") is None else str(row["id"])


def local_name(address: str) -> str:
    """The name or path of a picture's file: nothing is fetched from anywhere."""
    scheme, sign, path = address.partition("://")
    if sign and scheme != "file":
        raise Problem("picture on the web", f"pictures on the web are not fetched: {address}")
    return path if sign else address


def check_order(roles: Sequence[Role]) -> None:
    """A system text may come first; then user and assistant speak by turns."""
    spoken = [role for role in roles if role != "system"]
    if "system" in roles[1:] or not spoken:
        raise Problem("speakers out of order", "a system text may only come first, before someone speaks")
    if spoken != [("user", "assistant")[at % 2] for at in range(len(spoken))]:
        raise Problem("speakers out of order", "user and assistant must speak by turns, the user first")


def check_tags(tags: int, images: int) -> None:
    """Every tag stands for one picture."""
    if tags != images:
        stand, pictures = "tag stands" if tags == 1 else "tags stand", "image" if images == 1 else "images"
        raise Problem("image tags and images differ", f"{tags} {TAG} {stand} for {images} {pictures}")


def read_row(value: Any, number: int, images_dir: Path, source: str) -> Conversation | Rejected:
    """The conversation in a row of LLaVA's format, or why there is none."""
    row = as_object(value) or {}
    id = id_of(row, number)
    try:
        names = _image_names(row.get("image"))
        spoken = _spoken(row.get("conversations"))
        images = [Image(str(images_dir / name)) for name in names]
        return Conversation(id, _turns(spoken, images), source=source)
    except Problem as problem:
        return problem.of(id, value)


def _image_names(value: Any) -> list[str]:
    listed = [] if value is None else as_list(value)
    names: list[Any] = [value] if listed is None else listed
    if not all(isinstance(name, str) and name for name in names):
        raise Problem("bad image name", f"'image' must be a name or a list of names, not {reprlib.repr(value)}")
    return [local_name(name) for name in names]


def _spoken(value: Any) -> list[tuple[Role, str]]:
    """Who said what; the order of speakers is checked here."""
    said: list[tuple[Role, str]] = []
    for at, entry in enumerate(as_list(value) or []):
        turn = as_object(entry) or {}
        speaker, text = turn.get("from"), turn.get("value")
        if not isinstance(text, str):
            raise Problem("turn without text", f"turn {at} has no text under 'value'")
        if speaker not in tuple(SPEAKERS):
            raise Problem("unknown speaker", f"turn {at} is from {speaker!r}, which is none of {', '.join(SPEAKERS)}")
        said.append((SPEAKERS[speaker], text))
    if not said:
        raise Problem("no conversation", "the row is no object, or its 'conversations' is missing, empty or not a list")
    check_order([role for role, _ in said])
    return said


def _turns(spoken: Sequence[tuple[Role, str]], images: Sequence[Image]) -> tuple[Turn, ...]:
    """Puts the pictures where the tags are, in order; without pictures the tag is plain text."""
    if not images:
        return tuple(Turn(role, (text,)) for role, text in spoken)
    if any(role != "user" and TAG in text for role, text in spoken):
        raise Problem("image tag outside a question", f"only a human turn may hold {TAG}")
    check_tags(sum(text.count(TAG) for _, text in spoken), len(images))
    waiting = iter(images)
    return tuple(Turn(role, _parts(text, waiting)) for role, text in spoken)


def _parts(text: str, images: Iterator[Image]) -> tuple[str | Image, ...]:
    """Words and pictures in order; one newline beside a tag separates, and goes."""
    pieces = text.split(TAG)
    parts: list[str | Image] = []
    for at, piece in enumerate(pieces):
        if at:
            parts.append(next(images))
            piece = piece.removeprefix("\n")
        if at < len(pieces) - 1:
            piece = piece.removesuffix("\n")
        if piece or len(pieces) == 1:
            parts.append(piece)
    return tuple(parts)


def conversation_row(conversation: Conversation, images_dir: str | Path = "") -> dict[str, Any]:
    """The row of LLaVA's format."""
    if conversation.images and any(TAG in turn.text for turn in conversation.turns):
        raise BadInput(f"Conversation {conversation.id} has pictures, so its words cannot spell {TAG}.")
    names = [_name(image, Path(images_dir)) for image in conversation.images]
    speakers = {role: speaker for speaker, role in SPEAKERS.items()}
    turns = [{"from": speakers[turn.role], "value": _value(turn)} for turn in conversation.turns]
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
    """The picture's name from `images_dir`; one that has no file yet is written there, named by its content."""
    if image.data is not None:
        name = hashlib.sha256(image.data).hexdigest()[:16] + suffix_of(image.data)
        if not (images_dir / name).exists():
            write_atomic(images_dir / name, image.data)
        return name
    path = Path(image.path)
    return path.relative_to(images_dir).as_posix() if path.is_relative_to(images_dir) else str(path.absolute())
