"""Conversation files in other people's formats, written as JSON, JSONL or Parquet (`dialects.py` reads them).

A row goes through `Conversation`. What else a row holds beside its turns is carried along. A row that the target
cannot say (it would read back differently, or a turn holds more than words and pictures) is a `Rejected`: nothing is
changed in silence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from seetell.config import nearest
from seetell.errors import BadInput, UsageError
from seetell.files import json_text, writing
from seetell.sources.conversations import DATA_ENDINGS, conversation_row, with_files
from seetell.sources.dialects import Row, joined, read_row
from seetell.sources.parquet import write_parquet
from seetell.types import Conversation, Rejected, Turn

UNSAYABLE = "the format cannot say it"


def write_any(path: Path, rows: Iterable[Row], to: str, images_dir: Path | str = "") -> Iterator[Rejected]:
    """Writes the rows in the format `to`, as the file's ending says; yields those that it cannot say."""
    if to not in WRITERS:
        raise UsageError(f"There is no format {to!r}; {nearest(to, WRITERS)}")
    if path.suffix not in DATA_ENDINGS:
        raise UsageError(
            f"The ending of {path} says no kind of file: use {', '.join(DATA_ENDINGS[:-1])} or {DATA_ENDINGS[-1]}."
        )
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


def _written(row: Row, number: int, to: str, images_dir: Path) -> dict[str, Any] | Rejected:
    id = row.conversation.id
    if row.unsaid:
        return Rejected(id, "unknown keys", row.unsaid)
    conversation = with_files(row.conversation, images_dir)
    try:
        made = WRITERS[to](conversation, images_dir)
        json_text(row.extra)
    except BadInput as error:
        return Rejected(id, UNSAYABLE, str(error))
    except (TypeError, ValueError, RecursionError) as error:
        return Rejected(id, UNSAYABLE, f"what the row holds beside its turns is no JSON: {error}")
    read = read_row(made, number, images_dir, conversation.source)
    if isinstance(read, Rejected) or read.conversation != joined(conversation):
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
