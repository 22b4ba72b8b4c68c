"""Whole runs with less work in them: they end where the plain ones end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from seetell.errors import ConfigError
from seetell.files import read_json
from seetell.model.fp8 import can_multiply
from seetell.train.recipe import Data, Model, Recipe, Stage
from seetell.train.run import train
from tests.tiny import tiny_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tiny_world(tmp_path_factory.mktemp("world"), 8)
    for name in ("align", "tune"):  # three conversations about each picture
        rows = json.loads((root / f"{name}.json").read_text())
        asked = [
            json.loads(json.dumps(row).replace('"a ', f'"{n} a ').replace("colour", f"{n} colour"))
            for row in rows
            for n in range(3)
        ]
        (root / f"{name}.json").write_text(json.dumps([row | {"id": str(i)} for i, row in enumerate(asked)]))
    return root


def stage(world: Path, what: str) -> Stage:
    """All samples in one step."""
    return Stage(
        data=(Data(str(world / f"{what}.json"), images=str(world / "pictures")),),
        lr={"connector": 1e-3},
        samples_per_step=24,
        template="plain" if what == "align" else "vicuna-v1",
        image="square",
        micro_tokens=512,
    )


def trained(world: Path, recipe: Recipe, name: str) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    out = train(recipe, world / name, device="cpu")
    stages = read_json(world / name / "report.json")["stages"]
    return load_file(out / "model.safetensors"), stages[list(stages)[-1]]


def test_a_step_over_shared_pictures_is_the_step_over_copies(world: Path) -> None:
    model = Model(str(world / "vision"), str(world / "language"))
    tune = replace(stage(world, "tune"), lr={"connector": 1e-3, "language": 1e-3})
    plain, told = trained(world, Recipe(model, tune=tune), "plain")
    less = replace(tune, share_images=True, checkpointing="selective")
    shared, shared_told = trained(world, Recipe(model, tune=less), "shared")
    assert int(str(shared_told["tokens"])) < int(str(told["tokens"]))
    assert (told["checkpointing"], shared_told["checkpointing"]) == ("off", "selective")
    assert shared_told["samples"] == told["samples"] == 24
    assert shared_told["first_loss"] == pytest.approx(told["first_loss"], rel=1e-5)
    # Adam's first step is the sign of the gradient: where that is rounding alone, a weight may go either way.
    apart = {name: (plain[name] - shared[name]).abs() > 1e-5 for name in plain}
    assert sum(int(mask.sum()) for mask in apart.values()) <= 1e-2 * sum(mask.numel() for mask in apart.values())


@pytest.mark.skipif(bool(can_multiply(torch.device("cpu"))), reason="no 8-bit products here")
def test_a_stage_in_fp8_leaves_the_language_model_as_it_was(world: Path) -> None:
    model = Model(str(world / "vision"), str(world / "language"))
    plain, told = trained(world, Recipe(model, align=stage(world, "align")), "exact")
    rough, rough_told = trained(world, Recipe(model, align=replace(stage(world, "align"), fp8=True)), "fp8")
    assert rough_told["first_loss"] == pytest.approx(told["first_loss"], rel=0.05)
    assert rough_told["first_loss"] != told["first_loss"]
    frozen = [name for name in plain if not name.startswith("multi_modal_projector")]
    assert len(frozen) > 20
    assert all(torch.equal(plain[name], rough[name]) for name in frozen)


def test_fp8_is_for_what_is_frozen(world: Path) -> None:
    with pytest.raises(ConfigError, match="fp8 is for matrices that do not learn"):
        replace(stage(world, "tune"), lr={"language": 1e-3}, fp8=True)
