"""Looking at a model while it learns: nothing is disturbed, what fails costs nothing, and the page shows it all."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seetell import cli
from seetell.config import apply_sets
from seetell.encode.processor import Processor
from seetell.errors import BadInput, UsageError
from seetell.evals import drawn_task
from seetell.files import read_json, read_jsonl
from seetell.model.vlm import VLM
from seetell.page import Page
from seetell.train import run_page
from seetell.train.recipe import Data, Model, Recipe, Stage
from seetell.train.run_page import RunPage
from seetell.verbs.observing import observers_for
from seetell.verbs.training import Looking, train
from tests.tiny import tiny_world
from tests.unit.test_page import Reader

STAGES = ("align", "tune")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("world"), 16)


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_task, "SCENES", 2)


def recipe_of(world: Path, precision: str = "float32") -> Recipe:
    images = str(world / "pictures")
    align = Stage(
        data=(Data(str(world / "align.json"), images=images),),
        lr={"connector": 1e-2},
        samples_per_step=8,
        template="plain",
        image="square",
        micro_tokens=512,
        precision="bfloat16" if precision == "bfloat16" else "float32",
    )
    data = (Data(str(world / "tune.json"), images=images), Data(str(world / "align.json"), images=images))
    tune = replace(align, data=data, lr={"connector": 3e-3, "language": 3e-3}, template="vicuna-v1")
    return Recipe(Model(str(world / "vision"), str(world / "language")), align=align, tune=tune)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def read_page(out: Path) -> Reader:
    reader = Reader()
    reader.feed((out / "run.html").read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_that_is_looked_at_ends_in_the_same_bits(world: Path, tmp_path: Path, precision: str) -> None:
    recipe = recipe_of(world, precision)
    train(recipe, tmp_path / "alone", device="cpu")
    looking = Looking(task="drawn", limit=4)
    train(recipe, tmp_path / "seen", device="cpu", looking=looking, observe_every=2)
    assert same(tmp_path / "alone", tmp_path / "seen")
    report = read_json(tmp_path / "seen" / "report.json")["stages"]
    assert all(stage["failed_observations"] == {} for stage in report.values())
    out = tmp_path / "seen"
    looked = [row for row in read_jsonl(out / "metrics.jsonl") if "observed_drawn/all" in row]
    assert [(row["stage"], row["step"]) for row in looked] == [("align", 2), ("tune", 2), ("tune", 4)]
    told = list(read_jsonl(out / "observations.jsonl"))
    assert [row["step"] for row in told if row["stage"] == "tune"] == [2] * 4 + [4] * 4
    assert {row["truth"] for row in told} <= {"red", "green", "blue", "white"} | {
        f"a {colour} square" for colour in ("red", "green", "blue", "white")
    }
    for row in told:
        with Pillow.open(out / "observed" / row["picture"]) as picture:
            assert picture.format == "JPEG"


def test_the_page_and_the_board_show_what_was_seen(world: Path, tmp_path: Path) -> None:
    train(recipe_of(world), tmp_path, device="cpu", looking=Looking(task="drawn", limit=4), observe_every=2)
    page = read_page(tmp_path)
    for words in ("tune · finished · step 4 of 4 (100%)", "Which colour?", "tune: loss by source", "lr.language"):
        assert words in page.text
    pictures = [tag for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 4
    board = EventAccumulator(str(tmp_path / "tensorboard" / "tune"))
    board.Reload()
    tags = board.Tags()
    assert {"loss", "loss/align", "loss/tune", "observed_drawn/all", "grad_norm"} <= set(tags["scalars"])
    assert len(tags["images"]) == 4
    assert len([name for name in tags["tensors"] if name.endswith("/text_summary")]) == 4


def test_sources_add_up_in_the_metrics(world: Path, tmp_path: Path) -> None:
    train(recipe_of(world), tmp_path, device="cpu", stages=("align",))
    train(recipe_of(world), tmp_path, device="cpu")
    rows = {stage: [row for row in read_jsonl(tmp_path / "metrics.jsonl") if row["stage"] == stage] for stage in STAGES}
    assert not any("loss_by_source" in row for row in rows["align"])
    for row in rows["tune"]:
        losses, counts = row["loss_by_source"], row["supervised_by_source"]
        assert sum(counts.values()) == row["supervised"]
        assert sum(losses[name] * counts[name] for name in counts) == pytest.approx(row["loss"] * row["supervised"])


def test_an_observer_that_fails_costs_nothing_and_is_told_once(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_step: int, model: VLM, _: Processor) -> dict[str, float]:
        model.train()
        raise RuntimeError("no room")

    def looks(_step: int, model: VLM, _: Processor) -> dict[str, float]:
        assert not model.training
        return {"one": 1.0}

    recipe = replace(recipe_of(world), align=None)
    train(recipe, tmp_path / "alone", device="cpu")
    train(recipe, tmp_path / "seen", device="cpu", observers=[fails, looks], observe_every=1)
    assert same(tmp_path / "alone", tmp_path / "seen")
    told = capsys.readouterr().err
    assert told.count("The observer fails failed at step 1 of tune (RuntimeError: no room)") == 1
    assert told.count("no room") == 1
    assert read_json(tmp_path / "seen" / "report.json")["stages"]["tune"]["failed_observations"] == {"fails": 4}
    assert sum("observed_one" in row for row in read_jsonl(tmp_path / "seen" / "metrics.jsonl")) == 4
    assert "observer failed at step 1: fails RuntimeError: no room" in read_page(tmp_path / "seen").text


def test_interrupted_and_gone_on_with_it_shows_the_same_observations(world: Path, tmp_path: Path) -> None:
    recipe = replace(recipe_of(world), align=None)
    train(recipe, tmp_path / "whole", device="cpu", looking=Looking(), observe_every=1)

    def press(step: int, *_: object) -> dict[str, float]:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return {}

    out = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, out, device="cpu", looking=Looking(), observers=[press], observe_every=1)
    assert "tune · stopped · step 2 of 4 (50%)" in read_page(out).text
    with (out / "observations.jsonl").open("a") as file:  # a killed run had come further, and was writing
        file.write('{"stage": "tune", "step": 3, "name": "lost"}\n{"stage": "tu')
    train(recipe, out, device="cpu", looking=Looking(), observe_every=1)
    assert list(read_jsonl(out / "observations.jsonl")) == list(read_jsonl(tmp_path / "whole" / "observations.jsonl"))
    events = [(row["event"], row["step"], row.get("done_again")) for row in read_jsonl(out / "events.jsonl")]
    assert events == [("began", 0, 0), ("stopped", 2, None), ("resumed", 2, 1), ("finished", 4, None)]
    assert "resumed at step 2; 1 step after the last checkpoint done again" in read_page(out).text


def test_a_page_that_cannot_be_written_ends_no_run(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Path) -> Page:
        raise ValueError("nothing to draw")

    monkeypatch.setattr(run_page, "run_page", broken)
    train(replace(recipe_of(world), align=None), tmp_path, device="cpu")
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert "run.html cannot be written (ValueError: nothing to draw); the run continues." in capsys.readouterr().err


def test_the_page_of_a_killed_run_opens_and_is_not_written_all_the_time(world: Path, tmp_path: Path) -> None:
    train(replace(recipe_of(world), align=None), tmp_path, device="cpu")
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").write_bytes(whole[:-40])
    page = RunPage(tmp_path)
    assert page.due
    page.write()
    assert not page.due
    assert "tune" in read_page(tmp_path).text


def test_what_cannot_be_observed_is_said_before_anything_learns(world: Path, tmp_path: Path) -> None:
    recipe = recipe_of(world)
    with pytest.raises(UsageError, match="no picture nowhere"):
        observers_for(recipe, Looking(pictures=["nowhere.jpg"]))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="cannot be observed: not a picture"):
        observers_for(recipe, Looking(pictures=[str(tmp_path / "broken.png")]))
    with pytest.raises(UsageError, match="shows pictures alone"):
        observers_for(replace(recipe, tune=None), Looking(task="drawn"))
    with pytest.raises(UsageError, match="needs a judge"):
        observers_for(recipe, Looking(task="llava_bench", data=tmp_path))
    with pytest.raises(BadInput, match="is absent"):
        observers_for(recipe, Looking(task="pope", data=tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="no data file"):
        observers_for(apply_sets(recipe, ["tune.data.0.path=nowhere.json"]), Looking())


def test_the_command_wants_to_know_how_often(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "drawn", "--out", str(tmp_path), "--observe", "drawn"])
    assert ended.value.code == 2
    assert "Say how often to observe, in steps: --observe-every 100." in capsys.readouterr().err


def test_given_pictures_are_asked_about_in_the_given_words(world: Path, tmp_path: Path) -> None:
    picture = min((world / "pictures").iterdir())
    recipe = replace(recipe_of(world), align=None)
    looking = Looking(pictures=[picture], prompt="What is it?")
    train(recipe, tmp_path, device="cpu", looking=looking, observe_every=4)
    (row,) = read_jsonl(tmp_path / "observations.jsonl")
    assert (row["name"], row["prompt"], row["truth"]) == (f"1 · {picture.name}", "What is it?", "")
