"""Sampling: greedy takes the best, top-p keeps the fewest likeliest, and a row's chance is its own."""

from __future__ import annotations

import pytest
import torch

from seetell.errors import UsageError
from seetell.infer.sampling import Sampling, choose, draw, new_generator

LOGITS = torch.log(torch.tensor([0.1, 0.5, 0.15, 0.25]))


def test_greedy_takes_the_best_of_each_row() -> None:
    logits = torch.stack([LOGITS, LOGITS.flip(0)])
    assert choose(logits, [Sampling()] * 2, [new_generator(0)] * 2) == [1, 2]


@pytest.mark.parametrize(("top_p", "kept"), [(1.0, {0, 1, 2, 3}), (0.76, {1, 2, 3}), (0.7, {1, 3}), (0.01, {1})])
def test_top_p_keeps_the_fewest_that_reach_it(top_p: float, kept: set[int]) -> None:
    generator = new_generator(1)
    assert {draw(LOGITS, Sampling(temperature=1.0, top_p=top_p), generator) for _ in range(200)} == kept


def test_draws_follow_the_probabilities() -> None:
    generator = new_generator(2)
    drawn = torch.tensor([draw(LOGITS, Sampling(temperature=1.0), generator) for _ in range(4000)])
    assert torch.allclose(drawn.bincount(minlength=4) / 4000, LOGITS.exp(), atol=0.03)


def test_a_low_temperature_is_nearly_greedy() -> None:
    generator = new_generator(3)
    assert {draw(LOGITS, Sampling(temperature=0.02), generator) for _ in range(50)} == {1}


def test_a_row_draws_the_same_beside_any_neighbour() -> None:
    wishes = [Sampling(temperature=1.0, seed=seed) for seed in range(6)]
    logits = torch.randn(6, 50, generator=new_generator(9))
    together = choose(logits, wishes, [new_generator(wish.seed) for wish in wishes])
    alone = [choose(logits[row : row + 1], [wish], [new_generator(wish.seed)])[0] for row, wish in enumerate(wishes)]
    assert together == alone


@pytest.mark.parametrize(
    "wish",
    [
        {"max_new_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"stop": ("",)},
    ],
)
def test_nonsense_is_refused(wish: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Sampling(**wish)  # pyright: ignore[reportArgumentType]
