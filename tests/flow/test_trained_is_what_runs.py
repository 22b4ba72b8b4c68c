"""What is trained is what runs: types, over optimizers, LoRA, bits and shards; and how long a model lives.

The tiny decoder's queries and keys are made steep, so that its attention turns on positions: rotary frequencies that
are 0.4 % off change the logits at 2,000 positions by 9 % of the largest, eleven times what bfloat16 products do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from seetell.config import apply_sets
from seetell.model.adapter import load_any
from seetell.model.vlm import VLM
from seetell.train.ranks import Ranks
from seetell.train.recipe import Model, Recipe
from seetell.train.run import train
from tests.tiny import tiny_data, tiny_parts, tiny_recipe
from tests.tiny_ranks import on_ranks

POSITIONS = 2000
CLOSE = 1e-3  # of the largest logit: a tenth of what bfloat16 products alone do (0.008 to 0.020); measured: 0

Seen = tuple[dict[str, torch.dtype], Tensor]

HALF = "tune.precision=bfloat16"
ALONE = [
    (f"tune.optimizer={optimizer}", HALF, *lora)
    for optimizer, lora in product(
        ("adamw", "adamw-bf16", "adamw-8bit"),
        ((), *(("tune.lora.rank=4", "tune.lora.alpha=8", f"tune.lora.bits={bits}") for bits in (16, 8, 4))),
    )
]
SHARDED = [(HALF,), ("tune.optimizer=adamw-bf16",), (HALF, "connector alone", "tune.sharding=shard")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    _, language = tiny_parts(root)
    decoder = LlamaForCausalLM.from_pretrained(language, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in decoder.named_parameters():
            weight.mul_(15.0 if "q_proj" in name or "k_proj" in name else 1.0)
    decoder.save_pretrained(language)
    tiny_data(root, 8)
    return root


@pytest.fixture(scope="module")
def start(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny_recipe(world), tmp_path_factory.mktemp("run"), device="cpu", stages=("align",))


def tuning(world: Path, start: Path, sets: Sequence[str]) -> Recipe:
    recipe = tiny_recipe(world)
    assert recipe.tune is not None
    tune = replace(recipe.tune, lr={"connector": 1e-3}) if "connector alone" in sets else recipe.tune
    recipe = Recipe(Model(start=str(start)), tune=replace(tune, epochs=1))
    return apply_sets(recipe, [text for text in sets if "=" in text])


@torch.no_grad()
def logits(model: VLM) -> Tensor:
    """[POSITIONS, vocabulary] of one document."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 200, (POSITIONS,), generator=generator)
    return model.logits(model(ids, torch.arange(POSITIONS), [POSITIONS])).float()


def trained(ranks: Ranks, recipe: Recipe, out: Path) -> Seen:
    """The types of the model's buffers in training, and its logits behind the last step."""
    seen: list[Seen] = []

    def watch(_step: int, model: VLM, _processor: object) -> dict[str, float]:
        seen.append(({name: buffer.dtype for name, buffer in model.named_buffers()}, logits(model)))
        return {}

    train(recipe, out, device="cpu", observers=[watch], observe_every=100)
    return seen[-1] if ranks.main else ({}, torch.zeros(0))


def all_trained(ranks: Ranks, recipes: list[Recipe], out: Path) -> list[Seen]:
    return [trained(ranks, recipe, out / str(number)) for number, recipe in enumerate(recipes)]


def assert_the_same_runs(seen: Seen, recipe: Recipe, folder: Path) -> None:
    """Loaded as it computed in training, the saved model gives the same logits, and its buffers have the same types."""
    kinds, in_training = seen
    stage = recipe.tune
    assert stage is not None
    half = stage.optimizer != "adamw" or stage.precision == "bfloat16"
    loaded = load_any(folder, torch.bfloat16 if stage.lora else None)
    assert kinds == {name: buffer.dtype for name, buffer in loaded.named_buffers()}
    assert not set(kinds.values()) & {torch.bfloat16, torch.float16}
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        after = logits(loaded)
    assert (in_training - after).abs().max() <= CLOSE * after.abs().max()


@pytest.mark.parametrize("sets", ALONE, ids=" ".join)
def test_what_was_trained_is_what_is_loaded(world: Path, start: Path, tmp_path: Path, sets: Sequence[str]) -> None:
    if {"tune.lora.bits=8", "tune.lora.bits=4"} & set(sets):
        pytest.importorskip("bitsandbytes")
    recipe = tuning(world, start, sets)
    seen = trained(Ranks(torch.device("cpu")), recipe, tmp_path / "out")
    assert_the_same_runs(seen, recipe, tmp_path / "out" / "model")


def test_what_was_trained_in_shards_is_what_is_loaded(world: Path, start: Path, tmp_path: Path) -> None:
    recipes = [tuning(world, start, sets) for sets in SHARDED]
    for number, (recipe, seen) in enumerate(zip(recipes, on_ranks(2, all_trained, recipes, tmp_path)[0], strict=True)):
        assert_the_same_runs(seen, recipe, tmp_path / str(number) / "model")
