"""How often a run is saved: soon, then rarely, never so often that it costs much; how a length of time is written."""

from __future__ import annotations

import pytest

from seetell.cli.options import seconds_of
from seetell.errors import UsageError
from seetell.train.cadence import Cadence, cadence_in_words


class Clock:
    """Time that passes when it is told to."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def run_until_due(self, cadence: Cadence) -> float:
        """The seconds until a checkpoint is due."""
        began_s = self.now_s
        while not cadence.due:
            self.now_s += 1.0
        return self.now_s - began_s

    def save(self, cadence: Cadence, cost_s: float) -> None:
        def write() -> None:
            self.now_s += cost_s

        cadence.save(write)


@pytest.mark.parametrize(
    ("asked_s", "costs_s", "expected_s"),
    [
        (None, (0.1, 0.1), [60, 600, 600]),
        (None, (30.0, 30.0), [60, 1500, 1500]),
        (None, (30.0, 2.0), [60, 1500, 600]),
        (300.0, (30.0, 30.0), [60, 300, 300]),
        (20.0, (0.1, 0.1), [20, 20, 20]),
    ],
)
def test_the_first_after_a_minute_then_as_often_as_two_hundredths_allow(
    asked_s: float | None, costs_s: tuple[float, ...], expected_s: list[int]
) -> None:
    clock = Clock()
    cadence, waits_s = Cadence(asked_s, clock), []
    for cost_s in costs_s:
        waits_s.append(clock.run_until_due(cadence))
        clock.save(cadence, cost_s)
    assert [*waits_s, clock.run_until_due(cadence)] == expected_s


def test_saves_that_are_slow_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    cadence = Cadence(None, clock)
    clock.save(cadence, 30.0)
    clock.save(cadence, 30.0)
    assert capsys.readouterr().err == "Writing a checkpoint took 30 s: the next ones come every 25 min.\n"


def test_the_rule_in_words() -> None:
    assert cadence_in_words(None, 2) == (
        "Checkpoints come after 1 min, then every 10 min, or as rarely as keeps them below 2% of the time; the newest "
        "2 are kept."
    )
    assert cadence_in_words(300.0, 1) == "Checkpoints come after 1 min, then every 5 min; the newest is kept."
    assert cadence_in_words(30.0, 3) == "Checkpoints come every 30 s; the newest 3 are kept."


def test_lengths_of_time() -> None:
    assert [seconds_of(text) for text in ("30s", "5m", "1h", "1.5h")] == [30.0, 300.0, 3600.0, 5400.0]
    for text in ("5", "m", "0s", "-1m", "5 minutes", "", "nanm"):
        with pytest.raises(UsageError, match="such as 30s, 5m or 1h"):
            seconds_of(text)
