"""Files of questions, answers and truth as the benchmarks' owners publish them: JSONL, JSON, TSV.

Answers are joined to questions by what names them, never by their line. A row that is not as it should be, an
answer that joins to nothing and one that joins twice are errors that name it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from seetell.errors import BadInput, DamagedFile
from seetell.files import as_list, as_object, read_json
from seetell.text import why_not_text, why_not_utf8
from seetell.types import Image

QUOTE_CHARS = 80
Key = TypeVar("Key")
Value = TypeVar("Value")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file, or of one JSON list, whatever the file's name ends in."""
    text = read_text(path).strip()
    if text.startswith("["):
        return [_object(row, path, number) for number, row in enumerate(as_list(read_json(path)) or [], start=1)]
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(_object(json.loads(line), path, number))
            except RecursionError:
                raise DamagedFile(f"{path}, line {number}, is nested too deeply to be read.") from None
            except ValueError as error:
                raise DamagedFile(f"{path}, line {number}, is not JSON: {error}.") from None
    return rows


def read_object_or_rows(path: Path) -> dict[str, Any] | list[dict[str, Any]]:
    """One JSON object that fills the file, or the rows of a JSONL file; a lone row of JSONL counts as an object."""
    try:
        whole = as_object(json.loads(read_text(path)))
    except (ValueError, RecursionError):
        whole = None
    return read_rows(path) if whole is None else whole


def read_object(path: Path) -> dict[str, Any]:
    found = as_object(read_json(_file(path)))
    if found is None:
        raise DamagedFile(f"{path} should hold one JSON object.")
    return found


def read_text(path: Path) -> str:
    if why := why_not_text(_file(path)):
        raise DamagedFile(f"{path} cannot be read: {why}.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamagedFile(f"{path} cannot be read: {why_not_utf8(error)}.") from None


def _file(path: Path) -> Path:
    if path.is_dir():
        raise BadInput(f"{path} is a folder, where a file is needed.")
    return path


def read_tsv(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a table with a header; a cell may be as large as a picture in base64."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    if why := why_not_text(_file(path)):
        raise DamagedFile(f"{path} cannot be read: {why}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file, delimiter="\t")
    except UnicodeDecodeError as error:
        raise DamagedFile(f"{path} cannot be read: {why_not_utf8(error)}.") from None
    except csv.Error as error:
        raise DamagedFile(f"{path} is not a table with tabs: {error}.") from None


def named(row: Mapping[str, Any], name: str, path: Path) -> str:
    """What a row says under a name, as text; a number is text too, a list, an object or true is not."""
    value = row.get(name)
    if value is None:
        raise DamagedFile(f"{path} has a row without `{name}`: {_quoted(row)}")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DamagedFile(f"{path} has a row whose `{name}` should be text: {_quoted(row)}")
    return str(value)


def _quoted(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)[:QUOTE_CHARS]


def by_key(pairs: Iterable[tuple[Key, Value]], path: Path, what: str) -> dict[Key, Value]:
    """A table in which nothing may stand twice."""
    table: dict[Key, Value] = {}
    for key, value in pairs:
        if key in table:
            raise BadInput(f"{path} has {what} twice: {key}.")
        table[key] = value
    return table


def list_under(file: Mapping[str, Any], name: str, path: Path) -> list[dict[str, Any]]:
    rows = as_list(file.get(name))
    if rows is None:
        raise DamagedFile(f"{path} has no list `{name}`.")
    return [_object(row, path, number) for number, row in enumerate(rows, start=1)]


def found_in(folder: Path, *names: str) -> Path:
    """The first of these files that a data folder holds."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise BadInput(f"{folder} holds no {' or '.join(names)}; docs/data.md says where its owner publishes it.")


def picture_in(folders: Iterable[Path], name: str) -> Image:
    """A picture that may lie in any of these folders; the first is named where none holds it."""
    places = [folder / name for folder in folders]
    return Image(str(next(filter(_is_there, places), places[0])))


def _is_there(place: Path) -> bool:
    """A name that is too long for a file, such as a picture in base64, names none."""
    try:
        return place.is_file()
    except OSError:
        return False


def _object(row: object, path: Path, number: int) -> dict[str, Any]:
    found = as_object(row)
    if found is None:
        raise DamagedFile(f"{path}, row {number}, is not a JSON object.")
    return found
