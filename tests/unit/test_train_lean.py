"""AdamW in bfloat16: what is rounded by chance is right on average, moves where rounding would undo it, and repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seetell.train.checkpoint import Keeper, load_checkpoint
from seetell.train.lean import BLOCK, LeanAdamW, bfloat16_by_chance, eight_bits_by_chance, from_eight_bits
from seetell.train.log import Progress
from seetell.train.optimizer import build_optimizer, choose_what_learns
from seetell.train.ranks import Ranks
from seetell.train.recipe import Data, Stage
from tests.tiny_models import tiny_vlm

Moments = Literal["bfloat16", "8bit"]
BOTH: tuple[Moments, ...] = ("bfloat16", "8bit")


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lean(parameter: torch.nn.Parameter, moments: Moments, rate: float, decay: float = 0.0) -> LeanAdamW:
    return LeanAdamW([{"params": [parameter], "lr": rate, "weight_decay": decay}], (0.9, 0.999), 1e-8, moments, 0)


@pytest.mark.parametrize("moments", BOTH)
def test_a_rate_below_half_a_rounding_step_still_moves_the_mean(moments: Moments) -> None:
    """At 1.0 the next bfloat16 below is 0.0039 away: a step of 1e-4 to the nearest number is none."""
    ones = torch.ones(20_000, dtype=torch.bfloat16)
    nearest, ours = torch.nn.Parameter(ones.clone()), torch.nn.Parameter(ones.clone())
    plain, by_chance = torch.optim.AdamW([nearest], lr=1e-4, weight_decay=0.0), lean(ours, moments, 1e-4)
    for _ in range(20):
        nearest.grad, ours.grad = torch.ones_like(nearest), torch.ones_like(ours)
        plain.step()
        by_chance.step()
    assert torch.equal(nearest.detach(), ones)
    assert float(ours.detach().float().mean()) == pytest.approx(1 - 20 * 1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("moments", "decades", "allowed"), [("bfloat16", 4, 0.02), ("8bit", 1, 0.05), ("8bit", 4, 0.2)]
)
def test_it_goes_where_adamw_goes(moments: Moments, decades: int, allowed: float) -> None:
    """Float32 weights, so that only the moments are rounded; gradients of unlike sizes in one block."""
    draw = chance(1)
    start = torch.randn(8192, generator=draw)
    sizes = 10.0 ** (decades * (torch.rand(8192, generator=draw) - 1))
    exact, ours = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    reference, optimizer = torch.optim.AdamW([exact], lr=1e-2, weight_decay=0.1), lean(ours, moments, 1e-2, 0.1)
    for _ in range(50):
        gradient = sizes * (torch.randn(8192, generator=draw) + 0.5)
        exact.grad, ours.grad = gradient, gradient.clone()
        reference.step()
        optimizer.step()
    moved = exact.detach() - start
    assert float((ours.detach() - start - moved).norm() / moved.norm()) < allowed


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=2 * BLOCK + 3),
    st.booleans(),
    st.integers(0, 1000),
)
def test_eight_bits_are_one_of_the_two_neighbours(values: list[float], signed: bool, seed: int) -> None:
    numbers = torch.tensor(values, dtype=torch.float32)
    numbers = numbers if signed else numbers.abs()
    read = from_eight_bits(*eight_bits_by_chance(numbers, chance(seed), signed), signed)
    largest = torch.stack([block.abs().max() for block in numbers.split(BLOCK)]).repeat_interleave(BLOCK)[
        : len(numbers)
    ]
    # A step of the grid: a seventieth of the largest number in its own decade, a decade's whole width at the bottom.
    step = 0.0142 * largest.maximum(torch.tensor(1e-30)) + 0.5 * numbers.abs()
    assert bool(((read - numbers).abs() <= step).all())
    assert bool((read.abs() <= largest * (1 + 1e-6)).all())
    if not signed:
        assert bool((read[numbers > largest * 1e-30] > 0).all())


def test_rounding_by_chance_is_right_on_average() -> None:
    number = torch.full((200_000,), 1.0 + 1e-3)  # a quarter of the way to the next bfloat16
    rounded = bfloat16_by_chance(number, chance()).float()
    assert set(rounded.unique().tolist()) == {1.0, 1.0078125}
    assert float(rounded.mean()) == pytest.approx(1.0 + 1e-3, abs=3e-5)
    blocks = torch.full((2000, BLOCK), 0.0123)
    blocks[:, 0] = 1.0
    read = from_eight_bits(*eight_bits_by_chance(blocks.flatten(), chance(), True), True)
    assert float(read.view(2000, BLOCK)[:, 1:].mean()) == pytest.approx(0.0123, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["adamw-bf16", "adamw-8bit"])
def test_from_a_checkpoint_it_goes_on_to_the_same_bits(
    tmp_path: Path, optimizer: Literal["adamw-bf16", "adamw-8bit"]
) -> None:
    rates = {"connector": 1e-3, "language": 1e-3}
    stage = Stage(data=(Data("unused"),), lr=rates, samples_per_step=1, optimizer=optimizer)

    def fresh(seed: int):
        model = tiny_vlm(seed=seed).bfloat16()
        choose_what_learns(model, stage)
        return model, build_optimizer(model, stage, seed=5)

    def step(model, moving, number: int) -> None:
        draw = chance(number)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.randn(parameter.shape, generator=draw).bfloat16()
        moving.step()

    one, other = fresh(0), fresh(7)
    step(*one, 0)
    step(*one, 1)
    keeper = Keeper(tmp_path, *one, Ranks(torch.device("cpu")))
    keeper.save(Progress(step=2))
    keeper.finish()
    assert {path.suffix for path in (tmp_path / "step-00000002").iterdir()} == {".safetensors", ".json"}
    assert load_checkpoint(tmp_path, *other, Ranks(torch.device("cpu"))) == Progress(step=2)
    step(*one, 2)
    step(*other, 2)
    kinds = {value.dtype for state in one[1].state.values() for value in state.values()}
    assert (torch.uint8 in kinds) == (optimizer == "adamw-8bit")
    for name, parameter in one[0].named_parameters():
        assert not parameter.requires_grad or torch.equal(parameter, other[0].get_parameter(name)), name
