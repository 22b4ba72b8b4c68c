"""Runs that hold pictures out: nothing learns from them, the loss on them is right, and measuring it changes no bit."""

from __future__ import annotations

import json
import os
import signal
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from seetell.config import apply_sets
from seetell.encode.processor import Processor
from seetell.errors import BadInput
from seetell.files import read_json, read_jsonl
from seetell.model.vlm import VLM
from seetell.model.weights import load_model
from seetell.train.data import Samples, read_samples
from seetell.train.held_out_loss import HeldOut, held_out_of
from seetell.train.loss import token_losses
from seetell.train.pictures import feed
from seetell.train.plan import Plan
from seetell.train.ranks import Ranks
from seetell.train.recipe import Recipe
from seetell.train.run import train
from seetell.train.start import planning_processor
from seetell.verbs.plan import plan
from tests.tiny import tiny_data, tiny_recipe, tiny_world
from tests.tiny_ranks import on_ranks

LOSS = "held_out_loss"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts, and 24 pictures with two rows about each."""
    root = tiny_world(tmp_path_factory.mktemp("world"), 24)
    rows = read_json(root / "tune.json")
    again = [{**row, "id": f"{row['id']}-again"} for row in rows]
    (root / "tune.json").write_text(json.dumps(rows + again))
    return root


def recipe_of(world: Path, *sets: str) -> Recipe:
    return apply_sets(replace(tiny_recipe(world), align=None), ["tune.held_out=0.2", *sets])


@pytest.fixture(scope="module")
def trained(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    train(recipe_of(world), out, device="cpu")
    return out


def samples_of(recipe: Recipe) -> Samples:
    assert recipe.tune is not None
    return read_samples(recipe.tune, planning_processor(recipe.model, recipe.tune), recipe.seed, "tune")


def measured(out: Path) -> dict[int, float]:
    return {row["step"]: row[LOSS] for row in read_jsonl(out / "metrics.jsonl") if LOSS in row}


def same_weights(one: Path, other: Path) -> bool:
    a, b = (load_file(out / "model" / "model.safetensors") for out in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_all_rows_of_a_picture_go_together_and_none_is_learned_from(world: Path) -> None:
    read = samples_of(recipe_of(world, "tune.data.0.times=3"))
    assert len(read.names) == 48
    by_picture: dict[str, set[bool]] = defaultdict(set)
    for number in range(len(read.names)):
        by_picture[read.images[number][0].path].add(number in read.held_out)
    assert len(by_picture) == 24
    assert all(len(sides) == 1 for sides in by_picture.values())
    assert set(read.held_out).isdisjoint(read.entries)
    assert len(read.entries) == 3 * (48 - len(read.held_out)) > 0
    assert samples_of(apply_sets(recipe_of(world), ["tune.held_out=0"])).entries == list(range(48))


def test_a_plan_counts_what_is_learned_from(world: Path) -> None:
    recipe = recipe_of(world)
    (stage,) = plan(recipe)
    held = len(samples_of(recipe).held_out)
    assert (stage.counts.samples, stage.counts.held_out) == (48 - held, held)
    assert stage.counts.steps == 2 * -(-(48 - held) // 8)


def test_the_loss_is_the_mean_over_supervised_tokens(world: Path, trained: Path) -> None:
    recipe = recipe_of(world)
    read, vlm, processor = samples_of(recipe), load_model(trained / "model"), Processor.load(trained / "model")
    shown = replace(read, entries=read.held_out)
    once = Plan(shown.lengths, len(shown.entries), 1, 0, 100 * 128)
    (step,) = feed(once, shown, processor.image_processor, None, 0)
    with torch.no_grad():
        expected = torch.cat([token_losses(vlm, micro) for micro in step.micro_batches]).mean()
    steps = measured(trained)
    assert max(steps) == read_json(trained / "report.json")["stages"]["tune"]["steps"]
    assert len(steps) > 1
    assert steps[max(steps)] == pytest.approx(float(expected), rel=1e-5)


def test_it_stands_beside_the_training_loss(trained: Path, capsys: pytest.CaptureFixture[str], world: Path) -> None:
    assert "held out" in (trained / "run.html").read_text(encoding="utf-8")
    assert (trained / "tensorboard" / "tune").is_dir()
    train(recipe_of(world, "tune.epochs=1"), trained.parent / "said", device="cpu")
    assert "held out; their loss is measured " in capsys.readouterr().err


@pytest.mark.parametrize("sets", [[], ["tune.cache_features=true"], ["tune.steps=packed", "tune.share_images=true"]])
def test_measuring_changes_no_bit_and_a_resumed_run_measures_the_same(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sets: list[str]
) -> None:
    recipe, seen = recipe_of(world, *sets), list[int]()

    def stop_at_three(step: int, *_: object) -> dict[str, float]:
        seen.append(step)
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return {}

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "stopped", device="cpu", observers=[stop_at_three], observe_every=1)
    train(recipe, tmp_path / "stopped", device="cpu")
    train(recipe, tmp_path / "undisturbed", device="cpu")
    assert seen == [1, 2, 3]
    assert measured(tmp_path / "stopped") == measured(tmp_path / "undisturbed")
    monkeypatch.setattr(HeldOut, "is_due", lambda *_: False)
    train(recipe, tmp_path / "unmeasured", device="cpu")
    assert not measured(tmp_path / "unmeasured")
    assert same_weights(tmp_path / "stopped", tmp_path / "unmeasured")
    assert same_weights(tmp_path / "undisturbed", tmp_path / "unmeasured")


def run_whole(_: Ranks, recipe: Recipe, out: Path, measures: bool = True) -> None:
    if not measures:
        pytest.MonkeyPatch().setattr(HeldOut, "is_due", lambda *_: False)
    train(recipe, out, device="cpu", checkpoint_every_s=0.0)


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_ranks_share_the_measuring(world: Path, trained: Path, tmp_path: Path, sharding: str) -> None:
    recipe = recipe_of(world, f"tune.sharding={sharding}")
    on_ranks(2, run_whole, recipe, tmp_path / "two")
    on_ranks(2, run_whole, recipe, tmp_path / "unmeasured", False)
    assert measured(tmp_path / "two") == pytest.approx(measured(trained), rel=1e-3)
    assert same_weights(tmp_path / "two", tmp_path / "unmeasured")


def test_a_held_out_picture_that_cannot_be_read_is_counted(world: Path, tmp_path: Path) -> None:
    tiny_data(tmp_path, 24)
    recipe = apply_sets(recipe_of(world), [f"tune.data={tmp_path / 'tune.json'}"])
    recipe = apply_sets(recipe, [f"tune.data.0.images={tmp_path / 'pictures'}", "tune.epochs=1"])
    read = samples_of(recipe)
    Path(read.images[read.held_out[0]][0].path).write_bytes(b"no picture")
    train(recipe, tmp_path / "out", device="cpu")
    assert [row["id"] for row in read_jsonl(tmp_path / "out" / "refused.jsonl")] == [read.names[read.held_out[0]]]
    assert measured(tmp_path / "out")


def test_a_share_that_leaves_nothing_is_told(world: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds out all 48 samples, and none is left to learn from"):
        train(recipe_of(world, "tune.held_out=0.999"), tmp_path, device="cpu")


def test_it_is_measured_rarely_enough_to_cost_little(world: Path) -> None:
    recipe = recipe_of(world)
    assert recipe.tune is not None
    read = samples_of(recipe)
    processor = planning_processor(recipe.model, recipe.tune)
    for epochs in (1, 2, 40):
        whole = Plan(read.lengths, 4, epochs, 0, 512)
        held = held_out_of(recipe.tune, read, whole, processor.image_processor, None)
        assert held is not None
        times = sum(held.is_due(step) for step in range(1, whole.steps + 1))
        assert min(4, whole.steps) <= times <= 21
        assert times <= 6 or held.cost <= 0.05
        assert held.is_due(whole.steps)


def test_it_is_measured_in_evaluation(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[bool] = []
    real = HeldOut.loss

    def watched(self: HeldOut, model: VLM, *rest: object) -> float | None:
        loss = real(self, model, *rest)  # pyright: ignore[reportArgumentType]
        modes.append(model.training)
        return loss

    monkeypatch.setattr(HeldOut, "loss", watched)
    train(recipe_of(world, "tune.epochs=1"), tmp_path, device="cpu")
    assert modes
    assert all(modes)  # and learns again afterwards
