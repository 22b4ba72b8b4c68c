"""Canned replies: a `ChatModel` that says what a file says, for trying things out and for tests.

A row of the file is `{"contains": text, "text": reply, "finish_reason"}`; the first row whose `contains` occurs in the
last message answers, and a row without it answers everything.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seetell.ask.chat import Completion, Message
from seetell.errors import BadInput, DamagedFile
from seetell.files import read_jsonl


@dataclass(frozen=True, slots=True)
class Canned:
    """One reply, and what a message must contain to get it."""

    text: str
    contains: str = ""
    finish_reason: str = "stop"


class Replay:
    """Answers at once, always the same."""

    name = "replay"

    def __init__(self, canned: Sequence[Canned]) -> None:
        self._canned = canned

    @classmethod
    def load(cls, path: str | Path) -> Replay:
        try:
            return cls([_canned(row) for row in read_jsonl(path, ours=False)])
        except (OSError, DamagedFile) as error:
            raise BadInput(f"{path} is not a file of canned replies, rows with a 'text': {error}") from None

    async def complete(
        self, messages: Sequence[Message], *, temperature: float | None = 0.0, max_tokens: int | None = None
    ) -> Completion:
        del temperature, max_tokens
        asked = messages[-1].content
        for reply in self._canned:
            if reply.contains in asked:
                return Completion(
                    reply.text, reply.finish_reason, len(asked.split()), len(reply.text.split()), self.name
                )
        raise BadInput(f"No canned reply fits a message that begins with {asked[:60]!r}.")


def _canned(row: dict[str, Any]) -> Canned:
    texts = {name: row[name] for name in ("text", "contains", "finish_reason") if name in row}
    if "text" not in texts or not all(isinstance(text, str) for text in texts.values()):
        raise DamagedFile(f"{reprlib.repr(row)} is none.")
    return Canned(**texts)
