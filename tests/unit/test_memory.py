"""Memory that is planned is memory that is used: against counted bytes, and what is chosen and refused by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, CLIPVisionConfig, LlamaConfig
from transformers.initialization import no_init_weights

from benchmarks.family_cases import decoder_cases, join, tiny_decoder, tiny_tower
from benchmarks.memory_counted import LORA, WITHIN, Way, counted
from seetell.errors import UsageError
from seetell.model.connector import build_connector
from seetell.model.vlm import VLM
from seetell.train import computing, room
from seetell.train.activations import Rehearsal
from seetell.train.computing import choose_computing, choose_for_memory
from seetell.train.estimate import (
    Setting,
    arranged,
    fits,
    fullest,
    learning_parameters,
    memory,
    rehearsal_of,
    setting_of,
)
from seetell.train.gpus import GIB, GPUS
from seetell.train.lean import LeanAdamW
from seetell.train.machines import fit, offer
from seetell.train.ranks import Ranks
from seetell.train.recipe import Data, Lora, Stage
from seetell.train.room import check_room
from seetell.train.shapes import shapes_of
from seetell.train.storages import Storages
from seetell.train.work import Load
from tests.tiny_models import tiny_vlm
from tests.tiny_ranks import on_ranks

STAGE = Stage(data=(Data("unused"),), lr={"connector": 1e-4, "language": 1e-4}, samples_per_step=8)
HALF = replace(STAGE, precision="bfloat16")
FULL = Load(tokens=8192, slots=8192, pairs=8192 * 400, targets=1000, target_pairs=400_000, pictures=8, seen=8)
ROOM = 80 * GIB


def seven_billion() -> VLM:
    """LLaVA-1.5 7B without its weights."""
    vision = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=336,
        patch_size=14,
    )  # fmt: skip
    language = LlamaConfig(vocab_size=32064, max_position_embeddings=4096)
    with torch.device("meta"), no_init_weights():
        parts = (
            AutoModel.from_config(vision),
            build_connector("mlp2", 1024, 4096),
            AutoModelForCausalLM.from_config(language),
        )
    return VLM(*parts, image_id=32000, pixel_mean=(0.5, 0.5, 0.5), pixel_std=(0.25, 0.25, 0.25))


@pytest.mark.parametrize(
    "way",
    [
        Way("align", replace(STAGE, lr={"connector": 1e-3}), passes=2),
        Way("full", STAGE),
        Way("full, bfloat16, recomputed", HALF, checkpointing="full", passes=2),
        Way("full, bfloat16, partly recomputed", HALF, checkpointing="selective"),
        Way("lora with dropout", replace(STAGE, lora=LORA)),
        Way("lora with dropout, bfloat16, recomputed", replace(HALF, lora=LORA), checkpointing="full"),
        Way("8 bits", replace(STAGE, optimizer="adamw-8bit")),
        Way("8 bits, recomputed", replace(STAGE, optimizer="adamw-8bit"), checkpointing="full"),
    ],
    ids=lambda way: way.name,
)
def test_memory_is_what_is_counted_in_a_step(way: Way) -> None:
    parts, foretold = counted(Ranks(torch.device("cpu")), way, layers=4, documents=4)
    assert foretold.counted == pytest.approx(parts["counted"], rel=WITHIN)


SHARED = [
    Way("full", STAGE, 2),
    Way("full", STAGE, 2, roomy=True, passes=2),
    Way("8 bits", replace(STAGE, optimizer="adamw-8bit"), 2),
]


def counted_all(ranks: Ranks, ways: list[Way]) -> list[Any]:
    return [counted(ranks, way, layers=4, documents=4) for way in ways]


def test_memory_of_two_ranks_is_what_is_counted_in_a_step() -> None:
    """Shards, roomy shards, and the whole model on each."""
    for way, (parts, foretold) in zip(SHARED, on_ranks(2, counted_all, SHARED)[0], strict=True):
        assert foretold.counted == pytest.approx(parts["counted"], rel=WITHIN), way


@pytest.mark.parametrize(("moments", "bytes_each"), [("bfloat16", 32.0), ("8bit", 77.0)])
def test_what_lean_optimizers_hold_while_they_move_a_weight(moments: Any, bytes_each: float) -> None:
    weight = torch.nn.Parameter(torch.ones(256, 1024, dtype=torch.bfloat16))
    weight.grad = torch.ones_like(weight)
    optimizer = LeanAdamW([{"params": [weight], "lr": 1e-3, "weight_decay": 0.0}], (0.9, 0.999), 1e-8, moments, 0)
    optimizer.step()
    with Storages() as storages:
        storages.add([weight, weight.grad, list(optimizer.state.values())])
        before = storages.next_moment()
        optimizer.step()
    assert (storages.peak - before) / weight.numel() == pytest.approx(bytes_each, rel=0.01)


def test_the_flagship_run_is_not_roomy_and_fits() -> None:
    """7B on 8 cards of 80 GB: roomy shards would need about all of it, which 0.6 of memory did not see."""
    vlm = seven_billion()
    shapes, rehearsal = shapes_of(vlm), rehearsal_of(HALF, vlm, "bfloat16", on_gpu=True)
    full = fullest(HALF, shapes)
    setting = replace(setting_of(HALF, "bfloat16", on_gpu=True, compiled=True), ranks=8, sharded=True)
    found = arranged(shapes, rehearsal, full, setting, ROOM)
    assert not found.roomy
    assert fits(memory(shapes, rehearsal, full, found), ROOM)
    roomy = memory(shapes, rehearsal, full, replace(found, roomy=True))
    assert roomy.peak == pytest.approx(81.6 * GIB, rel=0.15)
    assert roomy.gathered == pytest.approx(shapes.language_parameters * 2, rel=0.2)
    assert roomy.gradients == pytest.approx(shapes.language_parameters * 4, rel=0.01)
    assert arranged(shapes, rehearsal, full, setting, 2 * ROOM).roomy


def test_dropout_is_counted_with_the_inputs_that_it_copies() -> None:
    vlm = tiny_vlm()
    held = [
        Rehearsal(vlm, replace(STAGE, lora=Lora(rank=2, dropout=dropout)), "bfloat16", True).held(FULL, "off", True)
        for dropout in (0.0, 0.05)
    ]
    width, inner = vlm.language.config.hidden_size, vlm.language.config.intermediate_size  # pyright: ignore
    assert held[1].backward >= held[0].backward + FULL.slots * (6 * width + inner)  # a mask of a byte for each input


def test_recomputation_holds_less_and_the_least_that_fits_is_chosen() -> None:
    vlm = tiny_vlm()
    shapes, rehearsal = replace(shapes_of(vlm), layers=32), rehearsal_of(HALF, vlm, "bfloat16", on_gpu=True)
    setting = Setting(("connector", "language"), "bfloat16", on_gpu=True)
    choices = ("off", "selective", "full")
    needs = [memory(shapes, rehearsal, FULL, replace(setting, checkpointing=one)).peak for one in choices]
    assert needs == sorted(needs, reverse=True)

    def chosen(room_bytes: float, **changes: Any) -> str:
        return arranged(shapes, rehearsal, FULL, replace(setting, **changes), room_bytes).checkpointing

    assert [chosen(need / 0.9 + 1) for need in needs] == list(choices)
    assert chosen(0) == "full"
    assert chosen(0, learns=("connector",)) == "off"


def test_memory_falls_with_ranks_that_share_weights_with_lora_and_with_lean_optimizers() -> None:
    vlm = tiny_vlm()
    shapes, rehearsal = shapes_of(vlm), rehearsal_of(HALF, vlm, "bfloat16", on_gpu=True)
    plain = Setting(("connector", "language"), "bfloat16", on_gpu=True)
    whole = memory(shapes, rehearsal, FULL, plain)
    assert memory(shapes, rehearsal, FULL, replace(plain, ranks=8, sharded=True)).optimizer < whole.optimizer / 4
    assert memory(shapes, rehearsal, FULL, replace(plain, optimizer="adamw-8bit")).optimizer < whole.optimizer / 3
    lora = replace(plain, lora_rank=2)
    assert memory(shapes, rehearsal, FULL, lora).optimizer < whole.optimizer
    assert learning_parameters(shapes, lora) < learning_parameters(shapes, plain)
    assert learning_parameters(shapes, plain) == shapes.language_parameters + shapes.connector_parameters


def test_a_model_too_large_for_one_is_spread_over_as_many_as_hold_it() -> None:
    vlm = tiny_vlm()
    shapes, rehearsal = shapes_of(vlm), rehearsal_of(HALF, vlm, "bfloat16", on_gpu=True)
    shapes = replace(shapes, language_parameters=7 * 10**9, layers=32, block_matrices=21 * 10**7)
    setting = Setting(("connector", "language"), "bfloat16", on_gpu=True)
    spread = offer("H100 80 GB", GPUS["H100 80 GB"], shapes, rehearsal, (FULL,), FULL, setting, FULL)
    assert spread.fit.count == 2
    assert spread.fit.setting.sharded
    many = offer("H100 80 GB", GPUS["H100 80 GB"], shapes, rehearsal, (FULL,), FULL, setting, FULL, count=8)
    assert many.hours == pytest.approx(spread.hours / 4)
    assert many.cost == pytest.approx(spread.cost)
    assert fit(shapes, rehearsal, (FULL,), setting, 10**6, FULL).count == 0


def test_what_memory_decides_is_chosen_for_the_ranks_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same recorded choice on fewer ranks, each of which then holds more."""
    vlm, device = seven_billion(), torch.device("cpu")
    monkeypatch.setattr(computing, "memory_of_each", lambda *_: 64 * GIB)
    stage = replace(HALF, micro_tokens=2048)
    many = choose_computing(stage, vlm, device, 64)
    few = many | choose_for_memory(stage, vlm, device, 4, many)
    assert (many["checkpointing"], many["roomy"]) != (few["checkpointing"], few["roomy"])
    assert few["roomy"] == "off"


def test_a_stage_that_cannot_fit_is_refused_with_settings_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """adamw on a 7B and one card of 80 GB."""
    vlm, device = seven_billion(), torch.device("cpu")
    monkeypatch.setattr(room, "memory_of_each", lambda *_: 79 * GIB)
    chosen = {"precision": "bfloat16", "checkpointing": "full", "compile": "off", "roomy": "off"}
    with pytest.raises(UsageError) as refusal:
        check_room("tune", HALF, vlm, chosen, device, 1, can_lora=True)
    said = str(refusal.value)
    assert "tune needs 1" in said
    assert "79.0 GiB are there" in said
    assert said.count("GiB);") == 2, "three settings"
    assert "--set tune.optimizer=adamw-8bit (" in said
    assert "--set tune.lora.rank=128 (" in said
    check_room("tune", replace(HALF, optimizer="adamw-8bit"), vlm, chosen, device, 1)
    check_room("tune", replace(HALF, memory="trust"), vlm, chosen, device, 1)


@pytest.mark.parametrize("family", ["mixtral", "jetmoe", "gpt2", "gemma3_text", "llama (dynamic)"])
def test_every_family_is_foretold(family: str) -> None:
    """A mixture of experts, one that looks at numbers, one whose blocks are not found, windows, and frequencies that
    depend on positions."""
    case = next(case for case in decoder_cases() if case.name == family)
    vlm = join(tiny_tower(), tiny_decoder(case))
    shapes, load = shapes_of(vlm), Load(tokens=256, slots=256, targets=9, pictures=1)
    for checkpointing in ("off", "selective"):
        for stage in (STAGE, HALF):
            setting = setting_of(stage, stage.precision, True, checkpointing)
            assert memory(shapes, rehearsal_of(stage, vlm, stage.precision, True), load, setting).activations > 0
