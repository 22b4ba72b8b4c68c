"""How sure a figure is: bootstrap intervals, differences of two runs on the same items, judge noise, items needed.

Whole groups (questions about one picture) are drawn with replacement, and the task's metrics are worked out of each
draw's sums. Intervals are BCa, which corrects for bias and for a spread that changes with the value: a ratio of
means is skewed. Two runs are compared on the groups that both have, drawn together, so that what makes a question
hard for both cancels out.

Source: Efron 1987, Better Bootstrap Confidence Intervals; checked against scipy.stats.bootstrap in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from seetell.evals.task import Number, Score, Tally, Task

LEVEL = 0.95
RESAMPLES = 4000
DRAWS_AT_ONCE = 4_000_000  # of group indices: bounds memory to some 100 MB
POWER = 0.8
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and where it lies with 95 % confidence."""

    value: float
    low: float
    high: float
    std: float


@dataclass(frozen=True, slots=True)
class Difference:
    """One run less another on the same groups. `needed` groups would tell them apart four times out of five."""

    value: float
    low: float
    high: float
    groups: int
    needed: int | None

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def intervals(task: Task, scores: Sequence[Score], seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Interval]:
    """An interval for every metric."""
    if not scores:
        return {}
    names, table = _table(task.tallies(scores))
    return _intervals(task.metrics, names, table, seed, resamples)


def differences(
    task: Task, one: Sequence[Score], other: Sequence[Score], seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Difference]:
    """`one` less `other` in every metric, over the items that both have a score for."""
    shared = {score.item.id for score in one} & {score.item.id for score in other}
    pairs = [task.tallies([score for score in scores if score.item.id in shared]) for scores in (one, other)]
    groups = list(pairs[0])
    if not groups:
        return {}
    joined = {
        group: {f"{side}\0{name}": value for side in (0, 1) for name, value in pairs[side][group].items()}
        for group in groups
    }
    names, table = _table(joined)

    def less(totals: Mapping[str, Number]) -> dict[str, Number]:
        left, right = (
            task.metrics({name[2:]: value for name, value in totals.items() if name.startswith(f"{side}\0")})
            for side in (0, 1)
        )
        return {name: left[name] - right[name] for name in left if name in right}

    found = _intervals(less, names, table, seed, resamples)
    return {
        name: Difference(each.value, each.low, each.high, len(groups), items_needed(each, len(groups)))
        for name, each in found.items()
    }


def items_needed(difference: Interval, groups: int) -> int | None:
    """How many groups would show a difference of this size at the 5 % level, four times out of five; None for none."""
    if not difference.value or not math.isfinite(difference.std):
        return None
    widths = (NORMAL.inv_cdf(0.5 + LEVEL / 2) + NORMAL.inv_cdf(POWER)) * difference.std / abs(difference.value)
    return max(2, math.ceil(groups * widths**2))


def noise(runs: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each metric over repeated runs."""
    names = [name for name in runs[0] if all(name in run for run in runs)] if runs else []
    return {
        name: (float(np.mean(values)), float(np.std(values)))
        for name in names
        if (values := [run[name] for run in runs])
    }


# ------------------------------------------------------------------------------------------ bootstrap


def _table(tallies: Mapping[str, Tally]) -> tuple[list[str], NDArray[np.float64]]:
    """Tallies as rows of a table, a column for each figure that any of them has."""
    names = sorted({name for tally in tallies.values() for name in tally})
    return names, np.array([[tally.get(name, 0.0) for name in names] for tally in tallies.values()], dtype=np.float64)


def _totals(names: Sequence[str], sums: NDArray[np.float64]) -> dict[str, Number]:
    return {name: sums[..., at] for at, name in enumerate(names)}


def _intervals(
    metrics: Callable[[Mapping[str, Number]], Mapping[str, Number]],
    names: Sequence[str],
    table: NDArray[np.float64],
    seed: int,
    resamples: int,
) -> dict[str, Interval]:
    whole = table.sum(axis=0)
    values = metrics(_totals(names, whole))
    draws = metrics(_totals(names, _resampled(table, seed, resamples)))
    without_one = metrics(_totals(names, whole - table))
    found: dict[str, Interval] = {}
    for name, value in values.items():
        if np.isfinite(value):
            low, high = _bca(float(value), np.asarray(draws[name]), np.asarray(without_one[name]))
            drawn = np.asarray(draws[name])[np.isfinite(draws[name])]
            found[name] = Interval(float(value), low, high, float(np.std(drawn)) if drawn.size else math.nan)
    return found


def _resampled(table: NDArray[np.float64], seed: int, resamples: int) -> NDArray[np.float64]:
    """Sums of `resamples` draws of as many groups as there are, [resamples, columns]."""
    rng = np.random.default_rng(seed)
    groups = len(table)
    at_once = max(1, min(resamples, DRAWS_AT_ONCE // groups))
    sums: list[NDArray[np.float64]] = []
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(0, groups, (rows, groups)) + np.arange(rows)[:, None] * groups
        times = np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups)
        sums.append(times.astype(np.float64) @ table)
    return np.concatenate(sums)


def _bca(value: float, draws: NDArray[np.float64], without_one: NDArray[np.float64]) -> tuple[float, float]:
    """The bias-corrected and accelerated percentiles; the plain value where nothing varies."""
    draws, without_one = draws[np.isfinite(draws)], without_one[np.isfinite(without_one)]
    if draws.size == 0 or np.ptp(draws) == 0:
        return value, value
    below = (np.count_nonzero(draws < value) + np.count_nonzero(draws == value) / 2) / draws.size
    bias = NORMAL.inv_cdf(min(max(below, 0.5 / draws.size), 1 - 0.5 / draws.size))
    spread = without_one.mean() - without_one if without_one.size else np.zeros(1)
    cubed = float(np.sum(spread**2)) ** 1.5
    acceleration = float(np.sum(spread**3)) / (6 * cubed) if cubed > 0 else 0.0
    edges = [bias + NORMAL.inv_cdf(share) for share in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)]
    shares = [NORMAL.cdf(bias + edge / (1 - acceleration * edge)) for edge in edges]
    low, high = np.quantile(draws, shares)
    return float(low), float(high)
