"""The speed benchmark at a size that takes seconds: all systems compute the same, and each change saves work."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import pytest
import torch

from benchmarks import train_speed
from benchmarks.systems.huggingface import hf_tuned as tuned
from benchmarks.systems.measure import necessary_flops
from benchmarks.systems.replica import EvenParts
from benchmarks.systems.rows import make_rows
from benchmarks.systems.sizes import Size, build_llava

pytest.importorskip("accelerate")

SMALL = Size("llama", 2, 48, 4, 2, 96, 500, 3, 24, 2, 32, 8, (32, 32))


def measured(*arguments: str) -> dict[str, Any]:
    options = train_speed.parse(["--rounds", "1", "--steps", "1", "--gemm-side", "64", *arguments])
    return cast(dict[str, Any], train_speed.measure(options, SMALL))


@pytest.mark.parametrize("stage", ["1", "2"])
def test_every_system_gives_the_same_loss_and_gradient_and_is_timed(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_speed, "hf_tuned", lambda *given: tuned(*given, micro_batches=(4,), compiling=(False,)))
    told = measured("--stage", stage)
    assert max(told["parity"].values()) <= 1e-5
    assert list(told["systems"]) == list(train_speed.NAMES)
    for one in told["systems"].values():
        assert one["samples_per_s"] > 0
        assert 0 <= one["data_wait_share"] < 1
    assert len(train_speed.table(told)) == 2 + len(train_speed.NAMES)


@pytest.mark.parametrize("stage", [1, 2])
def test_each_rung_of_the_ladder_counts_fewer_flops(stage: int) -> None:
    told = measured("--stage", str(stage), "--ladder", "--compile", "off")
    counts = [one["flops_per_sample_counted"] for one in told["systems"].values()]
    padded, packed = counts[:2], counts[2:]  # so few rows may lose more to rounding up to 128 than padding takes
    for rungs in (padded, packed):
        assert all(before > after for before, after in pairwise(rungs))
    assert packed[-1] < padded[-1] < padded[0]
    assert max(told["parity"].values()) <= 1e-5


def test_a_system_that_computes_something_else_is_not_timed() -> None:
    rows = make_rows(SMALL, 1, 8)
    right, wrong = (build_llava(SMALL, torch.device("cpu"), torch.float32, 1, seed) for seed in (0, 1))
    systems = {
        name: train_speed.build(name, llava, SMALL, 1, rows, {})
        for name, llava in (("ours", right), ("hf-plain", wrong))
    }
    with pytest.raises(SystemExit, match="hf-plain does not compute what ours computes"):
        train_speed.check_parity(systems, rows, exact=True)


def test_llavas_order_deals_long_and_short_rows_to_every_part() -> None:
    lengths = [*range(1, 25), *(-length for length in range(1, 9))]
    order = list(EvenParts(lengths, micro_batch=4, parts=2))
    assert sorted(order) == list(range(32))
    first = [abs(lengths[row]) for row in order[:8]]
    assert abs(sum(first[:4]) - sum(first[4:])) <= sum(first) // 10
    assert max(first[:4]) - min(first[:4]) > 3


def test_what_is_necessary_grows_with_what_learns() -> None:
    rows = make_rows(SMALL, 2, 8)
    assert necessary_flops(SMALL, 2, rows) > necessary_flops(SMALL, 1, rows) > 0
