"""Conversation files in other people's formats, both ways, as JSON, JSONL or Parquet; read from tar shards too.

    llava      {"id", "image": name or names, "conversations": [{"from": "human" | "gpt", "value"}]}
    sharegpt   {"id", "images": [names], "system", "conversations": [{"from", "value"}]}
    openai     {"id", "messages": [{"role", "content": text or [{"type": "text" | "image_url", …}]}]}

A row goes through `Conversation`. What else a row holds beside its turns is carried along. A row that the target
cannot say (it would read back differently, or a turn holds more than words and pictures) is a `Rejected`: nothing is
changed in silence. A key whose value is null says nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seetell.config import nearest
from seetell.errors import BadInput, UsageError
from seetell.files import as_list, as_object, json_text, write_atomic, writing
from seetell.sources.conversations import (
    TAG,
    Problem,
    check_order,
    check_tags,
    conversation_row,
    id_of,
    json_rows,
    local_name,
    read_row,
)
from seetell.sources.parquet import parquet_rows, write_parquet
from seetell.sources.pictures import suffix_of
from seetell.sources.shards import is_shards, shard_rows
from seetell.types import Conversation, Image, Rejected, Role, Turn

SPEAKERS: dict[str, str] = {"user": "human", "assistant": "gpt", "chatgpt": "gpt", "bard": "gpt", "bing": "gpt"}
OWN_KEYS = ("image", "images", "conversations", "messages")
ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
ENDINGS = (".json", ".jsonl", ".parquet")
UNSAYABLE = "the format cannot say it"


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


def read_any(path: Path, images_dir: Path | str = "") -> Iterator[Row | Rejected]:
    """Every row of a file in any of the formats, by what the row itself looks like."""
    number = -1
    for number, value in enumerate(_values(path)):
        if isinstance(value, Rejected):
            yield value
            continue
        row = as_object(value) or {}
        openai = "messages" in row
        result = (_from_openai if openai else _from_llava)(row, number, Path(images_dir), path.name)
        if isinstance(result, Rejected):
            yield result
            continue
        own = OWN_KEYS if openai or not _system(row) else (*OWN_KEYS, "system")
        own = own if not isinstance(row.get("id"), str) else (*own, "id")
        extra = {key: value for key, value in row.items() if key not in own}
        unsaid = next(_beside_openai(row) if openai else _beside_llava(row), "")
        yield Row(_joined(result), extra, "id" in row, unsaid)
    if number < 0:
        raise BadInput(f"{path} is empty: it holds no row.")


def _values(path: Path) -> Iterator[Any]:
    """Whatever the rows of a file are; of tar shards also what is no row."""
    if is_shards(path):
        return shard_rows(path)
    return parquet_rows(path) if path.suffix == ".parquet" else json_rows(path)


def write_any(path: Path, rows: Iterable[Row], to: str, images_dir: Path | str = "") -> Iterator[Rejected]:
    """Writes the rows in the format `to`, as the file's ending says; yields those that it cannot say."""
    if to not in WRITERS:
        raise UsageError(f"There is no format {to!r}; {nearest(to, WRITERS)}")
    if path.suffix not in ENDINGS:
        raise UsageError(f"The ending of {path} says no kind of file: use {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")
    refused: list[Rejected] = []

    def said() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(rows):
            made = _written(row, number, to, Path(images_dir))
            if isinstance(made, Rejected):
                refused.append(made)
            elif path.suffix == ".parquet" and not _is_unicode(made):
                refused.append(Rejected(row.conversation.id, UNSAYABLE, "Parquet cannot hold half a surrogate pair"))
            else:
                yield made

    _write(path, said(), to)
    yield from refused


def spells_tag(conversation: Conversation) -> bool:
    """Whether the words hold the tag that stands for a picture in LLaVA's files."""
    return any(TAG in turn.text for turn in conversation.turns)


# ------------------------------------------------------------------------------------------ reading


def _from_llava(row: dict[str, Any], number: int, images_dir: Path, source: str) -> Conversation | Rejected:
    """LLaVA's and ShareGPT's rows, whose speakers go by several names; a tag without a picture is a fault here."""
    row = dict(row)
    row["image"] = row.get("images") if row.get("image") in (None, []) else row["image"]
    turns = as_list(row.get("conversations"))
    if turns is not None:
        first = [{"from": "system", "value": _system(row)}] if _system(row) else []
        row["conversations"] = [*first, *map(_renamed, turns)]
    result = read_row(row, number, images_dir, source)
    if isinstance(result, Conversation) and not result.images:
        try:
            check_tags(sum(turn.text.count(TAG) for turn in result.turns if turn.role == "user"), 0)
        except Problem as problem:
            return problem.of(result.id, row)
    return result


def _system(row: dict[str, Any]) -> str:
    """The text that ShareGPT's rows may have beside their turns, and that is spoken first."""
    value = row.get("system")
    return value if isinstance(value, str) else ""


def _renamed(value: Any) -> Any:
    turn = as_object(value)
    return value if turn is None else {**turn, "from": SPEAKERS.get(str(turn.get("from")), turn.get("from"))}


def _from_openai(row: dict[str, Any], number: int, images_dir: Path, source: str) -> Conversation | Rejected:
    id = id_of(row, number)
    try:
        messages = as_list(row.get("messages"))
        if not messages:
            raise Problem("no conversation", "'messages' is empty or not a list")
        turns = tuple(_turn(at, message, images_dir) for at, message in enumerate(messages))
        check_order([turn.role for turn in turns])
    except Problem as problem:
        return problem.of(id, row)
    return Conversation(id, turns, source)


def _turn(at: int, value: Any, images_dir: Path) -> Turn:
    message = as_object(value) or {}
    role, content = ROLES.get(str(message.get("role"))), message.get("content")
    if role is None:
        raise Problem("unknown speaker", f"turn {at} is from {message.get('role')!r}")
    if isinstance(content, str):
        return Turn(role, (content,))
    parts = as_list(content)
    if not parts:
        raise Problem("turn without text", f"turn {at} has neither text nor a list of parts under 'content'")
    return Turn(role, tuple(_part(at, part, images_dir) for part in parts))


def _part(at: int, value: Any, images_dir: Path) -> str | Image:
    part = as_object(value) or {}
    text, address = part.get("text"), (as_object(part.get("image_url")) or {}).get("url")
    if part.get("type") == "text" and isinstance(text, str):
        return text
    if part.get("type") == "image_url" and isinstance(address, str) and address:
        return _image(address, images_dir)
    raise Problem("turn without text", f"turn {at} has a part that is neither a text nor a picture with its 'url'")


def _image(address: str, images_dir: Path) -> Image:
    """A name, or a picture inside the row."""
    if not address.startswith("data:"):
        return Image(str(images_dir / local_name(address)))
    try:
        return Image(data=base64.b64decode(address.partition("base64,")[2], validate=True))
    except ValueError:
        raise Problem("broken image", "a picture inside the row is not base64") from None


def _beside_llava(row: dict[str, Any]) -> Iterator[str]:
    """What would be lost of a row, in words."""
    if row.get("image") and row.get("images"):
        yield "the row also holds 'images'"
    for at, turn in enumerate(as_list(row.get("conversations")) or ()):
        yield from _beside(f"turn {at}", turn, ("from", "value"))


def _beside_openai(row: dict[str, Any]) -> Iterator[str]:
    yield from (f"the row also holds {key!r}" for key in (*OWN_KEYS, "system") if key != "messages" and row.get(key))
    for at, message in enumerate(as_list(row.get("messages")) or ()):
        yield from _beside(f"turn {at}", message, ("role", "content"))
        for value in as_list((as_object(message) or {}).get("content")) or ():
            part = as_object(value) or {}
            yield from _beside(f"a part of turn {at}", part, ("type", str(part.get("type"))))
            yield from _beside(f"a picture of turn {at}", part.get("image_url"), ("url",))


def _beside(where: str, value: Any, known: Sequence[str]) -> Iterator[str]:
    for key, held in (as_object(value) or {}).items():
        if held is not None and key not in known:
            yield f"{where} also holds {key!r}"


def _joined(conversation: Conversation) -> Conversation:
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


def _with_files(conversation: Conversation, images_dir: Path) -> Conversation:
    """Pictures that came inside a row get files, named by their content."""
    if all(image.data is None for image in conversation.images):
        return conversation

    def filed(part: str | Image) -> str | Image:
        if isinstance(part, str) or part.data is None:
            return part
        path = images_dir / (hashlib.sha256(part.data).hexdigest()[:16] + suffix_of(part.data))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, part.data)
        return Image(str(path))

    turns = (replace(turn, parts=tuple(map(filed, turn.parts))) for turn in conversation.turns)
    return replace(conversation, turns=tuple(turns))


# ------------------------------------------------------------------------------------------ writing


def _written(row: Row, number: int, to: str, images_dir: Path) -> dict[str, Any] | Rejected:
    id = row.conversation.id
    if row.unsaid:
        return Rejected(id, "unknown keys", row.unsaid)
    conversation = _with_files(row.conversation, images_dir)
    try:
        made = WRITERS[to](conversation, images_dir)
        json_text(row.extra)
    except BadInput as error:
        return Rejected(id, UNSAYABLE, str(error))
    except (TypeError, ValueError) as error:
        return Rejected(id, UNSAYABLE, f"what the row holds beside its turns is no JSON: {error}")
    read = _from_openai if to == "openai" else _from_llava
    if read(made, number, images_dir, conversation.source) != _joined(conversation):
        return Rejected(id, UNSAYABLE, f"written as {to} it would read back differently")
    if not row.named:
        del made["id"]
    return made | row.extra


def _is_unicode(row: dict[str, Any]) -> bool:
    try:
        return bool(json.dumps(row, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return False


def _to_sharegpt(conversation: Conversation, images_dir: Path) -> dict[str, Any]:
    row = conversation_row(conversation, images_dir)
    names = row.pop("image", [])
    return {**row, "images": [names] if isinstance(names, str) else names}


def _to_openai(conversation: Conversation, images_dir: Path) -> dict[str, Any]:
    names = conversation_row(replace(conversation, turns=_bare(conversation)), images_dir).get("image", [])
    waiting = iter([names] if isinstance(names, str) else names)
    messages = [{"role": turn.role, "content": _content(turn, waiting)} for turn in conversation.turns]
    return {"id": conversation.id, "messages": messages}


def _bare(conversation: Conversation) -> tuple[Turn, ...]:
    """The turns without words, which may spell the tag: only the pictures' names are wanted."""
    return tuple(replace(turn, parts=turn.images or ("",)) for turn in conversation.turns)


def _content(turn: Turn, names: Iterator[str]) -> str | list[dict[str, Any]]:
    if not turn.images:
        return turn.text
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": next(names)}}
        for part in turn.parts
    ]


WRITERS: dict[str, Callable[[Conversation, Path], dict[str, Any]]] = {
    "llava": conversation_row,
    "sharegpt": _to_sharegpt,
    "openai": _to_openai,
}


def _write(path: Path, rows: Iterator[dict[str, Any]], to: str) -> None:
    with writing(path) as file:
        if path.suffix == ".parquet":
            write_parquet(file, rows, to)
            return
        listed = path.suffix != ".jsonl"
        file.write(b"[" if listed else b"")
        for number, row in enumerate(rows):
            opening = ("," if number else "") + "\n" if listed else ""
            file.write(f"{opening}{json_text(row)}{'' if listed else chr(10)}".encode())
        file.write(b"\n]\n" if listed else b"")
