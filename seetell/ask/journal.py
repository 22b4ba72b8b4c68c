"""The journal: every call and every answer, appended to one JSONL file and never changed.

    {"event": "sent", "key": …}                        before a request leaves
    {"event": "answer", "key": …, "text": …, …}        when a whole answer is here; with "of" it was asked for once
                                                       more, with "estimated" its tokens are our guess
    {"event": "failed", "key": …, "reason": …}         when a request was given up in one run

A row is handed to the system before anything else happens, so that a killed process loses none; the disk is made to
hold it in groups, by a thread, so that no answer waits for the disk. What stands in memory is an index: for every
answered key where its newest answer begins in the file.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from seetell.ask.chat import Completion
from seetell.errors import BadInput, UsageError
from seetell.files import append_jsonl, as_object

SYNC_EVERY_S = 1.0
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sent": ((), ()),
    "answer": (("text", "finish_reason", "model"), ("prompt_tokens", "completion_tokens", "again")),
    "failed": (("reason",), ()),
}
"""What rows hold besides keys: texts, of which the first is never missing, and whole numbers."""


@dataclass(slots=True)
class Tally:
    """What the calls of all runs came to."""

    sent: int = 0
    answered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, row: Mapping[str, Any]) -> None:
        if row["event"] == "sent":
            self.sent += 1
        elif row["event"] == "answer":
            self.answered += 1
            self.prompt_tokens += int(row.get("prompt_tokens", 0))
            self.completion_tokens += int(row.get("completion_tokens", 0))


class Journal:
    """One file, opened for appending; `key` is always that of the first request, whatever was asked again."""

    def __init__(self, path: str | Path, *, writing: bool = True) -> None:
        """Without `writing` it is read as it stands, also while another run writes it."""
        self.path = Path(path)
        self.tally = Tally()
        self._answers: dict[bytes, int] = {}
        self._failed: dict[bytes, str] = {}
        self._unsynced = False
        if writing:
            append_jsonl(self.path).close()  # cuts off a last line that a killed writer left torn
        self._file = self.path.open("r+b" if writing else "rb", buffering=0)
        self._reader = self.path.open("rb")
        try:
            if writing:
                _lock(self._file.fileno(), self.path)
            for at, row in _rows(self.path):
                self._note(row, at)
        except BaseException:
            self.close()
            raise
        self._end = self._file.seek(0, os.SEEK_END)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bytes.fromhex(key) in self._answers

    def __len__(self) -> int:
        return len(self._answers)

    def failure(self, key: str) -> str | None:
        """Why the request was given up the last time, unless it was answered since."""
        return self._failed.get(bytes.fromhex(key))

    def answer(self, key: str) -> Completion | None:
        """The newest answer to the request, or to it asked once more."""
        row = self._row(key)
        return None if row is None else completion_of(row)

    def times_asked_again(self, key: str) -> int:
        row = self._row(key)
        return 0 if row is None else int(row.get("again", 0))

    def sent(self, key: str) -> None:
        self._append({"event": "sent", "key": key})

    def answered(self, key: str, completion: Completion, *, of: str = "", again: int = 0, seconds: float = 0.0) -> None:
        """`of` is the key of the request that this one repeats on purpose, the `again`-th time."""
        repeat = {"of": of, "again": again} if of else {}
        self._append(
            {
                "event": "answer",
                "key": key,
                **repeat,
                "text": completion.text,
                "finish_reason": completion.finish_reason,
                "prompt_tokens": completion.prompt_tokens,
                "completion_tokens": completion.completion_tokens,
                "model": completion.model,
                **({"estimated": True} if completion.estimated else {}),
                "seconds": round(seconds, 3),
            }
        )

    def failed(self, key: str, reason: str) -> None:
        self._append({"event": "failed", "key": key, "reason": reason})

    def copy(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Takes over another journal's rows."""
        for row in rows:
            self._append(row)

    async def keep_on_disk(self) -> None:
        """Syncs now and then until cancelled; the caller starts it beside the work."""
        while True:
            await asyncio.sleep(SYNC_EVERY_S)
            if self._unsynced:
                self._unsynced = False
                await asyncio.to_thread(os.fsync, self._file.fileno())

    def close(self) -> None:
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._reader.close()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _row(self, key: str) -> dict[str, Any] | None:
        at = self._answers.get(bytes.fromhex(key))
        if at is None:
            return None
        self._reader.seek(at)
        return json.loads(self._reader.readline())

    def _append(self, row: Mapping[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=True).encode() + b"\n"
        at = self._end
        while line:
            written = self._file.write(line) or 0
            line, self._end = line[written:], self._end + written
        self._unsynced = True
        self._note(row, at)

    def _note(self, row: Mapping[str, Any], at: int) -> None:
        event, key = row["event"], bytes.fromhex(str(row.get("of") or row["key"]))
        self.tally.add(row)
        if event == "answer":
            self._answers[key] = at
            self._failed.pop(key, None)
        elif event == "failed" and key not in self._answers:
            self._failed[key] = str(row["reason"])


def completion_of(row: Mapping[str, Any]) -> Completion:
    """The answer in a journal's row."""
    return Completion(
        str(row["text"]),
        str(row.get("finish_reason", "stop")),
        int(row.get("prompt_tokens", 0)),
        int(row.get("completion_tokens", 0)),
        str(row.get("model", "")),
        bool(row.get("estimated", False)),
    )


def read_journal(path: str | Path) -> Iterator[dict[str, Any]]:
    """The rows of a journal that nobody is writing."""
    return (row for _, row in _rows(Path(path)))


def _lock(handle: int, path: Path) -> None:
    """Two runs that ask for the same things would pay twice; the lock goes with the process."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"Another run is writing {path}; wait for it, or use another --out.") from None


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every row with the byte it begins at; a torn last line is passed over."""
    at = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            row = _parsed(line)
            if row is not None:
                yield at, row
            elif line.endswith(b"\n") and line.strip():
                raise BadInput(
                    f"{path}, line {number}, is not a row of a journal: {line[:60].decode(errors='replace')!r}."
                )
            at += len(line)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The row, if it is one: what is read of it later has the right type."""
    try:
        row = as_object(json.loads(line))
        if row is None:
            return None
        for key in (row["key"], row.get("of", "")):
            bytes.fromhex(key)
        texts, numbers = FIELDS[row["event"]]
        sound = all(isinstance(row.get(name, ""), str) for name in texts) and set(texts[:1]) <= set(row)
        return row if sound and all(isinstance(row.get(name, 0), int) for name in numbers) else None
    except (ValueError, KeyError, TypeError):
        return None
