"""Which samples are held out: by picture, by the seed, and by nothing else."""

from __future__ import annotations

import pytest

from seetell.config import apply_sets, load_recipe, shipped_recipes
from seetell.errors import ConfigError
from seetell.train.held_out import held_out, sample_keys
from seetell.train.recipe import Recipe
from seetell.types import Image

KEYS = [(f"pictures/{number}.jpg",) for number in range(2000)]


def test_a_share_of_the_pictures_with_all_their_samples() -> None:
    chosen = held_out(KEYS, 0.02, 0)
    assert 20 <= len(chosen) <= 60
    twice = [key for key in KEYS for _ in range(2)]
    assert held_out(twice, 0.02, 0) == sorted([2 * place for place in chosen] + [2 * place + 1 for place in chosen])
    assert held_out(KEYS, 0.0, 0) == []


def test_neither_order_nor_number_decides() -> None:
    chosen = {KEYS[place] for place in held_out(KEYS, 0.1, 7)}
    backwards = KEYS[::-1]
    assert {backwards[place] for place in held_out(backwards, 0.1, 7)} == chosen
    assert {KEYS[place] for place in held_out(KEYS[:500], 0.1, 7)} == chosen & set(KEYS[:500])
    assert {KEYS[place] for place in held_out(KEYS, 0.1, 8)} != chosen


def test_of_a_few_pictures_one_at_least() -> None:
    assert all(len(held_out(KEYS[:5], 0.001, seed)) == 1 for seed in range(20))


def test_a_sample_with_one_held_out_picture_is_held_out() -> None:
    (chosen,) = held_out(KEYS[:9], 0.0001, 0)
    other = (chosen + 1) % 9
    assert held_out([*KEYS[:9], (*KEYS[other], *KEYS[chosen]), KEYS[other]], 0.0001, 0) == [chosen, 9]


def test_a_picture_is_known_wherever_its_folder_lies() -> None:
    names = ("/here/train2017/1.jpg", "there/coco/train2017/1.jpg", "train2017/1.jpg")
    assert {sample_keys([Image(name)], b"") for name in names} == {("train2017/1.jpg",)}
    assert sample_keys([Image(data=b"one")], b"") != sample_keys([Image(data=b"two")], b"")
    assert sample_keys([], b"one") != sample_keys([], b"two")


def test_no_published_recipe_holds_anything_out() -> None:
    for name in shipped_recipes():
        recipe: Recipe = load_recipe(name)
        assert all(stage.held_out == 0.0 for stage in recipe.stages.values()), name


@pytest.mark.parametrize("share", ["1.0", "-0.1"])
def test_a_share_is_below_one(share: str) -> None:
    with pytest.raises(ConfigError, match="held_out is a share of the pictures"):
        apply_sets(load_recipe("finetune_yours"), [f"tune.held_out={share}"])
