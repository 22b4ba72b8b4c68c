"""Conversation rows as Parquet: one type a column, and what a row holds besides as JSON in the column `extra`.

Names of pictures and contents of messages are always lists there. Files written here carry a mark, for in other
people's files a column named `extra` is a column like any other.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from seetell.errors import BadInput
from seetell.extras import require
from seetell.files import as_list, as_object

ENDING = ".parquet"
ROWS_PER_GROUP = 1024
MARK = b"seetell"


def is_parquet(path: Path) -> bool:
    """By its ending, or by its first bytes."""
    if path.suffix == ENDING:
        return True
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows as they were before: what a column had to add is taken out again."""
    arrow, parquet = _arrow()
    try:
        file = parquet.ParquetFile(path)
        ours = MARK in (file.schema_arrow.metadata or {})
        for batch in file.iter_batches(ROWS_PER_GROUP):
            for row in batch.to_pylist():
                row = _without_nothing(row)
                yield json.loads(row.pop("extra", "{}")) | row if ours else row
    except (arrow.ArrowException, OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadInput(f"{path} is not a Parquet file that can be read: {str(error).partition(chr(10))[0]}") from None


def write_parquet(target: BinaryIO, rows: Iterator[dict[str, Any]], to: str) -> None:
    """Writes rows of the format `to`, a group in memory at a time."""
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
    names = [name for name, _ in columns]
    schema = arrow.schema([("id", text), *columns, ("extra", text)], metadata={MARK: b"extra is JSON"})
    with parquet.ParquetWriter(target, schema) as file:
        group: list[dict[str, Any]] = []
        for row in rows:
            group.append(_columns_of(row, names))
            if len(group) == ROWS_PER_GROUP:
                file.write_table(arrow.Table.from_pylist(group, schema))
                group = []
        file.write_table(arrow.Table.from_pylist(group, schema))


def _columns_of(row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """An id that is no text has no place in its column, and is among the rest."""
    names = (*names, "id") if isinstance(row.get("id"), str) else names
    own = {key: value for key, value in row.items() if key in names}
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
    extra = {key: value for key, value in row.items() if key not in names}
    return {**own, **({"extra": json.dumps(extra)} if extra else {})}


def _without_nothing(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nothing(each) for each in as_list(value) or ()]
    row = as_object(value)
    return value if row is None else {key: _without_nothing(each) for key, each in row.items() if each is not None}


def _arrow() -> tuple[Any, Any]:
    require("pyarrow", "data", "Parquet")
    return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
