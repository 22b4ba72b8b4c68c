"""The rows of a data file as they stand in it: a JSON list, JSONL, Parquet or tar shards.

A line of a JSONL file that cannot be read, its last one too where the file was cut off, is a `Rejected` and the others
are rows; a JSON list that cannot be read is damaged as a whole. What is no such file is refused in a sentence that
names what it is: UTF-16, Windows-1252, compressed, an object with the rows inside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from seetell.errors import BadInput, DamagedFile, UsageError
from seetell.files import as_list, as_object
from seetell.sources.faults import MOST_LEVELS, is_deep, json_row, too_deep
from seetell.sources.parquet import is_parquet, parquet_rows
from seetell.sources.shards import is_shards, shard_files, shard_rows
from seetell.text import shortened, why_not_text, why_not_utf8
from seetell.types import Rejected

FORMATS = ("auto", "json", "jsonl")
BLOCK_CHARS = 1 << 20
PROBED_BYTES = 256 << 20
_SEPARATOR = re.compile(r"\s*([,\]])")


def find_rows(path: str | Path, format: str = "auto") -> None:
    """Refuses a file that is not there, and a folder that holds no rows; nothing is read."""
    path = Path(path)
    if format not in FORMATS:
        raise UsageError(f"The data format {format!r} is not known: use auto, json or jsonl.")
    if format == "auto" and is_shards(path):
        shard_files(path)
    elif path.is_dir():
        raise BadInput(f"{path} is a folder without tar shards: name the data file in it.")
    elif not path.is_file():
        raise BadInput(f"There is no data file {path}.")


def file_rows(path: str | Path, format: str = "auto") -> Iterator[Any | Rejected]:
    """Whatever the rows of a file are, in order; what is no row is a `Rejected`.

    `format` is `json` (a list), `jsonl`, or `auto`, which goes by what the file is.
    """
    path = Path(path)
    find_rows(path, format)
    if format == "auto" and is_shards(path):
        return shard_rows(path)
    if format == "auto" and is_parquet(path):
        return parquet_rows(path)
    return json_rows(path, format)


def json_rows(path: Path, format: str = "auto") -> Iterator[Any | Rejected]:
    """The members of a JSON list, or the lines of a JSONL file."""
    if why := why_not_text(path):
        raise DamagedFile(f"{path} is not a conversation file: {why}.")
    with path.open("rb") as file:
        first = _first_sign(file.read(1 << 16))
    if format == "auto":
        format = "json" if first == b"[" else "jsonl"
    if format == "json":
        return _json_list(path)
    if why := "it begins with neither" if first not in (b"{", b"") else _why_not_lines(path):
        raise DamagedFile(f"{path} is not a conversation file, a JSON list or one JSON object a line: {why}.")
    return _json_lines(path)


def _first_sign(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]


def _why_not_lines(path: Path) -> str | None:
    """What an object that fills the whole file is, where a line each was expected; None for JSONL."""
    with path.open("rb") as file:
        first_line = file.readline(PROBED_BYTES)
        is_alone = not file.read(1 << 16).strip()
        whole = as_object(_parsed_or_none(first_line)) if is_alone else None
        over_lines = not is_alone and path.stat().st_size <= PROBED_BYTES and _parsed_or_none(first_line) is None
        if over_lines:
            file.seek(0)
            whole = as_object(_parsed_or_none(file.read()))
    if whole is None:
        return None
    for key, value in whole.items():
        row = as_object(next(iter(as_list(value) or ()), None)) or {}
        if "conversations" in row or "messages" in row:
            return f"its rows stand inside an object, under {shortened(key)!r}; write that list alone"
    return "it is one object over several lines; put it into a list" if over_lines else None


def _parsed_or_none(text: bytes) -> Any:
    try:
        return json.loads(text.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return None


def _json_lines(path: Path) -> Iterator[Any | Rejected]:
    number = -1
    with path.open("rb") as file:
        for at, line in enumerate(file, start=1):
            if not line.strip():
                continue
            number += 1
            row = json_row(line.removeprefix(b"\xef\xbb\xbf") if at == 1 else line, f"row {number}", f"line {at}")
            if isinstance(row, Rejected) and row.reason == "not JSON" and not line.endswith(b"\n"):
                row = Rejected(row.id, "cut off", f"the file ends inside line {at}", row.raw)
            yield row


# -------------------------------------------------------------------------------------------- a list


def _json_list(path: Path) -> Iterator[Any | Rejected]:
    """The members of a JSON list, one at a time: a file of 665,000 rows never stands in memory as a whole."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row, nests in _members(file):
                yield too_deep(f"row {number}", "in the list") if nests else row
                number += 1
    except json.JSONDecodeError as error:
        raise DamagedFile(f"{path} is not a whole JSON list: row {number}: {error.msg}.") from None
    except UnicodeDecodeError as error:
        raise DamagedFile(f"{path} is not a conversation file: about row {number}, {why_not_utf8(error)}.") from None
    except RecursionError:
        raise DamagedFile(f"{path} is not a conversation file: row {number} is nested too deeply to be read.") from None
    except ValueError as error:  # a whole number of 5,000 digits
        raise DamagedFile(f"{path} is not a whole JSON list: row {number}: {error}.") from None


def _members(file: TextIO) -> Iterator[tuple[Any, bool]]:
    """Each member, and whether it is nested too deeply."""
    decoder = json.JSONDecoder()
    text = file.read(BLOCK_CHARS).lstrip()
    if not text.startswith("["):
        raise json.JSONDecodeError("a list begins with [", text, 0)
    at, sign = 1, "]" if text[1:].lstrip().startswith("]") else ","
    if sign == "]":
        at = text.index("]") + 1
    while sign != "]":
        begins = _skip_space(text, at)
        try:
            row, end = decoder.raw_decode(text, begins)
            after = _SEPARATOR.match(text, end)
            if after is None:
                raise json.JSONDecodeError("neither a comma nor the closing bracket follows", text, end)
        except json.JSONDecodeError:
            more = file.read(max(BLOCK_CHARS, len(text) - at))
            if not more:
                raise
            text, at = text[at:] + more, 0
            continue
        many = text.count("[", begins, end) + text.count("{", begins, end) > MOST_LEVELS
        yield row, many and is_deep(row)
        at, sign = after.end(), after[1]
    if text[at:].strip() or file.read(BLOCK_CHARS).strip():
        raise json.JSONDecodeError("something follows the end of the list", text, at)


def _skip_space(text: str, at: int) -> int:
    while text[at : at + 1].isspace():
        at += 1
    return at
