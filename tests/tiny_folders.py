"""Every kind of folder that a model may lie in, made without training, for tests of whoever opens one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from seetell.config import freeze
from seetell.encode.processor import Processor
from seetell.files import write_json, write_manifest
from seetell.model.adapter import add_lora, load_whole, lora_parameters, save_adapter
from seetell.model.vlm import VLM
from seetell.model.weights import save_model
from seetell.train.start import stage_processor, start_model
from tests.tiny import tiny_parts, tiny_recipe


def write_whole(folder: Path, world: Path) -> Path:
    """A model of seetell's own, of random parts that are made in `world`."""
    tiny_parts(world)
    recipe = tiny_recipe(world)
    vlm = start_model(recipe)
    assert recipe.tune is not None
    return _written(folder, vlm, stage_processor(recipe.model, recipe.tune, vlm))


def _written(folder: Path, vlm: VLM, processor: Processor) -> Path:
    folder.mkdir()
    save_model(vlm, folder, stop_ids=sorted(processor.stop_ids))
    processor.save(folder)
    write_manifest(folder)
    return folder


def write_adapter(folder: Path, base: Path, seed: int = 0) -> Path:
    """An adapter whose matrices all say something, over the model in `base`."""
    vlm = add_lora(load_whole(base), rank=2, alpha=4, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for name, matrix in lora_parameters(vlm).items():
        if ".lora_B." in name:
            matrix.data = 0.2 * torch.randn(matrix.shape, generator=generator)
    folder.mkdir()
    Processor.load(base).save(folder)
    save_adapter(vlm, folder, base, bits=16)
    write_manifest(folder)
    return folder


def write_run(folder: Path, world: Path, *, finished: bool = True) -> Path:
    """A run's folder with its model, or with what it was aligned to."""
    folder.mkdir()
    write_json(folder / "recipe.json", freeze(tiny_recipe(world)))
    write_json(folder / "run.json", {})
    write_whole(folder / ("model" if finished else "aligned"), world)
    return folder


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
