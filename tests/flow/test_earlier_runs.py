"""A run that an earlier version began, and a model to start from that is named by its run: what the record compares."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from seetell.errors import UsageError
from seetell.files import read_json, write_json
from seetell.model import self_check
from seetell.train import computing
from seetell.train.loop import Watch
from seetell.train.ranks import Ranks
from seetell.train.recipe import Model, Recipe
from seetell.train.record import check_parts, open_record, part_folders
from seetell.train.run import _Run
from tests.tiny import tiny_parts, tiny_recipe
from tests.tiny_folders import change_json, write_run
from tests.tiny_models import tiny_vlm
from tests.tiny_ranks import on_ranks


def begun(recipe: Recipe, out: Path) -> None:
    open_record(recipe, out, "cpu", 1)
    (out / "checkpoints" / "tune" / "step-00000001").mkdir(parents=True)


def tuned(world: Path, start: Path) -> Recipe:
    return Recipe(Model(start=str(start)), tune=tiny_recipe(world).stages["tune"])


def test_a_run_whose_recipe_has_fewer_fields_goes_on(tmp_path: Path) -> None:
    recipe, out = tuned(tmp_path, tmp_path / "start"), tmp_path / "out"
    out.mkdir()
    begun(recipe, out)
    written = read_json(out / "recipe.json")
    written["model"] |= {"connector": "mlp2", "feature_layer": -2, "keep_cls": False}
    del written["tune"]["memory"]
    write_json(out / "recipe.json", written)
    run = read_json(out / "run.json")
    del run["date"]
    write_json(out / "run.json", run)
    assert open_record(recipe, out, "cpu", 1).device == "cpu"
    written["tune"]["lr"] = {"connector": 1.0}
    write_json(out / "recipe.json", written)
    with pytest.raises(UsageError, match=r"Changed: tune\.lr"):
        open_record(recipe, out, "cpu", 1)


def test_a_start_named_by_its_run_is_that_runs_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, out = write_run(tmp_path / "run", tmp_path / "parts"), tmp_path / "out"
    out.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    for start in (run, run / "model", Path("~/run")):
        assert part_folders(Model(start=str(start))) == {"start": run / "model"}
    recipe = tuned(tmp_path, run)
    record = open_record(recipe, out, "cpu", 1)
    change_json(run / "run.json", more="of what was beside the model")
    check_parts(record, out, recipe.model)
    (run / "model" / "config.json").write_text(json.dumps(read_json(run / "model" / "config.json")) + " ")
    with pytest.raises(UsageError, match=r"Changed: parts\.start"):
        check_parts(record, out, recipe.model)


def test_a_cache_of_another_user_only_means_another_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuses)
    monkeypatch.setattr(Path, "mkdir", refuses)
    vlm = tiny_vlm()
    assert self_check.check_model(vlm) is vlm


def choice(ranks: Ranks, world: str) -> dict[str, dict[str, str]]:
    """What this rank computes by, on a machine whose second rank has less memory than the first."""
    recipe, out = replace(tiny_recipe(Path(world)), align=None), Path(world)
    room = 1e15 if ranks.main else 1.0
    computing.memory_of_each = lambda *_: room
    record = ranks.on_main(lambda: open_record(recipe, out, "cpu", ranks.count))
    run = _Run(recipe, out, record, Watch(out, 600.0, (), 0, lambda: False), ranks)
    run.start("tune")
    return run.record.chosen


def test_ranks_with_unlike_memory_compute_by_one_choice(tmp_path: Path) -> None:
    tiny_parts(tmp_path)
    first, second = on_ranks(2, choice, str(tmp_path))
    assert first == second
    assert first == read_json(tmp_path / "run.json")["chosen"]
