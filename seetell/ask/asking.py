"""Asks many requests at once, as fast as the endpoint bears, until each has its answer or is given up.

One loop sends: what is due again first, then what is new, when the limiter lets it. Every reply goes to the journal
before anybody hears of it. What happens to a request is one of four things: it is answered; it is given up after
`TRIES` transport errors or `MOST_TIMEOUTS` timeouts (and counted, and asked again by the next run); it waits, because
somebody stopped the run; or the service refuses it. A reply that breaks off is asked for once more; when it breaks off
again, what arrived is the answer.

What the service refuses is given up and the others go on; where it has answered nothing yet, or takes nothing at all (a
wrong key, no money), the run stops. A stop lets what is under way come home: it is paid for.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from seetell.ask.chat import ChatModel, Completion
from seetell.ask.client import TIMEOUT, RateLimited, Refused, Unanswered
from seetell.ask.journal import Journal
from seetell.ask.limiter import Health, Limiter
from seetell.ask.request import Request, counted
from seetell.errors import ServiceError

TRIES, MOST_TIMEOUTS = 8, 2
FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S = 0.5, 30.0
REFUSALS_TO_STOP = 3
MOST_WAITING = 1000  # requests waiting to be sent again: with more, nothing new is begun


@dataclass(slots=True)
class Ask:
    """A request on its way. `of` and `again` mark one that is put once more on purpose."""

    request: Request
    key: str
    of: str = ""
    again: int = 0
    tries: int = 0
    timeouts: int = 0
    broke_off: bool = False


@dataclass(frozen=True, slots=True)
class Hearing:
    """Whom to tell what; `may_send` gives a sentence when a request is not to be sent. It is asked again when something
    that was under way is home, and with nothing under way its sentence ends the run."""

    answered: Callable[[Ask, Completion], None]
    failed: Callable[[Ask, str], None]
    may_send: Callable[[Ask], str]


class Asker:
    """Runs once: `run` returns "" when every request was dealt with, else the sentence that says why it stopped."""

    def __init__(self, model: ChatModel, journal: Journal, limiter: Limiter, hearing: Hearing, seed: int = 0) -> None:
        self.model, self.journal, self.limiter, self.hearing = model, journal, limiter, hearing
        self.stopped = ""
        self._health = Health()
        self._due: list[tuple[float, int, Ask]] = []
        self._number = self._refusals = 0
        self._answered = False
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None
        self._rng = random.Random(seed)  # for jitter alone
        self._completion_tokens = 200.0  # a running mean, for the allowance of tokens

    async def run(self, asks: Iterator[Ask]) -> str:
        sync = asyncio.create_task(self.journal.keep_on_disk())
        try:
            await self._send_all(asks)
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in (*self._tasks, sync):
                task.cancel()
            await asyncio.gather(*self._tasks, sync, return_exceptions=True)
        if self._broken is not None:
            raise self._broken
        return self.stopped

    async def _send_all(self, asks: Iterator[Ask]) -> None:
        fresh = next(asks, None)
        while not self.stopped and (fresh is not None or self._due or self._tasks):
            self._changed.clear()
            again_in_s = self._due[0][0] - self.limiter.clock() if self._due else math.inf
            ready = self._due[0][2] if again_in_s <= 0 else fresh if len(self._due) < MOST_WAITING else None
            if ready is None:
                await self._pause(again_in_s)
                continue
            tokens = ready.request.prompt_tokens + self._completion_tokens
            if (pause_s := self.limiter.pause_s(tokens)) > 0:
                await self._pause(pause_s)
                continue
            if sentence := self.hearing.may_send(ready):
                if not self._tasks:
                    self._stop(sentence)
                await self._pause(math.inf)
                continue
            if again_in_s <= 0:
                heapq.heappop(self._due)
            else:
                fresh = next(asks, None)
            task = asyncio.create_task(self._send(ready, self.limiter.leave(tokens), tokens))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """What no reply can cause (a full disk) must not go unheard."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = self._broken or error
            self._stop(str(error))
        self._changed.set()  # here and not in the task: while the task runs it counts as under way

    async def _pause(self, seconds: float) -> None:
        """Until then, or until something came back."""
        if not self._tasks and math.isinf(seconds):
            return
        try:
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _send(self, ask: Ask, left_at: float, tokens: float) -> None:
        request, too_few = ask.request, 0.0
        self.journal.sent(ask.key)
        try:
            completion = await self.model.complete(
                request.messages, temperature=request.temperature, max_tokens=request.max_tokens
            )
        except RateLimited as error:
            self.limiter.refused(left_at, error.retry_after_s)
            self._later(ask, 1.0 if error.retry_after_s is None else error.retry_after_s)
            if self.limiter.hopeless():
                self._stop("The endpoint has said nothing but 429 (too many requests) for minutes.")
        except Unanswered as error:
            self.limiter.admitted(left_at)
            if error.arrived is not None and ask.broke_off:
                too_few = self._heard(ask, error.arrived, left_at) - tokens
            else:
                self._lost(ask, error)
        except Refused as error:
            self.limiter.admitted(left_at)
            self._turned_down(ask, error)
        except ServiceError as error:
            self._stop(str(error))
        else:
            self.limiter.admitted(left_at)
            too_few = self._heard(ask, completion, left_at) - tokens
        finally:
            self.limiter.left(too_few)

    def _heard(self, ask: Ask, completion: Completion, left_at: float) -> int:
        """Keeps an answer and passes it on; returns how many tokens it took."""
        completion = counted(completion, ask.request.prompt_tokens)
        seconds = self.limiter.clock() - left_at
        self.journal.answered(ask.key, completion, of=ask.of, again=ask.again, seconds=seconds)
        self._health.sick(error=False)
        self._answered = True
        self._completion_tokens += 0.05 * (completion.completion_tokens - self._completion_tokens)
        self.hearing.answered(ask, completion)
        return completion.prompt_tokens + completion.completion_tokens

    def _lost(self, ask: Ask, error: Unanswered) -> None:
        """A transport error: another try later, or none."""
        if self._health.sick(error=True):
            self._stop(f"The endpoint is sick: most of the last requests had no answer (the last one: {error}).")
        ask.tries += 1
        ask.timeouts += error.reason == TIMEOUT
        ask.broke_off = ask.broke_off or error.arrived is not None
        if ask.tries >= TRIES or ask.timeouts >= MOST_TIMEOUTS:
            self._give_up(ask, error.reason)
            return
        back_off_s = min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2 ** (ask.tries - 1)) * self._rng.uniform(0.5, 1.0)
        self._later(ask, max(back_off_s, error.retry_after_s or 0.0))

    def _turned_down(self, ask: Ask, error: Refused) -> None:
        """A request that another try would not mend. A few refusals before any answer: it is not about this one."""
        self._refusals += 1
        if self._health.sick(error=True) or (not self._answered and self._refusals >= REFUSALS_TO_STOP):
            self._stop(str(error))
        self._give_up(ask, error.reason)

    def _give_up(self, ask: Ask, reason: str) -> None:
        self.journal.failed(ask.key if not ask.of else ask.of, reason)
        self.hearing.failed(ask, reason)

    def _later(self, ask: Ask, seconds: float) -> None:
        self._number += 1
        heapq.heappush(self._due, (self.limiter.clock() + seconds, self._number, ask))

    def _stop(self, sentence: str) -> None:
        self.stopped = self.stopped or sentence
