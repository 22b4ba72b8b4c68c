"""One config: a picture takes the same number of tokens for every verb, whatever the tower and what is kept of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    CLIPVisionConfig,
    Dinov2Config,
    IJepaConfig,
    PreTrainedConfig,
    SiglipVisionConfig,
    SwinConfig,
)

from seetell.encode.processor import Processor
from seetell.encode.tokenizer import load_tokenizer
from seetell.errors import BadInput, SeetellError, UsageError
from seetell.infer.loading import load
from seetell.model.config import ModelConfig
from seetell.model.weights import load_model, save_model
from seetell.train.data import read_samples
from seetell.train.outline import outline
from seetell.train.pace import Pace
from seetell.train.recipe import Model, Recipe
from seetell.train.start import planning_processor, stage_processor, start_model
from seetell.verbs.plan import plan
from seetell.verbs.show import show
from tests.tiny import PATCH_PX, SIDE_PX, tiny_recipe, tiny_world

PATCHES = (SIDE_PX // PATCH_PX) ** 2
SIZE: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE_PX, "patch_size": PATCH_PX,
}  # fmt: skip
TOWERS: dict[str, PreTrainedConfig] = {
    "clip": CLIPVisionConfig(**SIZE, intermediate_size=32),
    "siglip": SiglipVisionConfig(**SIZE, intermediate_size=32),
    "with-cls": Dinov2Config(**SIZE, mlp_ratio=2),
    "without-cls": IJepaConfig(**SIZE, intermediate_size=32),
}
HAS_CLS = {"clip", "with-cls"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tiny_world(tmp_path_factory.mktemp("world"), 8)
    torch.manual_seed(0)
    for name, config in TOWERS.items():
        AutoModel.from_config(config).save_pretrained(root / name)
        shutil.copy(root / "vision" / "preprocessor_config.json", root / name)
    return root


def recipe_of(world: Path, tower: str, keep_cls: bool) -> Recipe:
    model = Model(str(world / tower), str(world / "language"), keep_cls=keep_cls)
    return replace(tiny_recipe(world), model=model, align=None)


@pytest.mark.parametrize(
    ("tower", "keep_cls"), [(tower, keep) for tower in TOWERS for keep in (False, True) if tower in HAS_CLS or not keep]
)
def test_every_verb_counts_the_same_image_tokens(
    world: Path,
    tower: str,
    keep_cls: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The seconds of a step are of no interest here, and take some.
    monkeypatch.setattr("seetell.forecast.stages.measure_pace", lambda *_: Pace(1e9, 1e9, 1e-9))
    recipe = recipe_of(world, tower, keep_cls)
    stage, tokenizer = recipe.tune, load_tokenizer(world / "language")
    assert stage is not None
    vlm = start_model(recipe)
    trained = stage_processor(recipe.model, stage, vlm)
    folder = tmp_path / "model"
    save_model(vlm, folder)
    trained.save(folder)
    from_folder = Model(start=str(folder))
    counted = {
        "see": vlm.see(torch.zeros(1, 3, SIDE_PX, SIDE_PX, dtype=torch.uint8)).shape[1],
        "train": trained.slots_per_image,
        "plan": planning_processor(recipe.model, stage).slots_per_image,
        "outline": outline(recipe.model, tokenizer).slots_per_image,
        "load": load_model(folder).slots_per_image,
        "chat": load(folder, device="cpu").engine.processor.slots_per_image,
        "train from folder": stage_processor(from_folder, stage, load_model(folder)).slots_per_image,
        "plan from folder": planning_processor(from_folder, stage).slots_per_image,
        "outline from folder": outline(from_folder, tokenizer).slots_per_image,
        "config": ModelConfig.from_folder(folder).image_tokens,
        "config.json": json.loads((folder / "config.json").read_text())["image_seq_length"],
    }
    assert set(counted.values()) == {PATCHES + keep_cls}, counted

    show(str(world / "tune.json"), template="vicuna-v1", model=str(folder))
    assert f"1 × {PATCHES + keep_cls} image tokens" in capsys.readouterr().out
    (planned,) = plan(replace(recipe, model=from_folder), device="cpu")
    assert planned.counts.tokens == sum(read_samples(stage, trained, 0, "tune").lengths)


@pytest.mark.parametrize("tower", sorted(TOWERS.keys() - HAS_CLS))
def test_a_tower_without_cls_has_none_to_keep(world: Path, tower: str) -> None:
    recipe = recipe_of(world, tower, keep_cls=True)
    assert recipe.tune is not None
    refused = r"has no CLS token to keep: leave keep_cls out"
    with pytest.raises(UsageError, match=refused):
        start_model(recipe)
    with pytest.raises(UsageError, match=refused):
        planning_processor(recipe.model, recipe.tune)


def test_a_tower_of_other_tokens_is_told_by_name() -> None:
    swin = SwinConfig(image_size=32, patch_size=4, embed_dim=12, depths=[1, 1], num_heads=[2, 2], window_size=4)
    clip = TOWERS["clip"]
    parts: dict[str, Any] = {
        "language": clip, "connector": "mlp2", "image_id": 1, "pixel_mean": (0, 0, 0), "pixel_std": (1, 1, 1)
    }  # fmt: skip
    with pytest.raises(UsageError, match="A swin tower has fewer tokens than patches"):
        _ = ModelConfig(vision=swin, **parts).drops_cls
    with pytest.raises(UsageError, match="says no single number for image_size"):
        _ = ModelConfig(vision=PreTrainedConfig(), **parts).image_tokens


def test_a_config_is_read_as_it_was_written_and_its_faults_are_told(world: Path, tmp_path: Path) -> None:
    for tower, keep_cls in (("siglip", False), ("with-cls", True)):
        written = start_model(recipe_of(world, tower, keep_cls)).config.to_json("float32")
        assert ModelConfig.from_json(written, tmp_path).to_json("float32") == written
    cases: list[tuple[dict[str, Any], str]] = [
        ({"vision_feature_select_strategy": "cls_patch"}, "selects the tower's tokens by 'cls_patch'"),
        ({"vision_feature_layer": 9}, "has 2 layers and no 9"),
        ({"connector": "mlp9"}, "a connector 'mlp9'"),
        ({"image_token_index": "many"}, "does not describe a model"),
    ]
    for change, told in cases:
        with pytest.raises(SeetellError, match=told) as refused:
            ModelConfig.from_json(written | change, tmp_path)
        assert isinstance(refused.value, BadInput)


def test_a_processor_has_the_very_constants_of_the_config(world: Path) -> None:
    recipe = recipe_of(world, "clip", keep_cls=False)
    assert recipe.tune is not None
    found: list[Processor] = [
        stage_processor(recipe.model, recipe.tune, start_model(recipe)),
        planning_processor(recipe.model, recipe.tune),
    ]
    given = json.loads((world / "clip" / "preprocessor_config.json").read_text())
    for processor in found:
        assert [*processor.image_processor.mean, *processor.image_processor.std] == [
            *given["image_mean"],
            *given["image_std"],
        ]
