"""A teacher to test against: a real HTTP server that speaks chat completions, well or badly, as it is told.

    with serving(Behaviour(faults={"status 500": 0.1})) as teacher:
        ... ask teacher.url ...
        teacher.counts  # what it received, by what became of it

It runs in a thread; `python -m tests.mock_teacher` runs it alone and prints its URL, for timing.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

TRANSPORT_FAULTS = ("429", "status 500", "status 502", "timeout", "dropped")
CONTENT_FAULTS = ("empty", "refusal", "cut off", "wrong format", "repeated question", "leak")
ALL_FAULTS = (*TRANSPORT_FAULTS, *CONTENT_FAULTS)

Messages = list[dict[str, str]]


def evenly(share: float) -> dict[str, float]:
    """All faults together make up this share of the replies."""
    return {fault: share / len(ALL_FAULTS) for fault in ALL_FAULTS}


@dataclass(frozen=True)
class Stream:
    """How a reply that is asked for as a stream arrives: word by word, `pause_s` before each; after `words` of them
    `then` happens: "stall", "break" or "end" (which is a body that ends without a finish reason)."""

    ignored: bool = False  # the reply comes in one body
    first_s: float = 0.0
    pause_s: float = 0.0
    words: int | None = None
    then: str = "end"
    comments_s: float = 0.0  # for so long nothing but comments is sent before the first word
    done: bool = True
    usage: bool = True  # when it is asked for


@dataclass(frozen=True)
class Behaviour:
    """`faults` are probabilities; `admit_per_s` is a token bucket that holds `burst`, beyond which there is 429."""

    faults: Mapping[str, float] = field(default_factory=dict)
    latency_s: float = 0.0
    timeout_s: float = 2.0  # how long a reply that times out is held back
    retry_after_s: float = 0.2
    admit_per_s: float = 0.0
    burst: float = 1.0
    seed: int = 0
    fixed: bool = False  # one reply for all, without reading the request: for timing
    answer: Callable[[Messages], str] | None = None
    refuses: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None  # a request's body -> the error of a 400
    stream: Stream = field(default_factory=lambda: Stream())


class Teacher:
    """What the server knows; read it from another thread once the traffic has stopped."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.counts: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()  # by prompt: how often it got a whole answer
        self.received: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []  # the first few
        self.most_under_way = self.under_way = 0
        self.first_s = self.last_s = 0.0
        self.url = ""
        self._rng = random.Random(behaviour.seed)
        self._tokens, self._filled_s = behaviour.burst, monotonic()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) and (
                found := re.search(rb"(?i)content-length: (\d+)", head)
            ):
                body = await reader.readexactly(int(found[1]))
                self.under_way += 1
                self.most_under_way = max(self.most_under_way, self.under_way)
                try:
                    if not await self.reply(head, body, writer):
                        break
                finally:
                    self.under_way -= 1
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, TimeoutError):
            pass  # a cancelled connection is one that the test's end cut off
        finally:
            writer.close()

    async def reply(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection lives on."""
        self.last_s = monotonic()
        self.first_s = self.first_s or self.last_s
        self.counts["received"] += 1
        if self.behaviour.fixed:
            return await send(
                writer, 200, completion("fixed", "Question:\nWhat is it?\n===\nAnswer:\nA cat on a mat.\n===")
            )
        request = json.loads(body)
        if len(self.bodies) < 100:
            self.bodies.append({**request, "headers": head.decode()})
        prompt = "\n".join(str(message["content"]) for message in request["messages"])
        self.received[prompt] += 1
        if self.behaviour.refuses is not None and (error := self.behaviour.refuses(request)) is not None:
            self.counts["refused"] += 1
            return await send(writer, 400, {"error": error})
        if not self._admit():
            self.counts["over the rate"] += 1
            return await send(
                writer, 429, {"error": {"message": "slow down"}}, retry_after_s=self.behaviour.retry_after_s
            )
        self.counts["admitted"] += 1
        fault = self._fault()
        self.counts[fault or "well"] += 1
        if self.behaviour.latency_s:
            await asyncio.sleep(self._rng.uniform(0.5, 1.5) * self.behaviour.latency_s)
        if fault in TRANSPORT_FAULTS:
            return await self._transport(fault, writer)
        text, reason = content(fault, request["messages"], self.behaviour.answer)
        if request.get("stream") and not self.behaviour.stream.ignored:
            alive = await self._stream(writer, request, text, reason)
        else:
            alive = await send(writer, 200, completion(request["model"], text, reason))
        if alive:
            self.answered[prompt] += 1
        return alive

    async def _transport(self, fault: str, writer: asyncio.StreamWriter) -> bool:
        if fault == "429":
            return await send(writer, 429, {"error": {"message": "slow"}}, retry_after_s=self.behaviour.retry_after_s)
        if fault == "status 500":
            return await send(writer, 500, {"error": {"message": "something broke"}})
        if fault == "status 502":
            return await send(writer, 502, "<html><body>Bad Gateway</body></html>", kind="text/html")
        if fault == "timeout":
            await asyncio.sleep(self.behaviour.timeout_s)
            return False
        whole = http(200, json.dumps(completion("m", "Question:\nWhat")).encode())
        writer.write(whole[:-30])
        await writer.drain()
        return False

    async def _stream(self, writer: asyncio.StreamWriter, request: dict[str, Any], text: str, reason: str) -> bool:
        """The reply as server-sent events; whether it was sent whole."""
        how, whole = self.behaviour.stream, completion(request["model"], text, reason)
        writer.write(b"HTTP/1.1 200 Here\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await self._chunk(writer, event(request["model"], {"role": "assistant", "content": ""}))
        begun = monotonic()
        while monotonic() - begun < how.comments_s:
            await self._chunk(writer, ": still here\n\n")
            await asyncio.sleep(0.02)
        if how.first_s:
            await asyncio.sleep(how.first_s)
        pieces = re.findall(r"\s*\S+|\s+$", text)
        if pieces and not how.pause_s and how.words is None:
            await self._chunk(writer, "".join(event(request["model"], {"content": piece}) for piece in pieces))
            self.counts["words"] += len(pieces)
            pieces = []
        for piece in pieces[: how.words]:
            await asyncio.sleep(how.pause_s)
            await self._chunk(writer, event(request["model"], {"content": piece}))
            self.counts["words"] += 1
        if how.words is not None and how.words < len(pieces):
            if how.then == "stall":
                await asyncio.sleep(self.behaviour.timeout_s)
            if how.then == "end":
                writer.write(b"0\r\n\r\n")
                await writer.drain()
            return False
        await self._chunk(writer, event(request["model"], {}, reason))
        if how.usage and request.get("stream_options", {}).get("include_usage"):
            await self._chunk(writer, f"data: {json.dumps({'choices': [], 'usage': whole['usage']})}\n\n")
        writer.write(chunk("data: [DONE]\n\n") * how.done + b"0\r\n\r\n")
        await writer.drain()
        return not writer.is_closing()

    async def _chunk(self, writer: asyncio.StreamWriter, text: str) -> None:
        writer.write(chunk(text))
        await writer.drain()

    def _fault(self) -> str:
        point = self._rng.random()
        for fault, share in self.behaviour.faults.items():
            if (point := point - share) < 0:
                return fault
        return ""

    def _admit(self) -> bool:
        if not self.behaviour.admit_per_s:
            return True
        now = monotonic()
        grown = self._tokens + (now - self._filled_s) * self.behaviour.admit_per_s
        self._tokens, self._filled_s = min(self.behaviour.burst, grown), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def content(fault: str, messages: Messages, answer: Callable[[Messages], str] | None) -> tuple[str, str]:
    """The reply's text and its finish reason."""
    text = (answer or well)(messages)
    if fault == "empty":
        return "", "stop"
    if fault == "refusal":
        return "I'm sorry, but as an AI language model I cannot see pictures.", "stop"
    if fault == "cut off":
        return text[: len(text) * 2 // 3], "length"
    if fault == "wrong format":
        return '{"conversation": [{"q": "What is it?", "a": "It is a picture."}]}', "stop"
    if fault == "repeated question":
        return text + "\n" + text, "stop"
    if fault == "leak":
        return text.replace("It shows", "The caption says that it shows"), "stop"
    return text, "stop"


def well(messages: Messages) -> str:
    """A plain, true reply in the asked format, from the last prompt's first line."""
    first = next(iter(messages[-1]["content"].strip().splitlines()), "something").rstrip(" .")
    shown = f"It shows this: {first}."
    system = messages[0]["content"].lower()
    if "conversation" in system:
        pairs = (
            ("What does the picture show?", shown),
            ("Is it a photo?", f"Yes. {shown}"),
            ("What stands out?", shown),
        )
    elif "complex" in system or "reason" in system:
        pairs = (
            (
                "Why may somebody have taken this picture?",
                f"{shown} Such a moment is worth keeping, because it is rare.",
            ),
        )
    else:
        return f"{shown} Everything in it is easy to see, and the light is even."
    return "\n".join(f"Question:\n{question}\n===\nAnswer:\n{answer}\n===" for question, answer in pairs)


def completion(model: str, text: str, reason: str = "stop") -> dict[str, Any]:
    return {
        "id": "reply",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": len(text) // 4, "total_tokens": 1000 + len(text) // 4},
    }


def event(model: str, delta: dict[str, Any], reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'model': model, 'choices': [choice]})}\n\n"


def chunk(text: str) -> bytes:
    return f"{len(text.encode()):x}\r\n".encode() + text.encode() + b"\r\n"


def http(status: int, body: bytes, kind: str = "application/json", retry_after_s: float | None = None) -> bytes:
    wait = "" if retry_after_s is None else f"retry-after: {retry_after_s:g}\r\n"
    return (
        f"HTTP/1.1 {status} Here\r\ncontent-type: {kind}\r\n{wait}content-length: {len(body)}\r\n\r\n".encode() + body
    )


async def send(
    writer: asyncio.StreamWriter,
    status: int,
    value: object,
    kind: str = "application/json",
    retry_after_s: float | None = None,
) -> bool:
    body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
    writer.write(http(status, body, kind, retry_after_s))
    await writer.drain()
    return not writer.is_closing()


@contextmanager
def serving(behaviour: Behaviour | None = None) -> Generator[Teacher]:
    """The teacher in a thread of its own, until the block ends."""
    teacher, ready, stop = Teacher(behaviour or Behaviour()), threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        server = await asyncio.start_server(teacher.connected, "127.0.0.1", 0, limit=1 << 22)
        teacher.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        ready.set()
        await stop.wait()
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield teacher
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join()


if __name__ == "__main__":
    settings = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    with serving(Behaviour(**settings)) as alone:
        sys.stdout.write(alone.url + "\n")
        sys.stdout.flush()
        sys.stdin.read()
        counts = {**alone.counts, "seconds": alone.last_s - alone.first_s, "most under way": alone.most_under_way}
        sys.stdout.write(json.dumps(counts) + "\n")
