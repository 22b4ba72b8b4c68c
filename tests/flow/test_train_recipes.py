"""Every shipped recipe, with tiny parts in place of the big ones: loaded, planned, and run two steps a stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from seetell.config import load_recipe, shipped_recipes
from seetell.files import read_json
from seetell.model.adapter import load_any
from seetell.train.recipe import Data, Model, Recipe, Stage
from seetell.train.run import train
from seetell.verbs.plan import plan
from tests.tiny import tiny_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("world"), 8)


def tiny_stage(stage: Stage | None, world: Path, name: str) -> Stage | None:
    """The stage as shipped, over tiny data, in two steps."""
    if stage is None:
        return None
    data = (Data(str(world / f"{name}.json"), images=str(world / "pictures")),)
    return replace(stage, data=data, samples_per_step=4, epochs=1)


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped(name: str, world: Path, tmp_path: Path) -> None:
    shipped = load_recipe(name)
    assert isinstance(shipped, Recipe)
    model = Model(str(world / "vision"), str(world / "language"), connector=shipped.model.connector)
    if shipped.model.start:  # it goes on from a finished model: make one first
        assert shipped.tune is not None
        first = Recipe(model, tune=tiny_stage(replace(shipped.tune, lora=None), world, "tune"), seed=1)
        model = Model(start=str(train(first, tmp_path / "first", device="cpu")))
    recipe = replace(
        shipped,
        model=model,
        align=tiny_stage(shipped.align, world, "align"),
        tune=tiny_stage(shipped.tune, world, "tune"),
    )
    planned = plan(recipe)
    assert {stage.name: (stage.counts.samples, stage.counts.steps) for stage in planned} == dict.fromkeys(
        recipe.stages, (8, 2)
    )
    folder = train(recipe, tmp_path / "out", device="cpu")
    report = read_json(tmp_path / "out" / "report.json")["stages"]
    assert {stage: report[stage]["step"] for stage in recipe.stages} == dict.fromkeys(recipe.stages, 2)
    connector = load_any(folder).connector
    assert sum(1 for _ in connector.children()) == (1 if recipe.model.connector == "linear" else 2)
