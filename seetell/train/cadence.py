"""How often a run is saved: soon at first, then every ten minutes, and never so often that it costs much.

A checkpoint costs the time that training waits for it; hashing and flushing happen meanwhile (`checkpoint.py`). That
cost is not known before the first one. So the first comes after a minute, and from then on at most `SHARE` of the time
is spent on them. Which step is saved depends on clocks; what a run ends with does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from seetell.console import say

FIRST_S, EVERY_S = 60.0, 600.0
SHARE = 0.02  # of the time, at most, that training waits for its checkpoints


class Cadence:
    """When the next checkpoint is due; with `every_s` as often as was asked for, whatever that costs."""

    def __init__(self, every_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._asked_s, self._clock = every_s, clock
        self._every_s = EVERY_S if every_s is None else every_s
        self._wait_s = min(FIRST_S, self._every_s)
        self._since_s = clock()

    @property
    def due(self) -> bool:
        return self._clock() - self._since_s >= self._wait_s

    def save(self, save: Callable[[], object]) -> None:
        """Times a save, and says when such saves have to come more rarely than before."""
        began_s = self._clock()
        save()
        self._since_s = self._clock()
        cost_s = self._since_s - began_s
        if self._asked_s is None:
            every_s = max(EVERY_S, cost_s / SHARE)
            if every_s > 1.1 * self._every_s:
                say(f"Writing a checkpoint took {interval(cost_s)}: the next ones come every {interval(every_s)}.")
            self._every_s = every_s
        self._wait_s = self._every_s


def cadence_in_words(every_s: float | None, keep: int) -> str:
    """The same, said when a run begins."""
    first_s, then_s = min(FIRST_S, EVERY_S if every_s is None else every_s), EVERY_S if every_s is None else every_s
    when = f"every {interval(then_s)}" if then_s > 0 else "after every step"
    when = f"after {interval(first_s)}, then {when}" if first_s < then_s else when
    rarely = f", or as rarely as keeps them below {SHARE:.0%} of the time" if every_s is None else ""
    kept = "the newest is" if keep == 1 else f"the newest {keep} are"
    return f"Checkpoints come {when}{rarely}; {kept} kept."


def interval(seconds: float) -> str:
    """`24 s`, `1 min`, `12.5 min`, `1.5 h`"""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s"
