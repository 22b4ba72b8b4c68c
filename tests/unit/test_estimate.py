"""What a plan foretells of work: operations as torch counts them, and on how many ranks a stage is spread."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from seetell.encode.sample import Sample, pack
from seetell.train.computing import arrange
from seetell.train.estimate import setting_of
from seetell.train.loss import supervised_loss
from seetell.train.optimizer import choose_what_learns
from seetell.train.padding import padded_as_llava, padded_at_random
from seetell.train.pictures import MicroBatch
from seetell.train.plan import Plan
from seetell.train.ranks import Ranks
from seetell.train.recipe import Data, Lora, Stage
from seetell.train.shapes import shapes_of
from seetell.train.sharding import is_sharded
from seetell.train.work import flops, load_of
from tests.tiny_models import IMAGE_ID, SLOTS, tiny_pixels, tiny_vlm

LENGTHS, TARGETS = [40, 61, 27], [5, 9, 3]


def batch() -> MicroBatch:
    """Documents about one picture each, the last tokens of which are learnt."""
    samples = []
    for number, (length, learnt) in enumerate(zip(LENGTHS, TARGETS, strict=True)):
        ids = torch.full((length,), 7)
        ids[1 : 1 + SLOTS] = IMAGE_ID
        samples.append(Sample(str(number), ids, torch.arange(length) >= length - learnt, ("p",)))  # type: ignore[arg-type]
    return MicroBatch(pack(samples, list(tiny_pixels(len(samples)))))


@pytest.mark.parametrize("checkpointing", ["off", "full"])
@pytest.mark.parametrize("learns", [("connector",), ("connector", "language")])
def test_matrix_products_are_counted_as_torch_counts_them(learns, checkpointing) -> None:
    stage = Stage(data=(Data("unused"),), lr=dict.fromkeys(learns, 1e-3), samples_per_step=3)
    vlm = tiny_vlm()
    shapes = shapes_of(vlm)
    choose_what_learns(vlm, stage)
    arrange(vlm, {"checkpointing": checkpointing, "compile": "off"}, vlm.device)
    vlm.train()
    micro = batch()
    counter = FlopCounterMode(display=False)
    with counter:
        supervised_loss(vlm, micro).backward()
    named = {getattr(op, "__name__", str(op)): count for op, count in counter.get_flop_counts()["Global"].items()}
    products = sum(count for name, count in named.items() if "attention" not in name)
    plan = Plan(LENGTHS, 3, 1, 0, 1024)
    load = load_of(plan, [(0,), (1,), (2,)], TARGETS, [1, 1, 1])
    found = flops(shapes, load, learns, checkpointing)
    tower_attention = 2 * 3 * 2 * 2 * shapes.vision_tokens**2 * shapes.vision_width  # 2 layers are read
    ours = sum(part.executed for name, part in found.items() if name != "attention") - tower_attention
    assert ours == pytest.approx(products, rel=0.01)


def test_a_shared_prefix_is_one_load() -> None:
    alone = Plan([50, 60], 2, 1, 0, 1024)
    shared = replace(alone, groups=[0, 0], prefixes=[40, 40])
    apart, together = load_of(alone, [(0,), (1,)], [3, 3], [1, 1]), load_of(shared, [(0, 1)], [3, 3], [1, 1])
    assert (apart.tokens, together.tokens) == (110, 70)
    assert (apart.pictures, together.pictures) == (2, 1)
    assert together.pairs == apart.pairs - 40 * 41 // 2
    assert together.target_pairs == apart.target_pairs


@pytest.mark.parametrize(
    ("change", "shardings"),
    [
        ({}, (True,)),
        ({"sharding": "replicate"}, (False,)),
        ({"optimizer": "adamw-8bit"}, (False,)),
        ({"lora": Lora()}, (False,)),
        ({"lr": {"connector": 1e-3}}, (False, True)),
        ({"lr": {"connector": 1e-3}, "fp8": True}, (False,)),
        ({"lr": {"connector": 1e-3}, "sharding": "shard"}, (True,)),
    ],
)
def test_a_plan_spreads_a_stage_as_training_would(change: dict[str, Any], shardings: tuple[bool, ...]) -> None:
    stage = replace(Stage(data=(Data("unused"),), lr={"language": 1e-3}, samples_per_step=3), **change)
    assert setting_of(stage, "bfloat16", on_gpu=True).shardings == shardings
    one, two = (Ranks(torch.device("cpu"), count=count) for count in (1, 2))
    assert not is_sharded(stage, one)
    assert is_sharded(stage, two) == shardings[0]


def test_padding_costs_nothing_for_equal_rows_and_llavas_order_pads_long_and_short_together() -> None:
    assert padded_at_random([7] * 100, 0) == padded_as_llava([7] * 100, [True] * 100, 0) == 700
    mixed = [600, 2000] * 128
    slots = padded_as_llava(mixed, [True] * 256, 0)
    assert slots == 256 * 2000  # each rank gets long ones and short ones, and pads to the long
