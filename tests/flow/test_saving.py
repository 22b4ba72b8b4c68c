"""What a run keeps: so many checkpoints, the best step's model, and a word when nothing was kept at all."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from seetell.cli import app
from seetell.config import apply_sets
from seetell.encode.processor import Processor
from seetell.errors import UsageError
from seetell.files import read_json, read_jsonl, write_json
from seetell.model.adapter import load_any
from seetell.model.vlm import VLM
from seetell.train.keeping import Wanted
from seetell.train.ranks import Ranks
from seetell.train.recipe import Recipe
from seetell.train.run import train
from seetell.verbs import training
from seetell.verbs.training import Looking
from tests.tiny import tiny_recipe, tiny_world
from tests.tiny_ranks import on_ranks, start_rank

HELD_OUT = Wanted("held_out_loss", lowest=True)
BEST_AT = 3  # of six steps
SCORES = {step: 1.0 - abs(step - BEST_AT) / 10 for step in range(1, 7)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("world"), 24)


def recipe_of(world: Path, *sets: str) -> Recipe:
    return apply_sets(replace(tiny_recipe(world), align=None), sets)


class Scorer:
    """An observer whose figure is the best at one step; it keeps the connector's weights of each."""

    def __init__(self, stop_at: int = 0) -> None:
        self.stop_at = stop_at
        self.weights: dict[int, dict[str, Tensor]] = {}

    def __call__(self, step: int, model: VLM, _: Processor, /) -> dict[str, float]:
        self.weights[step] = {name: tensor.clone() for name, tensor in model.connector.state_dict().items()}
        if step == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        return {"task/score": SCORES[step]}


def connector(folder: Path) -> Mapping[str, Tensor]:
    return load_any(folder).connector.state_dict()


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_so_many_checkpoints_are_kept(world: Path, tmp_path: Path, keep: int) -> None:
    scorer = Scorer(stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        train(
            recipe_of(world),
            tmp_path,
            device="cpu",
            observers=[scorer],
            observe_every=1,
            checkpoint_every_s=0.0,
            keep=keep,
        )
    kept = sorted((tmp_path / "checkpoints" / "tune").glob("step-*"))
    assert [path.name for path in kept] == [f"step-{step:08}" for step in range(6 - keep, 6)]


def test_what_will_be_kept_is_said_at_the_start(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(recipe_of(world, "tune.epochs=1"), tmp_path, device="cpu")
    assert "Checkpoints come after 1 min, then every 10 min, or as rarely" in capsys.readouterr().err


def killed(recipe: Recipe, out: Path, step: int) -> None:
    """The run in a process of its own, killed after a step that nothing was saved of."""

    def shoot(now: int, *_: object) -> dict[str, float]:
        if now == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return {}

    train(recipe, out, device="cpu", observers=[shoot], observe_every=1)


def test_a_killed_run_without_a_checkpoint_says_that_it_starts_anew(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = recipe_of(world), tmp_path / "killed"
    child = start_rank(0, 1, tmp_path, killed, recipe, out, 2)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not list(out.glob("checkpoints/*/step-*"))
    with pytest.raises(UsageError, match="holds a run that began otherwise"):
        train(apply_sets(recipe, ["seed=3"]), out, device="cpu")
    train(recipe, out, device="cpu")
    assert "tune starts anew: its last run stopped before it had saved a checkpoint." in capsys.readouterr().err
    train(recipe, tmp_path / "new", device="cpu")
    assert "starts anew" not in capsys.readouterr().err
    assert [row["step"] for row in read_jsonl(out / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("stop_at", [0, 2, 5])
def test_the_best_steps_model_is_kept_beside_the_last_ones(
    world: Path, tmp_path: Path, lora: bool, stop_at: int
) -> None:
    recipe, best = recipe_of(world), Wanted.of("task/score")
    if lora:
        train(recipe_of(world, "tune.epochs=1"), tmp_path / "base", device="cpu")
        start = f"model.start={tmp_path / 'base' / 'model'}"
        recipe = apply_sets(
            recipe, [start, "model.vision=", "model.language=", "tune.lora.rank=2", "tune.lora.alpha=4"]
        )
    out, scorer = tmp_path / "out", Scorer(stop_at)
    if stop_at:
        with pytest.raises(KeyboardInterrupt):
            train(recipe, out, device="cpu", observers=[scorer], observe_every=1, best=best)
        scorer.stop_at = 0
    train(recipe, out, device="cpu", observers=[scorer], observe_every=1, best=best)
    assert same(connector(out / "best"), scorer.weights[BEST_AT])
    assert same(connector(out / "model"), scorer.weights[6])
    assert Processor.load(out / "best").template.name == "vicuna-v1"


def test_held_out_loss_is_best_where_it_is_lowest(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scorer = Scorer()
    recipe = recipe_of(world, "tune.held_out=0.1", "tune.lr.language=0.3", "tune.lr.connector=0.3")  # it gets worse
    training.train(recipe, tmp_path, device="cpu", observers=[scorer], observe_every=1, keep_best="held_out_loss")
    measured = {
        row["step"]: row["held_out_loss"] for row in read_jsonl(tmp_path / "metrics.jsonl") if "held_out_loss" in row
    }
    lowest = min(measured, key=measured.__getitem__)
    assert same(connector(tmp_path / "best"), scorer.weights[lowest])
    told = f"The best model by held_out_loss, {measured[lowest]:.4g} at step {lowest}, is in {tmp_path / 'best'}."
    assert told in capsys.readouterr().err


def best_of_shards(_: Ranks, recipe: Recipe, out: Path) -> None:
    train(recipe, out, device="cpu", best=HELD_OUT)


def test_shards_keep_their_best_whole(world: Path, tmp_path: Path) -> None:
    recipe = recipe_of(world, "tune.held_out=0.1", "tune.sharding=shard")
    on_ranks(2, best_of_shards, recipe, tmp_path)
    best, last = (load_file(tmp_path / name / "model.safetensors") for name in ("best", "model"))
    assert {name: tensor.shape for name, tensor in best.items()} == {n: tensor.shape for n, tensor in last.items()}
    assert all(tensor.isfinite().all() for tensor in best.values())


def test_what_cannot_be_kept_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    given: dict[str, dict[str, object]] = {
        "Nothing is held out, so there is no held-out loss": {"keep_best": "held_out_loss"},
        "Nothing is observed, so there is no figure pope/accuracy": {"keep_best": "pope/accuracy"},
        "At least one checkpoint is kept": {"keep": 0},
        "none is named accuracy": {"keep_best": "accuracy", "looking": Looking("pope"), "observe_every": 1},
    }
    for sentence, options in given.items():
        with pytest.raises(UsageError, match=sentence):
            training.train("llava_1_5_7b", tmp_path / "out", **options)  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "out").exists()


def test_a_figure_that_nobody_gives_is_told_with_those_there_are(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(
        recipe_of(world, "tune.epochs=1"),
        tmp_path,
        device="cpu",
        observers=[Scorer()],
        observe_every=1,
        best=Wanted.of("score"),
    )
    assert capsys.readouterr().err.count("There is no figure score among those observed at step 1") == 1
    assert not (tmp_path / "best").exists()


def test_a_run_of_before_there_were_these_settings_resumes(world: Path, tmp_path: Path) -> None:
    recipe = recipe_of(world)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path, device="cpu", observers=[Scorer(stop_at=2)], observe_every=1)
    written = read_json(tmp_path / "recipe.json")
    del written["tune"]["held_out"]
    write_json(tmp_path / "recipe.json", written)
    train(recipe, tmp_path, device="cpu")
    with pytest.raises(UsageError, match=r"tune\.held_out: 0\.0 -> 0\.5"):
        train(apply_sets(recipe, ["tune.held_out=0.5"]), tmp_path, device="cpu")


def test_the_command_takes_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    asked: dict[str, object] = {}
    monkeypatch.setattr(training, "train", lambda *_, **options: asked.update(options))
    command = [
        "train",
        "drawn",
        "--out",
        str(tmp_path),
        "--save-every",
        "5m",
        "--keep",
        "3",
        "--keep-best",
        "held_out_loss",
    ]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert (asked["checkpoint_every_s"], asked["keep"], asked["keep_best"]) == (300.0, 3, "held_out_loss")
    assert CliRunner().invoke(app, [*command[:4]]).exit_code == 0
    assert asked["checkpoint_every_s"] is None
