"""A provider's batch interface: half the price, a day's patience.

    write     batch-001.jsonl …: the requests that no journal row answers, each under its key
    submit    hands the files in; batches.json remembers which are where, and which requests repeat others
    collect   fetches what is finished into the journal, as if it had been asked one by one

Files are cut where providers do (50,000 requests, 200 MB). Source: OpenAI's batch guide, which others follow.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from seetell.ask.asking import Ask
from seetell.ask.chat import Completion, Message
from seetell.ask.client import MAX_DETAIL_CHARS, Endpoint
from seetell.ask.journal import Journal
from seetell.ask.reply import Reply
from seetell.ask.request import Request, counted
from seetell.ask.service import TOO_LONG, is_over_length
from seetell.errors import BadInput, ServiceError, UsageError
from seetell.files import as_object, read_json, read_jsonl, write_json

T = TypeVar("T")
KEY = re.compile(r"[0-9a-f]{32}")

STATE = "batches.json"
URL = "/v1/chat/completions"
MAX_REQUESTS, MAX_BYTES = 50_000, 190_000_000
UNFINISHED = ("validating", "in_progress", "finalizing", "cancelling")


def write_batch(out: Path, asks: Iterable[Ask]) -> list[str]:
    """Writes the files anew and returns their names; what is with the provider must be collected before."""
    if any(batch["state"] == "submitted" for batch in _state(out).values()):
        raise UsageError(f"{out} has batches with the provider: run --batch collect first.")
    for old in out.glob("batch-*.jsonl"):
        old.unlink()
    state: dict[str, dict[str, Any]] = {}
    repeats: dict[str, Any] = {}
    file, size, count = None, 0, 0
    try:
        for ask in asks:
            line = json.dumps({"custom_id": ask.key, "method": "POST", "url": URL, "body": ask.request.body()}) + "\n"
            if file is None or size + len(line) > MAX_BYTES or count >= MAX_REQUESTS:
                if file is not None:
                    file.close()
                name = f"batch-{len(state) + 1:03}.jsonl"
                repeats = {}
                state[name] = {"state": "written", "repeats": repeats}
                file, size, count = (out / name).open("w", encoding="utf-8"), 0, 0
            file.write(line)
            size, count = size + len(line), count + 1
            if ask.of:
                repeats[ask.key] = {"of": ask.of, "again": ask.again}
    finally:
        if file is not None:
            file.close()
    write_json(out / STATE, state)
    return list(state)


def submit(out: Path, endpoint: Endpoint) -> int:
    """Hands in what is written and not yet handed in; how many are with the provider."""
    state = _state(out)
    if not state:
        raise UsageError(f"{out} has no batch files: run --batch write first.")

    async def hand_in(client: Any) -> None:
        for name, batch in state.items():
            if batch["state"] != "written":
                continue
            with (out / name).open("rb") as data:
                file = await client.files.create(file=(name, data), purpose="batch")
            made = await client.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h")
            state[name] = {**batch, "state": "submitted", "id": made.id}
            write_json(out / STATE, state)  # at once: what is handed in twice is paid twice

    _talk(endpoint, hand_in)
    return sum(batch["state"] == "submitted" for batch in state.values())


def collect(out: Path, endpoint: Endpoint, journal: Journal) -> int:
    """Fetches what is finished into the journal; how many batches are not."""
    state = _state(out)

    async def fetch(client: Any) -> None:
        for name, batch in state.items():
            if batch["state"] != "submitted":
                continue
            told = await client.batches.retrieve(batch["id"])
            if told.status in UNFINISHED:
                continue
            asked = _Asked(_prompt_tokens(out / name), batch.get("repeats", {}), endpoint.cleaned)
            for id in (told.output_file_id, told.error_file_id):
                if id:
                    _take(journal, (await client.files.content(id)).text, asked)
            state[name] = {**batch, "state": str(told.status)}
            write_json(out / STATE, state)

    _talk(endpoint, fetch)
    return sum(batch["state"] == "submitted" for batch in state.values())


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a result's rows do not say: about how long each prompt was, which requests repeat others, and the key."""

    prompt_tokens: dict[str, int]
    repeats: dict[str, Any]
    clean: Callable[[Completion], Completion]


def _prompt_tokens(path: Path) -> dict[str, int]:
    tokens: dict[str, int] = {}
    for row in read_jsonl(path) if path.exists() else ():
        messages = tuple(Message(**message) for message in row["body"]["messages"])
        tokens[row["custom_id"]] = Request(row["body"]["model"], messages).prompt_tokens
    return tokens


def _take(journal: Journal, text: str, asked: _Asked) -> None:
    """Rows of a result file into the journal, each once."""
    for row in list(_rows(text)):  # all of them are looked at before the first is taken
        key = str(row["custom_id"])
        repeat = asked.repeats.get(key, {"of": "", "again": 0})
        first = repeat["of"] or key
        if first in journal and journal.times_asked_again(first) >= repeat["again"]:
            continue
        journal.sent(key)
        response = as_object(row.get("response")) or {}
        status, body = response.get("status_code"), as_object(response.get("body")) or {}
        completion = _completion(body) if status == 200 else _too_long(status, body)
        if completion is not None:
            journal.answered(key, counted(asked.clean(completion), asked.prompt_tokens.get(key, 0)), **repeat)
        else:
            why = f"status {status}" if status not in (None, 200) else "batch request failed"
            told = asked.clean(Completion(_sentence(body))).text
            journal.failed(first, f"{why}: {told}" if told else why)


def _sentence(body: dict[str, Any]) -> str:
    """The provider's own, where a request failed."""
    told = (as_object(body.get("error")) or {}).get("message")
    return " ".join(told.split())[:MAX_DETAIL_CHARS].rstrip(".") if isinstance(told, str) else ""


def _too_long(status: Any, body: dict[str, Any]) -> Completion | None:
    """A request that is longer than the provider reads has its answer, as if it had been asked one by one."""
    code = (as_object(body.get("error")) or {}).get("code")
    over = isinstance(status, int) and is_over_length(status, f"{code} {_sentence(body)}")
    return Completion(_sentence(body), TOO_LONG) if over else None


def _completion(body: dict[str, Any]) -> Completion | None:
    reply = Reply()
    reply.take(body)
    return reply.completion() if reply.begun else None


def _rows(text: str) -> Iterator[dict[str, Any]]:
    """The result's rows, each of which names a request by its key."""
    for line in text.split("\n"):  # and nowhere else: a reply may hold other ends of lines, such as U+2028
        if line.strip():
            try:
                row = as_object(json.loads(line)) or {}
            except ValueError:
                raise ServiceError(f"The provider's result file is not JSON lines: {line[:60]!r}.") from None
            if not KEY.fullmatch(str(row.get("custom_id"))):
                raise ServiceError(f"A row of the provider's result file names no request of ours: {line[:60]!r}.")
            yield row


def _state(out: Path) -> dict[str, dict[str, Any]]:
    path = out / STATE
    if not path.exists():
        return {}
    state = as_object(read_json(path))
    if state is None:
        raise BadInput(f"{path} is not a record of batches; was it changed by hand?")
    return state


def _talk(endpoint: Endpoint, talk: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    import openai

    async def whole() -> T:
        try:
            return await talk(endpoint.open())
        except openai.OpenAIError as error:
            raise ServiceError(f"The provider did not take the batch: {endpoint.without_key(str(error))}") from None
        finally:
            await endpoint.close()

    return asyncio.run(whole())
