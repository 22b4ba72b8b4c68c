"""Intervals agree with scipy's and cover the truth; differences are paired; items needed are what power says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from seetell.evals import llava_bench, mme, scienceqa
from seetell.evals.statistics import Interval, differences, intervals, items_needed, noise
from seetell.evals.task import Score, right_or_wrong
from seetell.types import Item

REVIEW = Path(__file__).parents[3] / "shared/data/llava_bench/wild/review_llava-v1.5-13b-run1.jsonl"


def pair_scores(pairs: Sequence[tuple[float, float]]) -> list[Score]:
    return [
        llava_bench.marked(Item(str(at), "", kind="conv", group=str(at)), one, other, "")
        for at, (one, other) in enumerate(pairs)
    ]


def drawn_pairs(count: int, seed: int = 0) -> list[tuple[float, float]]:
    rng = np.random.default_rng(seed)
    reference = rng.integers(12, 21, count) / 2
    return list(zip(reference.tolist(), (reference * rng.uniform(0.3, 1.0, count)).tolist(), strict=True))


def test_an_interval_is_scipys() -> None:
    pairs = np.array(drawn_pairs(70))
    found = intervals(llava_bench.TASK, pair_scores([(a, b) for a, b in pairs]), resamples=9999)["all"]
    theirs = scipy.stats.bootstrap(
        (pairs[:, 1], pairs[:, 0]),
        lambda ours, reference, axis=-1: 100 * ours.sum(axis=axis) / reference.sum(axis=axis),
        paired=True,
        vectorized=True,
        rng=np.random.default_rng(1),
        method="BCa",
    )
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.3)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.3)
    assert found.std == pytest.approx(theirs.standard_error, rel=0.05)


def coverage(pairs: Sequence[tuple[float, float]], runs: int, size: int) -> float:
    """How often the interval of `size` draws holds the figure of them all."""
    everything = pair_scores(pairs)
    truth = llava_bench.TASK.aggregate(everything)["all"]
    rng = np.random.default_rng(0)
    held = 0
    for run in range(runs):
        drawn = [everything[at] for at in rng.integers(0, len(everything), size)]
        named = [replace(one, item=replace(one.item, id=str(at), group=str(at))) for at, one in enumerate(drawn)]
        found = intervals(llava_bench.TASK, named, seed=run, resamples=600)["all"]
        held += found.low <= truth <= found.high
    return held / runs


@pytest.mark.skipif(not REVIEW.is_file(), reason="the review file is not beside the checkout")
def test_the_interval_covers_the_truth_on_the_real_review() -> None:
    pairs = [tuple(json.loads(line)["tuple"]) for line in REVIEW.read_text().splitlines()]
    assert 0.93 <= coverage(pairs, 1000, 60) <= 0.97


def test_the_interval_covers_the_truth_on_made_up_pairs() -> None:
    assert 0.91 <= coverage(drawn_pairs(400), 300, 80) <= 0.99


def test_whole_groups_are_drawn() -> None:
    """Ten copies of an answer about one picture are no more evidence than one."""
    once = [right_or_wrong(Item(str(at), "", group=str(at)), float(at % 2), "Avg") for at in range(40)]
    copied = [replace(one, item=replace(one.item, id=f"{one.item.id}/{n}")) for one in once for n in range(10)]
    one, ten = (intervals(scienceqa.TASK, scores)["Avg"] for scores in (once, copied))
    assert (one.low, one.high) == pytest.approx((ten.low, ten.high))


def test_pairs_of_one_picture_stay_pairs() -> None:
    items = [
        Item(f"{at}/{n}", "", accepted=("yes",), kind="existence", group=str(at)) for at in range(20) for n in (0, 1)
    ]
    scores = [right_or_wrong(item, float(int(item.group) % 4 > 0), "existence") for item in items]
    found = intervals(mme.TASK, scores)
    assert found["existence"].value == pytest.approx(150)
    assert found["perception"].low < 150 < found["perception"].high


def test_a_difference_is_paired() -> None:
    """Two runs that find the same questions hard are told apart where unpaired intervals overlap widely."""
    pairs = drawn_pairs(60, seed=3)
    one, other = pair_scores(pairs), pair_scores([(a, b - 0.2) for a, b in pairs])
    alone, beside = (intervals(llava_bench.TASK, scores)["all"] for scores in (one, other))
    found = differences(llava_bench.TASK, one, other)["all"]
    assert alone.low < beside.high
    assert found.clear
    assert found.value == pytest.approx(alone.value - beside.value)
    assert found.needed is not None
    assert found.needed < found.groups


def test_a_difference_is_over_what_both_have() -> None:
    pairs = drawn_pairs(30)
    found = differences(llava_bench.TASK, pair_scores(pairs), pair_scores(pairs)[:20])["all"]
    assert (found.value, found.low, found.high, found.groups, found.needed) == (0, 0, 0, 20, None)
    assert not found.clear
    assert differences(llava_bench.TASK, pair_scores(pairs), []) == {}


def test_items_needed_is_the_textbooks() -> None:
    """Standard error 1 on 100 groups: a difference of 1 needs (1.96 + 0.84)² ≈ 7.85 times as many."""
    assert items_needed(Interval(1.0, 0, 0, 1.0), 100) == 785
    assert items_needed(Interval(10.0, 0, 0, 1.0), 100) == 8
    assert items_needed(Interval(0.0, 0, 0, 1.0), 100) is None


def test_noise_over_runs() -> None:
    found = noise([{"all": 72.8, "conv": 1.0}, {"all": 72.7}, {"all": 72.1}])
    assert found == {"all": (pytest.approx(72.533, abs=1e-3), pytest.approx(0.309, abs=1e-3))}


def test_nothing_to_resample() -> None:
    assert intervals(llava_bench.TASK, []) == {}
    same = intervals(llava_bench.TASK, pair_scores([(8, 4)] * 5))["all"]
    assert (same.value, same.low, same.high) == (50, 50, 50)
