"""How fast `generate` asks, and what it holds in memory; and how fast `select` reads.

    python -m benchmarks.generate_speed sdk       our run against the bare SDK's loop, on one instant mock, by turns
    python -m benchmarks.generate_speed memory    resident memory over 100,000 items, by a teacher in the process
    python -m benchmarks.generate_speed select N  N varied captions through `seetell select`: seconds and memory

For `sdk` seconds are this process's CPU seconds, since the mock shares the machine; ratios in one run are what counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from seetell.ask.asking import Ask, Asker, Hearing
from seetell.ask.chat import Completion, Message
from seetell.ask.client import Endpoint
from seetell.ask.journal import Journal
from seetell.ask.limiter import Limiter
from seetell.ask.request import Request
from seetell.generate.prompts import PromptSet
from seetell.generate.run import Run, Settings
from seetell.types import Box, Image, Scene

AT_ONCE = 32


def scenes(count: int) -> Iterator[Scene]:
    for number in range(count):
        captions = tuple(f"A cat lies on mat {number} in part {part} of the house." for part in range(5))
        yield Scene(f"{number:08}", captions, (Box("cat", 0.1, 0.2, 0.3, 0.4),), Image(f"{number:08}.jpg"), 640, 480)


def sdk(count: int = 600, rounds: int = 3) -> None:
    os.environ["OPENAI_API_KEY"] = "none"
    mock = subprocess.Popen(
        [sys.executable, "-m", "tests.mock_teacher", '{"fixed": true}'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert mock.stdout is not None
    url = mock.stdout.readline().strip()
    try:
        ratios: list[float] = []
        for number in range(rounds + 1):
            bare, asker, whole = _bare(url, count), _asker(url, count), _whole(url, count)
            if number:  # the first warms up
                ratios.append(bare / whole)
                print(f"bare SDK {count / bare:.0f}/s, asking and journal {count / asker:.0f}/s, "
                      f"whole run {count / whole:.0f}/s")  # fmt: skip
        print(f"whole run / bare SDK: {sorted(ratios)[len(ratios) // 2]:.2f}")
    finally:
        mock.kill()


def _requests(count: int) -> list[Request]:
    prompts = PromptSet.load()
    return [Request("mock", prompts.messages("conversation", scene), 0.7, 2048) for scene in scenes(count)]


def _bare(url: str, count: int) -> float:
    """Seconds that the SDK alone needs for as many requests, so many at a time."""
    requests = _requests(count)

    async def work() -> float:
        from openai import AsyncOpenAI

        client, gate = AsyncOpenAI(base_url=url, max_retries=0, timeout=300.0), asyncio.Semaphore(AT_ONCE)

        async def one(request: Request) -> str:
            async with gate:
                reply = await client.chat.completions.create(**request.body())
                return reply.choices[0].message.content or ""

        await one(requests[0])
        started = time.process_time()
        await asyncio.gather(*map(one, requests))
        took_s = time.process_time() - started
        await client.close()
        return took_s

    return asyncio.run(work())


def _asker(url: str, count: int) -> float:
    requests = _requests(count)

    async def work(journal: Journal) -> float:
        endpoint = Endpoint("mock", url, concurrency=AT_ONCE)
        await endpoint.complete(requests[0].messages)
        hearing = Hearing(lambda *_: None, lambda *_: None, lambda _: "")
        started = time.process_time()
        asks = (Ask(request, request.key) for request in requests)
        assert not await Asker(endpoint, journal, Limiter(AT_ONCE), hearing).run(asks)
        took_s = time.process_time() - started
        await endpoint.close()
        return took_s

    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl") as journal:
        return asyncio.run(work(journal))


def _whole(url: str, count: int) -> float:
    """Planning, asking, parsing as replies come; without the page that is written once at the end."""
    with tempfile.TemporaryDirectory() as folder:
        endpoint = Endpoint("mock", url, concurrency=AT_ONCE)
        run = Run(folder, endpoint, PromptSet.load(), Settings({"conversation": 1.0}, concurrency=AT_ONCE))
        started = time.process_time()
        report, stopped = run.go(scenes(count))
        took_s = time.process_time() - started
        assert not stopped
        assert report["calls"]["answered"] == count
        return took_s


class Instant:
    """A teacher in the process, which answers at once."""

    name = "instant"

    async def complete(
        self, messages: Sequence[Message], *, temperature: float | None = 0.0, max_tokens: int | None = None
    ) -> Completion:
        del messages, temperature, max_tokens
        return Completion("Question:\nWhat is it?\n===\nAnswer:\nA cat on a mat.\n===", "stop", 1000, 20)


def memory(most: int = 100_000) -> None:
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for count in (most // 10, most):
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            run = Run(folder, Instant(), PromptSet.load(), Settings({"conversation": 1.0}))
            report, _ = run.go(scenes(count))
            assert sum(report["kept"].values()) == count
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        took_s = time.process_time() - started
        print(f"{count} items: peak {peak_mb:.0f} MB (before {before_mb:.0f}), {count / took_s:.0f} items a CPU second")


def select(count: int) -> None:
    from seetell.verbs.select import select as verb

    real = Path(__file__).parents[2] / "shared/data/captions/cc3m_validation.tsv"
    captions = [line.split("\t")[0] for line in real.read_text().splitlines()]
    rng = random.Random(0)
    words = sorted({word for caption in captions for word in caption.split()})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "captions.tsv"
        with path.open("w") as file:
            for number in range(count):
                caption = captions[number % len(captions)]
                file.write(
                    caption if number < len(captions) else f"{caption} with {rng.choice(words)} {rng.choice(words)}"
                )
                file.write("\n")
        started, cpu = time.perf_counter(), time.process_time()
        report = verb(path, Path(folder) / "out", chunker="built-in")
        took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(report))
    print(f"{count / took_s:.0f} captions/s, {count / cpu_s:.0f} a CPU second, peak {peak_mb:.0f} MB")


if __name__ == "__main__":
    what, *numbers = sys.argv[1:] or ["sdk"]
    {"sdk": sdk, "memory": memory, "select": select}[what](*map(int, numbers))
