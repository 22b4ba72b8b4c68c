"""Why a row of a data file cannot be used: the reasons that every verb counts by, and reading JSON that may be broken.

    not JSON · not UTF-8 · cut off · nested too deeply · not Unicode      of a row's text
    no conversation · turn without text · unknown speaker · speakers out of order · empty turn · no answer
    bad image name · picture on the web · image tags and images differ · picture outside a question

Shards have two more of their own, and a picture that cannot be opened those of `pictures.py`.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator
from typing import Any

from seetell.files import as_list, as_object
from seetell.text import shortened, why_not_utf8
from seetell.types import Rejected

MAX_RAW_CHARS = 2000
MOST_LEVELS = 100  # of lists and objects inside each other: deeper ones exhaust whoever goes through them
_TOO_DEEP = f"more than {MOST_LEVELS} lists and objects inside each other"


class Problem(Exception):
    """Why a row is not a conversation: the phrase that reports count by, and the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def of(self, id: str, value: Any) -> Rejected:
        """The row as a value; what has no words in JSON, such as bytes, is named by its type."""
        try:
            raw = json.dumps(value, ensure_ascii=False, default=lambda other: f"<{type(other).__name__}>")
        except (TypeError, ValueError, RecursionError):
            raw = reprlib.repr(value)
        return Rejected(id, self.reason, self.detail, raw[:MAX_RAW_CHARS])


def json_row(text: bytes, id: str, where: str) -> Any | Rejected:
    """What a piece of JSON says, or why it says nothing."""
    raw = text[:MAX_RAW_CHARS].decode(errors="replace")
    try:
        value = json.loads(text.decode())
    except UnicodeDecodeError as error:
        return Rejected(id, "not UTF-8", f"{where}: {why_not_utf8(error)}", raw)
    except RecursionError:
        return Rejected(id, "nested too deeply", f"{where}: {_TOO_DEEP}", raw)
    except ValueError as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else shortened(str(error))
        return Rejected(id, "not JSON", f"{where}: {reason}", raw)
    brackets = text.count(b"[") + text.count(b"{")
    return too_deep(id, where) if brackets > MOST_LEVELS and is_deep(value) else value


def too_deep(id: str, where: str) -> Rejected:
    return Rejected(id, "nested too deeply", f"{where}: {_TOO_DEEP}")


def is_deep(value: Any) -> bool:
    """Whether lists and objects stand in more than `MOST_LEVELS` others."""
    level: list[Any] = [value]
    for _ in range(MOST_LEVELS):
        level = [child for each in level for child in _children(each)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterator[Any]:
    row = as_object(value)
    for child in (as_list(value) or ()) if row is None else row.values():
        if isinstance(child, (dict, list)):
            yield child
