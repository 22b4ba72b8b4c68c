"""A row of any dialect to a `Conversation`: the one reader of training, planning, showing and checking.

    llava      {"id", "image": name or names, "conversations": [{"from": "human" | "gpt", "value"}]}
    sharegpt   {"id", "images": [names], "system", "conversations": [{"from", "value"}]}
    openai     {"id", "messages": [{"role", "content": text or [{"type": "text" | "image_url", …}]}]}
    trl        {"messages": [{"role", "content": [{"type": "image"}, {"type": "text", "text"}]}], "images": […]}

Pictures stand under any of `PICTURE_KEYS`: names, addresses that hold the picture (`data:`), or, as in Parquet of the
hub, objects with `bytes` or `path`. In a user's turn the tag `<image>`, or a part of type `image` that names nothing,
is the place of the row's next picture; the newline that separated a tag from the words goes. Each place has its
picture and each picture its place, else the row is rejected: LLaVA's own data holds rows with tag and picture and
rows with neither, and a tag that is read as text teaches the model to see nothing. In a row without pictures the
tag is plain text in what the system or the assistant says.

Sources: the formats of Liu et al. 2023 (arXiv:2304.08485), ShareGPT, OpenAI's chat completions, TRL's vision data.
"""

from __future__ import annotations

import base64
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seetell.files import as_list, as_object
from seetell.sources.faults import Problem
from seetell.text import shortened
from seetell.types import Conversation, Image, Rejected, Role, Turn

TAG = "<image>"
PICTURE_KEYS = (
    "image", "images", "image_path", "image_paths", "image_file", "image_files", "image_url", "image_urls",
    "img", "imgs", "img_path",
)  # fmt: skip
TURN_KEYS = ("messages", "conversations")
OWN_KEYS = (*TURN_KEYS, *PICTURE_KEYS)
SPEAKERS: dict[str, Role] = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
    "chatgpt": "assistant", "bard": "assistant", "bing": "assistant",
}  # fmt: skip
LONGEST_PATH, LONGEST_NAME = 4096, 255  # in bytes, of a path and of each name in it: Linux opens no longer ones
DIFFER, OUTSIDE = "image tags and images differ", "picture outside a question"


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation, and what its row holds besides.

    An id that is no text is in `extra` as it was; a row without one is not `named`. `unsaid` is what neither a
    conversation nor `extra` can carry, in words.
    """

    conversation: Conversation
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    named: bool = True
    unsaid: str = ""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the row's next picture stands; a tag's separating newlines go. `index` is the picture that a part names."""

    is_tag: bool = False
    index: int | None = None


_Part = str | Image | _Place


def read_row(value: Any, number: int, images_dir: Path, source: str) -> Row | Rejected:
    """The conversation in a row, or why there is none."""
    if isinstance(value, Rejected):
        return value
    row = as_object(value) or {}
    id = id_of(row, number)
    try:
        _check_unicode("the id", id)
        turn_key = next((key for key in TURN_KEYS if row.get(key) is not None), "")
        picture_key = next((key for key in PICTURE_KEYS if row.get(key) not in (None, [])), "")
        pictures = _pictures(picture_key, row.get(picture_key), images_dir)
        spoken = [*_system(row), *_spoken(row.get(turn_key), images_dir)]
        turns = _placed(spoken, pictures)
        _check_said(turns)
    except Problem as problem:
        return problem.of(id if not _is_broken(id) else f"row {number}", value)
    own = {*OWN_KEYS, *(["system"] if _system(row) else []), *(["id"] if isinstance(row.get("id"), str) else [])}
    extra = {key: value for key, value in row.items() if key not in own}
    unsaid = next(_unsaid(row, turn_key, picture_key), "")
    return Row(joined(Conversation(id, turns, source)), extra, "id" in row, unsaid)


def id_of(row: Mapping[str, Any], number: int) -> str:
    """The row's id, or its place in the file."""
    id = row.get("id")
    if id is None:
        return f"row {number}"
    return str(id) if isinstance(id, (str, int, float)) else reprlib.repr(id)


def joined(conversation: Conversation) -> Conversation:
    """Texts that stand side by side are one, and empty ones beside pictures are none."""
    turns: list[Turn] = []
    for turn in conversation.turns:
        parts: list[str | Image] = []
        for part in turn.parts:
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] += part
            elif part != "":
                parts.append(part)
        turns.append(replace(turn, parts=tuple(parts) or ("",)))
    return replace(conversation, turns=tuple(turns))


# ----------------------------------------------------------------------------------------- pictures


def _pictures(key: str, value: Any, images_dir: Path) -> list[Image]:
    """The pictures under one of the row's keys, unopened."""
    if not key:
        return []
    listed = as_list(value)
    return [_picture(key, each, images_dir) for each in ([value] if listed is None else listed)]


def _picture(key: str, value: Any, images_dir: Path) -> Image:
    held = as_object(value) or {}
    if isinstance(held.get("bytes"), bytes):
        value = held["bytes"]
    elif held:
        value = held.get("path") or held.get("url")
    if isinstance(value, bytes):
        return Image(data=value)
    if not isinstance(value, str) or not value:
        what = reprlib.repr(held or value)
        raise Problem("bad image name", f"{key!r} must be a name, a list of names, or pictures in Parquet, not {what}")
    return Image(data=_from_base64(value)) if value.startswith("data:") else Image(str(images_dir / _file_name(value)))


def _file_name(address: str) -> str:
    """The name or path of a picture's file: nothing is fetched from anywhere."""
    scheme, sign, path = address.partition("://")
    if sign and scheme != "file":
        raise Problem("picture on the web", f"pictures on the web are not fetched: {shortened(address)}")
    name = path if sign else address
    if "\0" in name:
        raise Problem("bad image name", f"a file's name cannot hold a null character: {shortened(name)!r}")
    _check_unicode("the name of a picture", name)
    bytes_each = [len(part) for part in name.encode().split(b"/")]
    if max(bytes_each) > LONGEST_NAME or sum(bytes_each) + len(bytes_each) > LONGEST_PATH:
        hint = "a picture in base64 begins with 'data:image/png;base64,'"
        raise Problem("bad image name", f"too long for the name of a file: {reprlib.repr(name)}; {hint}")
    return name


def _from_base64(address: str) -> bytes:
    _, sign, text = address.partition("base64,")
    try:
        return base64.b64decode("".join(text.split()) if sign else "?", validate=True)
    except ValueError:
        raise Problem("bad image name", f"a picture inside the row is not base64: {reprlib.repr(address)}") from None


# -------------------------------------------------------------------------------------------- turns


def _system(row: Mapping[str, Any]) -> list[tuple[Role, list[_Part]]]:
    """The text that ShareGPT's rows may have beside their turns, and that is spoken first."""
    value = row.get("system")
    return [("system", [value])] if isinstance(value, str) and value else []


def _spoken(value: Any, images_dir: Path) -> list[tuple[Role, list[_Part]]]:
    """Who said what."""
    entries = as_list(value)
    if not entries:
        keys = " or ".join(map(repr, TURN_KEYS))
        raise Problem("no conversation", f"the row is no object, or its {keys} is missing, empty or not a list")
    return [_entry(at, entry, images_dir) for at, entry in enumerate(entries)]


def _entry(at: int, value: Any, images_dir: Path) -> tuple[Role, list[_Part]]:
    entry = as_object(value) or {}
    speaker, content = (entry.get(key) for key in _entry_keys(entry))
    role = SPEAKERS.get(speaker) if isinstance(speaker, str) else None
    parts = as_list(content)
    if not parts and not isinstance(content, str):
        raise Problem("turn without text", f"turn {at} has neither a text nor a list of parts as its words")
    if role is None:
        known = ", ".join(SPEAKERS)
        raise Problem("unknown speaker", f"turn {at} is from {reprlib.repr(speaker)}, which is none of {known}")
    read: list[_Part] = [content] if isinstance(content, str) else [_part(at, part, images_dir) for part in parts or ()]
    return role, read if role != "user" else [piece for part in read for piece in _cut_at_tags(part)]


def _entry_keys(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Under which keys a turn says who speaks, and what."""
    return ("from" if "from" in entry else "role"), ("value" if "value" in entry else "content")


def _part(at: int, value: Any, images_dir: Path) -> _Part:
    """A text, a picture, or the place of one of the row's pictures."""
    part = as_object(value) or {}
    kind, text = part.get("type"), part.get("text")
    if kind == "text" and isinstance(text, str):
        return text
    if kind in ("image", "image_url"):
        source = next((part[key] for key in ("image_url", "image", "url", "path") if part.get(key) is not None), None)
        if source is not None:
            return _picture(str(kind), source, images_dir)
        if kind == "image":
            index = part.get("index")
            return _Place(index=index if isinstance(index, int) else None)
    raise Problem("turn without text", f"turn {at} has a part that is neither a text nor a picture")


def _cut_at_tags(part: _Part) -> Iterator[_Part]:
    if not isinstance(part, str):
        yield part
        return
    for at, piece in enumerate(part.split(TAG)):
        if at:
            yield _Place(is_tag=True)
        yield piece


def _placed(spoken: Sequence[tuple[Role, Sequence[_Part]]], pictures: Sequence[Image]) -> tuple[Turn, ...]:
    """The turns with the row's pictures in their places, in order."""
    _check_order([role for role, _ in spoken])
    _check_places(spoken, pictures)
    waiting = iter(pictures)
    return tuple(Turn(role, tuple(_filled(parts, waiting))) for role, parts in spoken)


def _filled(parts: Sequence[_Part], waiting: Iterator[Image]) -> Iterator[str | Image]:
    """One newline beside a tag separates, and goes."""
    for at, part in enumerate(parts):
        if isinstance(part, _Place):
            yield next(waiting)
        elif isinstance(part, Image):
            yield part
        else:
            after = parts[at - 1] if at else ""
            before = parts[at + 1] if at + 1 < len(parts) else ""
            text = part.removeprefix("\n") if isinstance(after, _Place) and after.is_tag else part
            yield text.removesuffix("\n") if isinstance(before, _Place) and before.is_tag else text


# ------------------------------------------------------------------------------------------- checks


def _check_order(roles: Sequence[Role]) -> None:
    """A system text may come first; then user and assistant speak by turns."""
    spoken = [role for role in roles if role != "system"]
    if "system" in roles[1:] or not spoken:
        raise Problem("speakers out of order", "a system text may only come first, before someone speaks")
    if spoken != [("user", "assistant")[at % 2] for at in range(len(spoken))]:
        raise Problem("speakers out of order", "user and assistant must speak by turns, the user first")


def _check_places(spoken: Sequence[tuple[Role, Sequence[_Part]]], pictures: Sequence[Image]) -> None:
    """Every place has its picture and every picture its place, in what the user says."""
    others = [part for role, parts in spoken if role != "user" for part in parts]
    asked = [part for role, parts in spoken if role == "user" for part in parts]
    if not all(isinstance(part, str) for part in others):
        raise Problem(OUTSIDE, "only a user's turn may show a picture")
    shows = bool(pictures) or any(isinstance(part, Image) for part in asked)
    if shows and any(TAG in part for part in others if isinstance(part, str)):
        raise Problem(OUTSIDE, f"only a user's turn may hold {TAG}")
    places = [part for part in asked if isinstance(part, _Place)]
    if len(places) != len(pictures):
        stand, images = "tag stands" if len(places) == 1 else "tags stand", "image" if len(pictures) == 1 else "images"
        where = "" if pictures else f"; a row's pictures are looked for under {', '.join(PICTURE_KEYS)}"
        raise Problem(DIFFER, f"{len(places)} {TAG} {stand} for {len(pictures)} {images}{where}")
    if any(place.index not in (None, at) for at, place in enumerate(places)):
        raise Problem(DIFFER, f"the parts name the pictures {[place.index for place in places]}, which is not in order")


def _check_said(turns: Sequence[Turn]) -> None:
    """Everyone says something that can be written down, and someone answers."""
    for at, turn in enumerate(turns):
        _check_unicode(f"turn {at}", turn.text)
        if turn.role != "system" and not turn.text.strip() and not turn.images:
            raise Problem("empty turn", f"turn {at}, from {turn.role}")
    if not any(turn.role == "assistant" for turn in turns):
        raise Problem("no answer", "no turn answers the question")


def _check_unicode(what: str, text: str) -> None:
    if _is_broken(text):
        raise Problem("not Unicode", f"{what} holds half a surrogate pair, which no encoding can write")


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


# ------------------------------------------------------------------------------- what would be lost


def _unsaid(row: Mapping[str, Any], turn_key: str, picture_key: str) -> Iterator[str]:
    """What would be lost of a row, in words."""
    for key in OWN_KEYS:
        if key not in (turn_key, picture_key) and row.get(key) not in (None, [], ""):
            yield f"the row also holds {key!r}"
    for at, value in enumerate(as_list(row.get(turn_key)) or ()):
        entry = as_object(value) or {}
        yield from _beside(f"turn {at}", entry, _entry_keys(entry))
        content = entry.get(_entry_keys(entry)[1])
        for each in as_list(content) or ():
            part = as_object(each) or {}
            known = ("text",) if part.get("type") == "text" else ("image_url", "image", "url", "path", "index")
            yield from _beside(f"a part of turn {at}", part, ("type", *known))
            for key in known:
                yield from _beside(f"a picture of turn {at}", part.get(key), ("url", "path", "bytes"))


def _beside(where: str, value: Any, known: Sequence[str]) -> Iterator[str]:
    for key, held in (as_object(value) or {}).items():
        if held is not None and key not in known:
            yield f"{where} also holds {shortened(key)!r}"
