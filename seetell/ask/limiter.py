"""How many requests at a time, and how often: what an endpoint bears, found out while asking it.

Two bounds move. The *window* is how many requests may be under way: it grows by one an answer, up to the user's
`--concurrency`, and is cut to three quarters when the pace proves too high. The *pace* is how many may leave a second;
there is none until the first 429, and `Pace` finds it. So an endpoint that counts by the second or the minute is kept
busy without being pestered, and one that throws a 429 by chance loses nothing.

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
LOOK_BACK_S = 2.0
REFUSALS_TO_HOLD = 8  # in a row, with nothing admitted between them
LONGEST_HOLD_S = 120.0
REFUSALS_TO_GIVE_UP, GIVE_UP_AFTER_S = 20, 180.0


class Pace:
    """How many requests a second an endpoint admits, found by trying one pace after another.

    A pace is tried by a round of requests; until their fate is known, the next leave at what went well before. First it
    is *measured*: faster and faster, until a fifth is refused; what was admitted meanwhile is about the rate. Then a
    round with few 429s raises the pace, half of the way to what was too high or, near that, by a small step; many 429s
    close together are too high: back to what last went well, for a longer round. An endpoint that saves nothing up
    refuses every other request just above its rate and none just below it; one that saves up admits at its rate however
    hard it is pushed. This settles just below the first, just above the second.
    """

    LOWEST = 1 / 60
    MEASURED, MEASURED_S = 8, 0.5  # at least so many requests, and for so long
    ROUND, LONGEST_ROUND = 12, 96
    SPARE = 4  # requests more than a round needs, should some be long in coming back
    FEW = 0.06  # the share of 429s (one, in a short round) up to which the pace is raised: as many come by chance
    MANY, AMONG = 3, 8  # so many 429s among the last so many are too many
    STEP, SMALLEST_STEP = 0.06, 0.01
    NEAR = 0.94  # of what was too high

    def __init__(self, per_s: float, now: float) -> None:
        self.per_s = max(self.LOWEST, per_s)
        self._measuring = True
        self._round, self._step = self._to_measure(), self.STEP
        self._fine = 0.0  # the last pace that was not too much while measuring
        self._well, self._too_high = 0.0, math.inf
        self._begin(now, otherwise=self.per_s / 2)

    def leave(self, now: float) -> float:
        """A request leaves; returns the seconds until the next one may."""
        if self._sent >= self._round + self.SPARE:
            return 1 / self._otherwise
        self._began, self._until = min(self._began, now), now
        self._sent += 1
        return 1 / self.per_s

    def hear(self, left_at: float, refused: bool, now: float) -> bool:
        """Judges by what became of a request that left at `left_at`; true when the pace proved too high."""
        if not self._since <= left_at <= self._until:  # it left at another pace
            return False
        self._last.append(refused)
        self._heard += 1
        self._refused += refused
        if self._measuring:
            return self._heard >= self._round and self._measure(now)
        if sum(self._last) >= self.MANY:
            self._lower(now)
            return True
        if self._heard >= self._round:
            self._went_well(now)
        return False

    def _measure(self, now: float) -> bool:
        admitted_per_s, sent_per_s = self._admitted_per_s(), self._sent_per_s()
        saturated = self._refused >= self._heard / 5
        if admitted_per_s == 0:
            self.per_s = max(self.LOWEST, sent_per_s / 8)
        elif saturated:
            self._measuring, self._too_high, self._round = False, self.per_s, self.ROUND
            # Fine may have been what was saved up; admitted is half of the rate where nothing is.
            self.per_s = max(self.LOWEST, 0.97 * admitted_per_s, min(self._fine, 2 * admitted_per_s))
        else:
            self._fine = min(self.per_s, sent_per_s)
            self.per_s = 4 * self._fine
        if self._measuring:
            self._round = self._to_measure()
        self._begin(now, otherwise=self.per_s if saturated else sent_per_s)
        return saturated

    def _to_measure(self) -> int:
        return max(self.MEASURED, int(self.MEASURED_S * self.per_s))

    def _lower(self, now: float) -> None:
        self._too_high = self.per_s
        if 0 < self._well < 0.999 * self.per_s:
            self.per_s = self._well
            self._step = max(self.SMALLEST_STEP, self._step / 2)
            self._round = min(self.LONGEST_ROUND, 2 * self._round)
        else:
            self.per_s = max(self.LOWEST, min(0.9 * self.per_s, max(0.5 * self.per_s, self._admitted_per_s())))
            self._well, self._round, self._step = 0.0, self.ROUND, self.STEP
        self._begin(now, otherwise=self.per_s)

    def _went_well(self, now: float) -> None:
        self._well = self.per_s
        if self._refused <= max(1, self.FEW * self._heard):
            if self.per_s < self.NEAR * self._too_high < math.inf:
                raised = (self.per_s + self._too_high) / 2
            else:
                raised = self.per_s * (1 + self._step)
                self._step = min(self.STEP, 1.5 * self._step)
            self.per_s = max(self.per_s, min(raised, 2 * self._sent_per_s()))
        self._begin(now, otherwise=self._well)

    def _sent_per_s(self) -> float:
        """How fast the round's requests really left, whichever of them are heard of first."""
        return self._sent / max(1e-3, self._until - self._began + 1 / self.per_s)

    def _admitted_per_s(self) -> float:
        return self._sent_per_s() * (self._heard - self._refused) / self._heard

    def _begin(self, now: float, otherwise: float) -> None:
        self._since, self._until, self._began, self._otherwise = now, -math.inf, math.inf, otherwise
        self._sent = self._heard = self._refused = 0
        self._last: deque[bool] = deque(maxlen=self.AMONG)


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
        self.pace: Pace | None = None
        self.under_way = 0
        self._caps = (
            None if requests_per_minute is None else _Allowance(requests_per_minute, clock),
            None if tokens_per_minute is None else _Allowance(tokens_per_minute, clock),
        )
        self._held_until = self._next_leave = -math.inf
        self._refused_in_row, self._admitted_last = 0, clock()
        self._admitted_at: deque[float] = deque()

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
            self._next_leave = now + self.pace.leave(now)
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
        elif self.pace.hear(left_at, refused=False, now=now):
            self.window = max(1.0, CUT * self.window)

    def refused(self, left_at: float, retry_after_s: float | None) -> None:
        """429 to a request that left at that time."""
        now = self.clock()
        self._refused_in_row += 1
        if self.pace is None:
            rate = len(self._admitted_at) / max(0.5, now - self._admitted_at[0]) if self._admitted_at else 1.0
            self.pace = Pace(2 * rate, now)
            self.window = max(1.0, CUT * self.window)
        elif self.pace.hear(left_at, refused=True, now=now):
            self.window = max(1.0, CUT * self.window)
        if (over := self._refused_in_row - REFUSALS_TO_HOLD) >= 0:
            hold_s = min(60.0, 2.0**over) if retry_after_s is None else retry_after_s
            self._held_until = max(self._held_until, now + min(LONGEST_HOLD_S, hold_s))

    def hopeless(self) -> bool:
        """Minutes of nothing but 429."""
        waited_s = self.clock() - self._admitted_last
        return self._refused_in_row >= REFUSALS_TO_GIVE_UP and waited_s >= GIVE_UP_AFTER_S


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
