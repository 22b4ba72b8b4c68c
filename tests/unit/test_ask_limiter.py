"""The limiter on a clock of our own, against endpoints that count requests."""

from __future__ import annotations

import heapq
import random

import pytest

from seetell.ask.limiter import Health, Limiter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bucket:
    """An endpoint that admits `rate` requests a second and saves up `burst`; a share of 429s comes by chance."""

    def __init__(self, rate: float, burst: float, now: float, by_chance: float = 0.0) -> None:
        self.rate, self.burst, self.tokens, self.at, self.by_chance = rate, burst, burst, now, by_chance
        self.rng = random.Random(0)
        self.admitted = self.refused = 0

    def ask(self, now: float) -> bool:
        self.tokens, self.at = min(self.burst, self.tokens + (now - self.at) * self.rate), now
        if self.tokens < 1 or self.rng.random() < self.by_chance:
            self.refused += 1
            return False
        self.tokens -= 1
        self.admitted += 1
        return True


def simulate(
    limiter: Limiter,
    clock: Clock,
    bucket: Bucket,
    seconds: float,
    latency_s: float,
    work: int = 10**9,
    uneven: random.Random | None = None,
) -> float:
    """Lets the limiter ask the bucket; returns how long it took. With `uneven`, replies take now more and now less
    than `latency_s` and overtake one another, and a 429 comes at once."""
    started, coming_back, number = clock.now, [], 0
    while clock.now < started + seconds and bucket.admitted < work:
        pause_s = limiter.pause_s(100)
        if pause_s == 0:
            left_at = limiter.leave(100)
            number += 1
            admitted = bucket.ask(clock.now)
            back_s = latency_s
            if uneven is not None:
                back_s = uneven.expovariate(1 / latency_s) if admitted else 0.05
            heapq.heappush(coming_back, (clock.now + back_s, number, left_at, admitted))
            continue
        soonest = coming_back[0][0] if coming_back else float("inf")
        clock.now = min(soonest, clock.now + max(pause_s, 0.001))
        while coming_back and coming_back[0][0] <= clock.now:
            _, _, left_at, admitted = heapq.heappop(coming_back)
            if admitted:
                limiter.admitted(left_at)
            else:
                limiter.refused(left_at, 0.5)
            limiter.left()
    return clock.now - started


@pytest.mark.parametrize(
    ("saved_s", "rate", "latency_s"),
    [
        (1.0, 40.0, 0.005),
        (1.0, 40.0, 0.3),
        (1.0, 200.0, 0.3),
        (5.0, 40.0, 0.005),
        (5.0, 40.0, 0.3),
        (5.0, 200.0, 0.005),
        (1.0, 200.0, 0.005),
        (5.0, 200.0, 0.3),
        (0.0, 8.0, 0.005),
        (0.0, 8.0, 0.3),
    ],
)
def test_an_endpoint_with_a_rate_is_kept_busy_and_not_pestered(rate: float, latency_s: float, saved_s: float) -> None:
    clock = Clock()
    limiter, bucket = Limiter(512, clock=clock), Bucket(rate, max(1.0, saved_s * rate), clock.now)
    work = int(rate * 40 + bucket.burst)
    took_s = simulate(limiter, clock, bucket, 120, latency_s, work)
    assert bucket.admitted >= work
    assert bucket.admitted / (rate * took_s) >= 0.9
    assert bucket.refused <= 0.6 * bucket.admitted


@pytest.mark.parametrize("seed", [0, 6, 8, 18, 50])
def test_replies_that_overtake_one_another_make_no_pace_that_pesters(seed: int) -> None:
    clock, rate = Clock(), 40.0
    limiter, bucket = Limiter(256, clock=clock), Bucket(rate, rate, clock.now)
    took_s = simulate(limiter, clock, bucket, 120, 1.0, work=3000, uneven=random.Random(seed))
    assert bucket.refused <= 0.3 * bucket.admitted
    assert bucket.admitted / (rate * took_s) >= 0.9


def test_chance_429s_do_not_stop_the_work() -> None:
    clock = Clock()
    limiter, bucket = Limiter(64, clock=clock), Bucket(1e9, 1e9, clock.now, by_chance=0.04)
    simulate(limiter, clock, bucket, 60, 0.2)
    assert bucket.admitted / 60 >= 0.8 * 64 / 0.2


def test_the_window_grows_to_the_cap_and_no_further() -> None:
    clock = Clock()
    limiter, bucket = Limiter(32, clock=clock), Bucket(1e9, 1e9, clock.now)
    simulate(limiter, clock, bucket, 10, 0.1)
    assert limiter.window == 32
    assert limiter.under_way <= 32


def test_a_minute_never_holds_more_than_the_cap() -> None:
    clock = Clock()
    limiter, left = Limiter(64, requests_per_minute=120, clock=clock), []
    while clock.now < 1200:
        pause_s = limiter.pause_s(100)
        if pause_s == 0:
            left.append(limiter.leave(100))
            limiter.admitted(clock.now)
            limiter.left()
        else:
            clock.now += pause_s
    most = max(sum(1 for at in left if start <= at < start + 60) for start in left)
    assert 110 <= most <= 120
    assert len(left) >= 0.95 * 120 * 200 / 60


def test_tokens_a_minute_are_kept_even_when_one_request_is_dear() -> None:
    clock = Clock()
    limiter, left = Limiter(64, tokens_per_minute=6000, clock=clock), 0
    while clock.now < 1600:
        pause_s = limiter.pause_s(1000)
        if pause_s == 0:
            limiter.leave(1000)
            limiter.admitted(clock.now)
            limiter.left(tokens_too_few=500)  # every request takes half more than was thought
            left += 1
        else:
            clock.now += pause_s
    assert 0.85 <= left * 1500 / (6000 * 10) <= 1.05


def test_when_nothing_but_429_is_heard_everybody_waits() -> None:
    clock = Clock()
    limiter = Limiter(64, clock=clock)
    for _ in range(8):
        limiter.refused(limiter.leave(1), 30.0)
        limiter.left()
        clock.now += 0.01
    assert limiter.pause_s(1) == pytest.approx(30, abs=0.1)
    assert not limiter.hopeless()
    clock.now += 300
    for _ in range(20):
        limiter.refused(limiter.leave(1), 30.0)
        limiter.left()
    assert limiter.hopeless()


def test_twenty_errors_in_a_row_are_sick_and_a_steady_third_is_not() -> None:
    health = Health()
    assert [health.sick(error=True) for _ in range(20)] == [False] * 19 + [True]
    rng, health = random.Random(1), Health()
    assert not any(health.sick(error=rng.random() < 0.3) for _ in range(20_000))
    for share in (0.6, 0.75, 0.9):
        rng, health = random.Random(2), Health()
        assert any(health.sick(error=rng.random() < share) for _ in range(250))
