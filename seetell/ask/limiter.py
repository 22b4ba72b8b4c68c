"""How many requests at a time, and how often: what an endpoint bears, found out while asking it.

Two bounds move. The *window* is how many requests may be under way: it grows by one an answer, up to the user's
`--concurrency`, and is cut to three quarters when the endpoint says 429 more than now and then. The *pace* is how many
may leave a second. There is none until the first 429; then it is tried out in rounds of requests: a round without
429 raises it, a few 429s leave it, more put it back to just below where it last went well. So an endpoint that counts
by the second or the minute is kept busy without being pestered, and one that throws a 429 by chance loses nothing.

A request that was told to come back later does so (`Retry-After`); when nothing but 429 is heard, everybody waits. Caps
on requests and tokens a minute, when the user sets them, are budgets beside these. Nothing here waits by itself or
reads a clock of its own choice: `Asker` asks how long to pause.

Source: additive increase, multiplicative decrease as in Jacobson 1988, here over rounds rather than round trips.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from time import monotonic

START_WINDOW = 8
CUT = 0.75
# A pace is judged in rounds of so many requests: until it was first too high, far below what was, and near it.
# So few 429s in a round raise it by the step, so many end the round and lower it.
ROUND = {"first": 6, "far": 16, "near": 50}
FEW = {"first": 0, "far": 1, "near": 2}
MANY = {"first": 3, "far": 8, "near": 8}
STEP = {"first": 1.5, "far": 1.05, "near": 1.005}
BACK, DOWN = 0.97, 0.9  # down: from the last pace that went well, or from this one
LOOK_BACK_S = 2.0
LOWEST_PACE = 1 / 60
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
        self._held_until = self._next_leave = -math.inf
        self._refused_in_row, self._admitted_last = 0, clock()
        self._admitted_at: deque[float] = deque()
        self._round_began, self._lowered, self._heard, self._refused = -math.inf, -math.inf, 0, 0
        self._went_well = self._too_high = math.inf

    def pause_s(self, tokens: float) -> float:
        """Seconds until a request of about so many tokens may leave; infinite while the window is full."""
        if self.under_way >= max(1, int(self.window)):
            return math.inf
        now = self.clock()
        pause_s = max(0.0, self._held_until - now)
        if self.pace is not None:
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

    def admitted(self, left_at: float) -> None:
        """The endpoint let a request in that left at that time, whatever became of it."""
        now = self.clock()
        self._refused_in_row, self._admitted_last = 0, now
        self.window = min(float(self.concurrency), self.window + 1)
        if self.pace is None:
            self._admitted_at.append(now)
            while self._admitted_at[0] < now - LOOK_BACK_S:
                self._admitted_at.popleft()
        else:
            self._hear(left_at, refused=False)

    def refused(self, left_at: float, retry_after_s: float | None) -> None:
        """429 to a request that left at that time."""
        now = self.clock()
        self._refused_in_row += 1
        if self.pace is None:
            rate = len(self._admitted_at) / max(0.5, now - self._admitted_at[0]) if self._admitted_at else 1.0
            self.pace, self._lowered = max(LOWEST_PACE, rate), now
            self.window = max(1.0, CUT * self.window)
        else:
            self._hear(left_at, refused=True)
        if (over := self._refused_in_row - REFUSALS_TO_HOLD) >= 0:
            hold_s = min(60.0, 2.0**over) if retry_after_s is None else retry_after_s
            self._held_until = max(self._held_until, now + min(LONGEST_HOLD_S, hold_s))

    def hopeless(self) -> bool:
        """Minutes of nothing but 429."""
        waited_s = self.clock() - self._admitted_last
        return self._refused_in_row >= REFUSALS_TO_GIVE_UP and waited_s >= GIVE_UP_AFTER_S

    def _hear(self, left_at: float, refused: bool) -> None:
        """Judges the pace, by requests that left since it was last lowered."""
        if left_at < self._lowered:
            return
        if self._heard == 0:
            self._round_began = left_at
        self._heard += 1
        self._refused += refused
        assert self.pace is not None
        stage = self._stage(self.pace)
        if self._refused >= MANY[stage]:
            self._too_high = self.pace
            if self._went_well < 0.999 * self.pace:
                pace = BACK * self._went_well
            else:
                pace = self.pace * min(DOWN, max(1 / 3, 1 - self._refused / self._heard))
            self.pace = max(LOWEST_PACE, pace)
            self._went_well, self._lowered = math.inf, self.clock()
            self.window = max(1.0, CUT * self.window)
        elif self._heard >= ROUND[stage]:
            self._went_well = self.pace
            if self._refused <= FEW[stage]:
                real = self._heard / max(1e-3, left_at - self._round_began)
                self.pace = max(self.pace, min(self.pace * STEP[stage], 2 * real))
        else:
            return
        self._heard = self._refused = 0

    def _stage(self, pace: float) -> str:
        if math.isinf(self._too_high):
            return "first"
        return "near" if 0.9 < pace / self._too_high < 1.1 else "far"


class _Allowance:
    """So much in any minute. What is unspent is saved up for a second at most; what is dearer than that may leave
    when the allowance is full, and is paid off afterwards."""

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self.most = max(1.0, per_minute / 60)
        self.per_s = max(per_minute - self.most, per_minute / 2) / 60
        self.clock, self.at, self.amount = clock, clock(), self.most

    def pause_s(self, amount: float) -> float:
        self._fill()
        lacking = min(amount, self.most) - self.amount
        # What rounding alone leaves lacking is a pause too short to move any clock: nobody would ever leave.
        return lacking / self.per_s if lacking > 1e-9 * self.most else 0.0

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
