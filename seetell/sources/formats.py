"""Conversation files in other people's formats, both ways, as JSON, JSONL or Parquet.

    llava      {"id", "image": name or names, "conversations": [{"from": "human" | "gpt", "value"}]}
    sharegpt   {"id", "images": [names], "conversations": [{"from", "value"}]}
    openai     {"id", "messages": [{"role", "content": text or [{"type": "text" | "image_url", …}]}]}

A row goes through `Conversation`. What else a row holds is carried along. A row that the target cannot say (it would
read back differently) is a `Rejected`: nothing is changed in silence.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from seetell.config import nearest
from seetell.console import BadInput, UsageError
from seetell.files import as_list, as_object, json_text, write_atomic, writing
from seetell.sources.conversations import TAG, conversation_row, json_rows, read_row
from seetell.sources.pictures import suffix_of
from seetell.types import Conversation, Image, Rejected, Role, Turn

SPEAKERS: dict[str, str] = {"user": "human", "assistant": "gpt", "chatgpt": "gpt", "bard": "gpt", "bing": "gpt"}
OWN_KEYS = ("id", "image", "images", "conversations", "messages")
ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
ROWS_PER_GROUP = 1024


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation, and what its row holds besides."""

    conversation: Conversation
    extra: dict[str, Any] = field(default_factory=dict[str, Any])


def read_any(path: Path, images_dir: Path | str = "") -> Iterator[Row | Rejected]:
    """Every row of a file in any of the formats, by what the row itself looks like."""
    for number, value in enumerate(_parquet_rows(path) if path.suffix == ".parquet" else json_rows(path)):
        row = as_object(value) or {}
        read = _from_openai if "messages" in row else _from_llava
        result = read(row, number, Path(images_dir), path.name)
        if isinstance(result, Rejected):
            yield result
        else:
            yield Row(_joined(result), {key: value for key, value in row.items() if key not in OWN_KEYS})


def write_any(path: Path, rows: Iterable[Row], to: str, images_dir: Path | str = "") -> Iterator[Rejected]:
    """Writes the rows in the format `to`, as the file's ending says; yields those that it cannot say."""
    if to not in WRITERS:
        raise UsageError(f"There is no format {to!r}; {nearest(to, WRITERS)}")
    write, read = WRITERS[to], _from_openai if to == "openai" else _from_llava
    refused: list[Rejected] = []

    def said() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(rows):
            conversation = _with_files(row.conversation, Path(images_dir))
            try:
                made = write(conversation, Path(images_dir))
            except BadInput as error:
                refused.append(Rejected(conversation.id, "the format cannot say it", str(error)))
                continue
            again = read(made, number, Path(images_dir), conversation.source)
            if again != _joined(conversation):
                detail = f"written as {to} it would read back differently"
                refused.append(Rejected(conversation.id, "the format cannot say it", detail))
                continue
            yield {**made, **row.extra}

    _write(path, said(), to)
    yield from refused


# ------------------------------------------------------------------------------------------ reading


def _from_llava(row: dict[str, Any], number: int, images_dir: Path, source: str) -> Conversation | Rejected:
    """LLaVA's and ShareGPT's rows, whose speakers go by several names."""
    row = dict(row)
    if "images" in row and "image" not in row:
        row["image"] = row.pop("images") or None
    if isinstance(row.get("image"), list) and not row["image"]:
        row["image"] = None
    turns = as_list(row.get("conversations"))
    if turns is not None:
        row["conversations"] = [_renamed(turn) for turn in turns]
    return read_row(row, number, images_dir, source)


def _renamed(value: Any) -> Any:
    turn = as_object(value)
    return value if turn is None else {**turn, "from": SPEAKERS.get(str(turn.get("from")), turn.get("from"))}


def _from_openai(row: dict[str, Any], number: int, images_dir: Path, source: str) -> Conversation | Rejected:
    id = str(row.get("id", f"row {number}"))
    turns: list[Turn] = []
    for value in as_list(row.get("messages")) or []:
        message = as_object(value) or {}
        role = ROLES.get(str(message.get("role")))
        if role is None:
            return Rejected(id, "unknown speaker", f"a message is from {message.get('role')!r}")
        parts = _parts(message.get("content"), images_dir)
        if parts is None:
            return Rejected(id, "turn without text", "a message's content is neither text nor parts of it")
        turns.append(Turn(role, parts))
    spoken = [turn.role for turn in turns if turn.role != "system"]
    if not spoken or any(turn.role == "system" for turn in turns[1:]):
        return Rejected(id, "no conversation" if not turns else "speakers out of order", "")
    if spoken != [("user", "assistant")[at % 2] for at in range(len(spoken))]:
        return Rejected(id, "speakers out of order", "user and assistant must speak by turns, user first")
    return Conversation(id, tuple(turns), source)


def _parts(content: Any, images_dir: Path) -> tuple[str | Image, ...] | None:
    if isinstance(content, str):
        return (content,)
    parts: list[str | Image] = []
    for value in as_list(content) or [None]:
        part = as_object(value) or {}
        address = (as_object(part.get("image_url")) or {}).get("url")
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            parts.append(part["text"])
        elif part.get("type") == "image_url" and isinstance(address, str) and (image := _image(address, images_dir)):
            parts.append(image)
        else:
            return None
    return tuple(parts)


def _image(address: str, images_dir: Path) -> Image | None:
    """A name, or a picture inside the row; nothing is fetched from anywhere."""
    if address.startswith("data:"):
        try:
            return Image(data=base64.b64decode(address.partition("base64,")[2], validate=True))
        except ValueError:
            return None
    if "://" in address:
        return None if not address.startswith("file://") else Image(address.removeprefix("file://"))
    return Image(str(images_dir / address))


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


def _to_llava(conversation: Conversation, images_dir: Path) -> dict[str, Any]:
    return conversation_row(conversation, images_dir)


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
    "llava": _to_llava,
    "sharegpt": _to_sharegpt,
    "openai": _to_openai,
}


def _write(path: Path, rows: Iterator[dict[str, Any]], to: str) -> None:
    with writing(path) as file:
        if path.suffix == ".parquet":
            _write_parquet(file, rows, to)
            return
        listed = path.suffix != ".jsonl"
        file.write(b"[" if listed else b"")
        for number, row in enumerate(rows):
            opening = ("," if number else "") + "\n" if listed else ""
            file.write(f"{opening}{json_text(row)}{'' if listed else chr(10)}".encode())
        file.write(b"\n]\n" if listed else b"")


# ------------------------------------------------------------------------------------------ Parquet


def _arrow() -> tuple[Any, Any]:
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError("Parquet needs pyarrow: pip install 'seetell[data]'.")
    return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows as they were before: what a column had to add is taken out again."""
    _, parquet = _arrow()
    if not path.is_file():
        raise BadInput(f"There is no data file {path}.")
    for batch in parquet.ParquetFile(path).iter_batches(ROWS_PER_GROUP):
        for row in batch.to_pylist():
            row = _without_nothing(row)
            yield json.loads(row.pop("extra", "{}")) | row


def _without_nothing(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nothing(each) for each in as_list(value) or ()]
    row = as_object(value)
    return value if row is None else {key: _without_nothing(each) for key, each in row.items() if each is not None}


def _write_parquet(target: BinaryIO, rows: Iterator[dict[str, Any]], to: str) -> None:
    """One type a column: names and contents are always lists; what a row holds besides is JSON in `extra`."""
    arrow, parquet = _arrow()
    text = arrow.string()
    spoken = arrow.list_(arrow.struct([("from", text), ("value", text)]))
    part = arrow.struct([("type", text), ("text", text), ("image_url", arrow.struct([("url", text)]))])
    messages = arrow.list_(arrow.struct([("role", text), ("content", arrow.list_(part))]))
    columns = {
        "llava": [("image", arrow.list_(text)), ("conversations", spoken)],
        "sharegpt": [("images", arrow.list_(text)), ("conversations", spoken)],
        "openai": [("messages", messages)],
    }[to]
    schema = arrow.schema([("id", text), *columns, ("extra", text)])
    with parquet.ParquetWriter(target, schema) as file:
        group: list[dict[str, Any]] = []
        for row in rows:
            group.append(_columns_of(row))
            if len(group) == ROWS_PER_GROUP:
                file.write_table(arrow.Table.from_pylist(group, schema))
                group = []
        file.write_table(arrow.Table.from_pylist(group, schema))


def _columns_of(row: dict[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = {key: value for key, value in row.items() if key in OWN_KEYS}
    if isinstance(own.get("image"), str):
        own["image"] = [own["image"]]
    if "messages" in own:
        messages: Sequence[dict[str, Any]] = own["messages"]
        own["messages"] = [
            {**message, "content": [{"type": "text", "text": message["content"]}]}
            if isinstance(message["content"], str)
            else message
            for message in messages
        ]
    extra = {key: value for key, value in row.items() if key not in OWN_KEYS}
    return {**own, **({"extra": json.dumps(extra)} if extra else {})}


def spells_tag(conversation: Conversation) -> bool:
    """Whether the words hold the tag that stands for a picture in LLaVA's files."""
    return any(TAG in turn.text for turn in conversation.turns)
