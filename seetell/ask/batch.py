"""A provider's batch interface: half the price, a day's patience.

    write     batch-001.jsonl …: the requests that no journal row answers, each under its key
    submit    hands the files in; batches.json remembers which are where
    collect   fetches what is finished into the journal, as if it had been asked one by one

Files are cut where providers do (50,000 requests, 200 MB). Source: OpenAI's batch guide, which others follow.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from seetell.ask.asking import Ask
from seetell.ask.chat import Completion
from seetell.ask.client import Endpoint
from seetell.ask.journal import Journal
from seetell.console import BadInput, ServiceError, UsageError
from seetell.files import as_list, as_object, read_json, write_json

T = TypeVar("T")

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
    names: list[str] = []
    file, size, count = None, 0, 0
    try:
        for ask in asks:
            line = json.dumps({"custom_id": ask.key, "method": "POST", "url": URL, "body": ask.request.body()}) + "\n"
            if file is None or size + len(line) > MAX_BYTES or count >= MAX_REQUESTS:
                if file is not None:
                    file.close()
                names.append(f"batch-{len(names) + 1:03}.jsonl")
                file, size, count = (out / names[-1]).open("w", encoding="utf-8"), 0, 0
            file.write(line)
            size, count = size + len(line), count + 1
    finally:
        if file is not None:
            file.close()
    write_json(out / STATE, {name: {"state": "written"} for name in names})
    return names


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
            state[name] = {"state": "submitted", "id": made.id}
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
            for id in (told.output_file_id, told.error_file_id):
                if id:
                    _take(journal, (await client.files.content(id)).text, endpoint.without_key)
            state[name] = {**batch, "state": str(told.status)}
            write_json(out / STATE, state)

    _talk(endpoint, fetch)
    return sum(batch["state"] == "submitted" for batch in state.values())


def _take(journal: Journal, text: str, clean: Callable[[str], str]) -> None:
    """Rows of a result file into the journal, each once."""
    for row in _rows(text):
        key = str(row["custom_id"])
        if key in journal:
            continue
        journal.sent(key)
        response = as_object(row.get("response")) or {}
        completion = _completion(as_object(response.get("body")) or {}, clean)
        if response.get("status_code") == 200 and completion is not None:
            journal.answered(key, completion)
        else:
            status = response.get("status_code")
            journal.failed(key, f"status {status}" if status not in (None, 200) else "batch request failed")


def _completion(body: dict[str, Any], clean: Callable[[str], str]) -> Completion | None:
    choices = as_list(body.get("choices")) or [{}]
    choice = as_object(choices[0]) or {}
    message, usage = as_object(choice.get("message")), as_object(body.get("usage")) or {}
    if message is None:
        return None
    text = message.get("content") or message.get("refusal") or ""
    return Completion(
        clean(str(text)),
        str(choice.get("finish_reason") or "stop"),
        int(usage.get("prompt_tokens", 0)),
        int(usage.get("completion_tokens", 0)),
        str(body.get("model", "")),
    )


def _rows(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.strip():
            try:
                yield as_object(json.loads(line)) or {}
            except ValueError:
                raise ServiceError(f"The provider's result file is not JSON lines: {line[:60]!r}.") from None


def _state(out: Path) -> dict[str, dict[str, str]]:
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
