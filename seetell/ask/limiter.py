"""How many requests at a time, and how often: what an endpoint bears, found out while asking it.

Two bounds move. The *window* is how many requests may be under way: it grows by half an answer until the endpoint first
says 429, then by one a round trip, and is cut to three quarters when 429s come; up to where it was cut it grows back
fast. The *pace* is how many may leave a second: there is none until the first 429; then it follows the rate at which
requests are really admitted, a little above it, so that an endpoint that counts by the second or the minute is kept
busy without being pestered. Caps on requests and tokens a minute, when the user sets them, are budgets beside these.

A request that was told to come back later does so (`Retry-After`); when nothing but 429 is heard, everybody waits.
Nothing here waits by itself or reads a clock of its own choice: `Asker` asks how long to pause.

Source: additive increase, multiplicative decrease as in Jacobson 1988; growing back fast as in BIC.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from time import monotonic

START_WINDOW = 8
CUT = 0.75
FIRST_PACE = 0.5  # of what came through before the first 429, which a saved-up allowance may have flattered
PACE_MARGIN = 1.1  # above what is admitted: at saturation one request in eleven hears 429
PACE_GROWTH, FASTEST_PACE_GROWTH = 1.05, 2.0  # a second without 429; the growth itself grows while there is none
LOOK_BACK_S = 2.0
LONG_LOOK_BACK_S = 60.0  # for endpoints that admit less than a few requests in the short one
FEW = 8
REFUSALS_TO_HOLD = 8  # in a row, with nothing admitted between them
LONGEST_HOLD_S = 120.0
REFUSALS_TO_GIVE_UP, GIVE_UP_AFTER_S = 20, 180.0


class Limiter:
    """`pause_s` says when the next request may leave; `leave`, `left`, `admitted`, `refused` tell it what happened."""

    def __init__(
        self,
        concurrency: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.concurrency, self.clock = concurrency, clock
        self.window = float(min(START_WINDOW, concurrency))
        self.pace: float | None = None
        self.under_way = 0
        self._caps = (
            None if requests_per_minute is None else _Allowance(requests_per_minute, clock),
            None if tokens_per_minute is None else _Allowance(tokens_per_minute, clock),
        )
        self._window_before_cut = math.inf
        self._cut_at = self._next_leave = self._held_until = -math.inf
        self._growth, self._grown_at = PACE_GROWTH, -math.inf
        self._refused_in_row, self._admitted_last = 0, clock()
        self._admitted_at: deque[float] = deque()

    def pause_s(self, tokens: float) -> float:
        """Seconds until a request of about so many tokens may leave; infinite while the window is full."""
        if self.under_way >= max(1, int(self.window)):
            return math.inf
        now = self.clock()
        pause_s = max(0.0, self._held_until - now)
        if self.pace is not None:
            self._grow_pace(now)
            pause_s = max(pause_s, self._next_leave - now)
        for cap, amount in zip(self._caps, (1.0, tokens), strict=True):
            if cap is not None:
                pause_s = max(pause_s, cap.pause_s(amount))
        return pause_s

    def leave(self, tokens: float) -> float:
        """A request leaves; returns the time."""
        now = self.clock()
        self.under_way += 1
        if self.pace is not None:
            self._next_leave = max(self._next_leave, now - 0.05) + 1 / self.pace
        for cap, amount in zip(self._caps, (1.0, tokens), strict=True):
            if cap is not None:
                cap.take(amount)
        return now

    def left(self, tokens_too_few: float = 0.0) -> None:
        """A request is no longer under way; `tokens_too_few` corrects the estimate that it left with."""
        self.under_way -= 1
        if self._caps[1] is not None:
            self._caps[1].take(tokens_too_few)

    def admitted(self) -> None:
        """The endpoint let a request in, whatever became of it."""
        self._refused_in_row, self._admitted_last = 0, self.clock()
        self._admitted_at.append(self._admitted_last)
        while self._admitted_at[0] < self._admitted_last - LONG_LOOK_BACK_S:
            self._admitted_at.popleft()
        if self.window < self._window_before_cut:
            step = 0.5 if math.isinf(self._window_before_cut) else 1.0
        else:
            step = 1 / self.window
        self.window = min(float(self.concurrency), self.window + step)

    def refused(self, left_at: float, retry_after_s: float | None) -> None:
        """429 to a request that left at that time."""
        now = self.clock()
        self._refused_in_row += 1
        if left_at > self._cut_at:  # one round trip, one cut
            self._window_before_cut = 0.95 * self.window
            self.window = max(1.0, CUT * self.window)
            self._cut_at = now
        if self.pace is None:
            self.pace = max(1 / LONG_LOOK_BACK_S, FIRST_PACE * self._rate(now))
            self._admitted_at.clear()
        elif left_at > self._grown_at or len(self._admitted_at) >= FEW:
            self.pace = max(1 / LONG_LOOK_BACK_S, PACE_MARGIN * self._rate(now))
        self._growth, self._grown_at = PACE_GROWTH, now
        if (over := self._refused_in_row - REFUSALS_TO_HOLD) >= 0:
            hold_s = min(60.0, 2.0**over) if retry_after_s is None else retry_after_s
            self._held_until = max(self._held_until, now + min(LONGEST_HOLD_S, hold_s))

    def hopeless(self) -> bool:
        """Minutes of nothing but 429."""
        waited_s = self.clock() - self._admitted_last
        return self._refused_in_row >= REFUSALS_TO_GIVE_UP and waited_s >= GIVE_UP_AFTER_S

    def _rate(self, now: float) -> float:
        """Requests admitted a second, of late."""
        recent = [at for at in self._admitted_at if at >= now - LOOK_BACK_S]
        times = recent if len(recent) >= FEW else list(self._admitted_at)
        return len(times) / max(0.25, now - times[0]) if times else 0.0

    def _grow_pace(self, now: float) -> None:
        if self.pace is not None and (clean_s := now - self._grown_at) >= 1:
            self.pace *= self._growth ** min(2.0, clean_s)
            self._growth = min(FASTEST_PACE_GROWTH, self._growth**1.5)
            self._grown_at = now


class _Allowance:
    """So much in any minute. What is unspent is saved up for a second at most; what is dearer than that may leave
    when the allowance is full, and is paid off afterwards."""

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self.most = max(1.0, per_minute / 60)
        self.per_s = max(per_minute - self.most, per_minute / 2) / 60
        self.clock, self.at, self.amount = clock, clock(), self.most

    def pause_s(self, amount: float) -> float:
        self._fill()
        return max(0.0, (min(amount, self.most) - self.amount) / self.per_s)

    def take(self, amount: float) -> None:
        self._fill()
        self.amount -= amount

    def _fill(self) -> None:
        now = self.clock()
        self.amount = min(self.most, self.amount + (now - self.at) * self.per_s)
        self.at = now


class Health:
    """Whether the endpoint is sick: from transport errors among the last attempts, 429s apart.

    Sick is 20 errors in a row, or half of 50 attempts and half of the next 50 too: an endpoint that steadily loses 30 %
    shows one bad window of 50 in a few hundred by chance, but not two running.
    """

    WINDOW, IN_A_ROW = 50, 20

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=self.WINDOW)
        self._suspect = False
        self._in_a_row = 0

    def sick(self, error: bool) -> bool:
        """Notes an attempt, and says."""
        self._in_a_row = self._in_a_row + 1 if error else 0
        self._last.append(error)
        if self._in_a_row >= self.IN_A_ROW:
            return True
        if len(self._last) < self.WINDOW:
            return False
        bad = 2 * sum(self._last) >= self.WINDOW
        if bad and self._suspect:
            return True
        if bad or self._suspect:
            self._suspect = bad
            self._last.clear()
        return False
