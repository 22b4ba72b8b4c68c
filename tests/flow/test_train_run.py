"""Whole runs on tiny parts: what they leave, what they count, and when they refuse."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import seetell
from seetell.config import apply_sets
from seetell.console import command
from seetell.encode.processor import Processor
from seetell.errors import BadInput, Failed, UsageError
from seetell.files import read_json, read_jsonl
from seetell.model.weights import load_model
from seetell.train import loop
from seetell.train.recipe import Data, Model, Recipe, Stage
from seetell.train.record import only_run
from seetell.train.run import train
from tests.tiny import tiny_data, tiny_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts and pictures that no test changes."""
    return tiny_world(tmp_path_factory.mktemp("world"), 24)


def recipe_of(world: Path, data: Path | None = None) -> Recipe:
    data = data or world
    align = Stage(
        data=(Data(str(data / "align.json"), images=str(data / "pictures")),),
        lr={"connector": 1e-2},
        samples_per_step=8,
        template="plain",
        image="square",
        micro_tokens=512,
    )
    tune = replace(
        align,
        data=(Data(str(data / "tune.json"), images=str(data / "pictures")),),
        lr={"connector": 3e-3, "language": 3e-3},
        epochs=2,
        template="vicuna-v1",
        image="pad",
    )
    return Recipe(Model(str(world / "vision"), str(world / "language")), align=align, tune=tune)


@pytest.fixture(scope="module")
def undisturbed(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    assert train(recipe_of(world), out, device="cpu") == out / "model"
    return out


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_leaves_what_it_promises(world: Path, undisturbed: Path) -> None:
    out = undisturbed
    report = read_json(out / "report.json")
    assert {name: stage["samples"] for name, stage in report["stages"].items()} == {"align": 24, "tune": 48}
    assert {name: stage["step"] for name, stage in report["stages"].items()} == {"align": 3, "tune": 6}
    assert report["stages"]["tune"]["last_loss"] < report["stages"]["tune"]["first_loss"]
    rows = list(read_jsonl(out / "metrics.jsonl"))
    assert [(row["stage"], row["step"]) for row in rows] == [("align", i) for i in (1, 2, 3)] + [
        ("tune", i) for i in range(1, 7)
    ]
    assert not (out / "checkpoints" / "tune").exists()
    for folder in (out / "aligned", out / "model"):
        assert load_model(folder).slots_per_image == Processor.load(folder).slots_per_image == 4
        assert Processor.load(folder).template.name == "vicuna-v1"
    aligned, model = load_model(out / "aligned"), load_model(out / "model")
    start = load_file(world / "language" / "model.safetensors")
    assert torch.equal(aligned.language.get_parameter("model.norm.weight"), start["model.norm.weight"])
    assert not torch.equal(model.language.get_parameter("model.norm.weight"), start["model.norm.weight"])
    assert torch.equal(
        aligned.vision.get_parameter("embeddings.class_embedding"),
        model.vision.get_parameter("embeddings.class_embedding"),
    )


def test_stages_one_by_one_and_a_finished_run(world: Path, undisturbed: Path, tmp_path: Path, capsys) -> None:
    recipe = recipe_of(world)
    assert train(recipe, tmp_path, device="cpu", stages=("align",)) == tmp_path / "aligned"
    train(recipe, tmp_path, device="cpu")
    assert_same_weights(undisturbed, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    capsys.readouterr()
    train(recipe, tmp_path, device="cpu")
    assert "nothing left to do" in capsys.readouterr().err
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    with pytest.raises(UsageError, match="run align first"):
        train(recipe, tmp_path / "other", device="cpu", stages=("tune",))


def test_another_recipe_or_other_data_is_refused_with_the_difference(world: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    tiny_data(tmp_path / "data", 8, seed=3)
    recipe = replace(recipe_of(world, tmp_path / "data"), align=None)
    out = tmp_path / "out"
    interrupt_at(recipe, out, 1)
    with pytest.raises(UsageError, match=r"tune\.lr\.language: 0\.003 -> 0\.001"):
        train(apply_sets(recipe, ["tune.lr.language=1e-3"]), out, device="cpu")
    tiny_data(tmp_path / "data", 8, seed=4)
    with pytest.raises(UsageError, match="data of tune"):
        train(recipe, out, device="cpu")


def test_a_start_that_failed_binds_nobody(world: Path, undisturbed: Path, tmp_path: Path) -> None:
    recipe = recipe_of(world)
    for wrong in ("tune.data=nowhere.json", "align.data.0.images=nowhere"):
        with pytest.raises(BadInput):
            train(apply_sets(recipe, [wrong]), tmp_path, device="cpu")
        assert (tmp_path / "recipe.json").exists()
    train(recipe, tmp_path, device="cpu")
    assert_same_weights(undisturbed, tmp_path)
    assert not list(read_jsonl(tmp_path / "refused.jsonl"))


@pytest.mark.parametrize("mine", ["model/weights.bin", "tensorboard/events", "metrics.jsonl"])
def test_what_no_run_wrote_is_never_overwritten(world: Path, tmp_path: Path, mine: str) -> None:
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text('{"loss": 1}\n')
    with pytest.raises(UsageError, match=f"holds {mine.split('/')[0]} of no run recorded there"):
        train(recipe_of(world), tmp_path, device="cpu")
    assert (tmp_path / mine).read_text() == '{"loss": 1}\n'


def test_a_finished_run_without_its_record_is_kept_and_not_taken_for_another(
    world: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    (out / "recipe.json").unlink()
    with pytest.raises(UsageError, match="holds aligned, model, "):
        train(replace(recipe_of(world), seed=5), out, device="cpu")
    assert (out / "metrics.jsonl").read_bytes() == (undisturbed / "metrics.jsonl").read_bytes()
    assert_same_weights(undisturbed, out)


def test_the_largest_seed_is_a_seed(world: Path, tmp_path: Path) -> None:
    recipe = replace(recipe_of(world), align=None, seed=2**63 - 1)
    assert seetell.train_recipe(recipe, tmp_path, device="cpu") == tmp_path / "model"


def test_one_run_at_a_time(world: Path, tmp_path: Path) -> None:
    with only_run(tmp_path), pytest.raises(UsageError, match="Another process"):
        train(recipe_of(world), tmp_path, device="cpu")


def interrupt_at(recipe: Recipe, out: Path, step: int) -> None:
    """Ctrl-C after a step, as a user would."""

    def press(_step: int, *_: object) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    with pytest.raises(KeyboardInterrupt):
        train(recipe, out, device="cpu", observers=[press], observe_every=step)


def test_interrupted_and_gone_on_with_is_undisturbed(world: Path, undisturbed: Path, tmp_path: Path) -> None:
    recipe = recipe_of(world)
    interrupt_at(recipe, tmp_path, 2)  # in align
    assert list((tmp_path / "checkpoints" / "align").glob("step-*"))
    interrupt_at(recipe, tmp_path, 4)  # in tune
    train(recipe, tmp_path, device="cpu")
    assert_same_weights(undisturbed, tmp_path)
    drop = ("seconds", "data_wait_s")
    one, other = (
        [{k: v for k, v in row.items() if k not in drop} for row in read_jsonl(out / "metrics.jsonl")]
        for out in (undisturbed, tmp_path)
    )
    assert one == other


def test_observers_look_and_do_not_disturb(world: Path, undisturbed: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def look(step: int, model, _: Processor) -> dict[str, float]:
        assert not model.language.training
        seen.append(step)
        return {"figure": float(torch.rand(()))}

    train(recipe_of(world), tmp_path, device="cpu", observers=[look], observe_every=3)
    assert seen == [3, 3, 6]
    assert sum("observed_figure" in row for row in read_jsonl(tmp_path / "metrics.jsonl")) == 3
    assert_same_weights(undisturbed, tmp_path)


def test_three_steps_that_are_not_finite_stop_the_run(world: Path, tmp_path: Path) -> None:
    def spoil(_step: int, model, _: Processor) -> dict[str, float]:
        with torch.no_grad():
            model.connector.get_parameter("linear_1.bias").fill_(float("nan"))
        return {}

    recipe = replace(recipe_of(world), align=None)
    with pytest.raises(Failed, match="not finite in 3 steps in a row, up to step 5"):
        train(recipe, tmp_path, device="cpu", observers=[spoil], observe_every=2, checkpoint_every_s=0.0)
    rows = list(read_jsonl(tmp_path / "not_finite.jsonl"))
    assert [row["step"] for row in rows] == [3, 4, 5]
    assert len(rows[0]["samples"]) == 8
    checkpoints = tmp_path / "checkpoints" / "tune"  # the test spoils the weights before the second is written
    assert sorted(path.name for path in checkpoints.glob("step-*")) == ["step-00000001", "step-00000002"]
    good = load_file(checkpoints / "step-00000001" / "weights.safetensors")
    assert all(tensor.isfinite().all() for tensor in good.values())


@pytest.mark.parametrize("last", [True, False])
def test_a_run_that_ends_on_a_step_that_was_not_finite_fails(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], last: bool
) -> None:
    def spoil(step: int, model, _: Processor) -> dict[str, float]:
        bias = model.connector.get_parameter("linear_1.bias")
        with torch.no_grad():
            bias.fill_(float("nan") if (step >= 5 if last else step == 3) else 0.0)
        return {}

    recipe = replace(recipe_of(world), align=None)
    if last:
        with pytest.raises(Failed, match="not finite in step 6, the last: no weight was moved"):
            train(recipe, tmp_path, device="cpu", observers=[spoil], observe_every=1)
        assert not (tmp_path / "model").exists()
    else:
        train(recipe, tmp_path, device="cpu", observers=[spoil], observe_every=1)
        assert "tune: 1 of 6 steps were not taken, because their loss was not finite" in capsys.readouterr().err


def test_a_last_step_without_a_finite_loss_costs_a_sound_model_nothing(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = iter(range(1, 100))
    real = loop.train_step

    def unlucky(*arguments: Any) -> loop.StepReport:
        report = real(*arguments)
        return report if next(steps) < 6 else replace(report, loss=float("inf"), taken=False)

    monkeypatch.setattr(loop, "train_step", unlucky)
    train(replace(recipe_of(world), align=None), tmp_path, device="cpu")
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert "tune: 1 of 6 steps were not taken, because their loss was not finite" in capsys.readouterr().err


@pytest.mark.parametrize("cached", [False, True])
def test_refused_pictures_are_counted_and_others_untouched(
    world: Path, tmp_path: Path, cached: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_data(tmp_path, 24)
    spoiled = {3: b"", 10: b"<html>not here</html>", 11: (tmp_path / "pictures" / "0-11.png").read_bytes()[:40]}
    for i, data in spoiled.items():
        (tmp_path / "pictures" / f"0-{i}.png").write_bytes(data)
    (tmp_path / "pictures" / "0-20.png").unlink()
    rows = read_json(tmp_path / "align.json")
    rows[5]["conversations"][0]["value"] = "<image><image>"
    (tmp_path / "align.json").write_text(json.dumps(rows))
    recipe = replace(recipe_of(world, tmp_path), tune=None)
    assert recipe.align is not None
    recipe = replace(recipe, align=replace(recipe.align, cache_features=cached, epochs=2))
    out = tmp_path / "out"
    assert train(recipe, out, device="cpu") == out / "model"
    told = capsys.readouterr().err
    assert "align: 5 of 24 samples rejected: " in told
    assert "1 × missing picture" in told
    assert f"The model is in {out / 'model'}; talk to it: {command('chat', out / 'model')}" in told
    refused = {row["id"]: row["reason"] for row in read_jsonl(out / "refused.jsonl")}
    assert refused == {
        "a3": "empty picture",
        "a5": "image tags and images differ",
        "a10": "not a picture",
        "a11": refused["a11"],
        "a20": "missing picture",
    }
    stage = read_json(out / "report.json")["stages"]["align"]
    assert sum(stage["refused"].values()) == 5
    assert stage["samples"] == 2 * 23  # the row that was no sample was never planned
    assert stage["empty_steps"] == 0


def test_nothing_to_learn_from_is_said(world: Path, tmp_path: Path) -> None:
    tiny_data(tmp_path, 8)
    recipe = apply_sets(recipe_of(world, tmp_path), ["align.data.0.images=nowhere", "tune=none"])
    with pytest.raises(BadInput, match="missing picture"):
        train(recipe, tmp_path / "one", device="cpu")
    (tmp_path / "align.json").write_text('[{"id": "x", "conversations": []}]')
    with pytest.raises(BadInput, match="can be trained on"):
        train(recipe, tmp_path / "two", device="cpu")
    with pytest.raises(BadInput, match="no data file"):
        train(apply_sets(recipe, ["align.data=nowhere.json"]), tmp_path / "three", device="cpu")


def test_kept_features_learn_the_same(world: Path, undisturbed: Path, tmp_path: Path) -> None:
    recipe = apply_sets(recipe_of(world), ["align.cache_features=true", "tune.cache_features=true"])
    train(recipe, tmp_path, device="cpu")
    one, other = weights(undisturbed), weights(tmp_path)
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=2e-4, rtol=2e-3, msg=name)


def test_shares_times_text_only_and_several_pictures(world: Path, tmp_path: Path) -> None:
    tiny_data(tmp_path, 24)
    rows = read_json(tmp_path / "tune.json")
    for row in rows[:6]:
        del row["image"]
        row["conversations"][0]["value"] = "Say something."
    rows[7]["image"] = ["0-7.png", "0-8.png"]
    rows[7]["conversations"][0]["value"] = "<image>\nor\n<image>?"
    (tmp_path / "tune.json").write_text(json.dumps(rows))
    recipe = replace(recipe_of(world, tmp_path), align=None)
    assert recipe.tune is not None
    (data,) = recipe.tune.data
    more = (replace(data, share=0.5), replace(data, times=2))
    train(replace(recipe, tune=replace(recipe.tune, data=more, epochs=1)), tmp_path / "out", device="cpu")
    stage = read_json(tmp_path / "out" / "report.json")["stages"]["tune"]
    assert 48 + 4 <= stage["samples"] <= 48 + 20
    assert stage["refused"] == {}


def test_a_run_has_one_date_whatever_the_day_it_resumes_on(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chat template that says the date: the data is the same tomorrow, and what is saved says what was learned."""

    class Calendar(date):
        turned = 28

        @classmethod
        def today(cls) -> date:
            return date(2026, 11, cls.turned)

    for room in ("train.record", "encode.jinja"):
        monkeypatch.setattr(f"seetell.{room}.date", Calendar)
    shutil.copytree(world / "language", tmp_path / "language")
    words = tmp_path / "language" / "chat_template.jinja"
    words.write_text("Today is {{ strftime_now('%d %B %Y') }}.\n" + words.read_text())
    recipe = recipe_of(world)
    assert recipe.tune is not None
    model = replace(recipe.model, language=str(tmp_path / "language"))
    recipe = replace(recipe, model=model, align=None, tune=replace(recipe.tune, template="own"))
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    train(recipe, undisturbed, device="cpu")
    interrupt_at(recipe, out, 2)
    monkeypatch.setattr(Calendar, "turned", 29)
    train(recipe, out, device="cpu")
    assert_same_weights(undisturbed, out)
    assert read_json(out / "run.json")["date"] == "2026-11-28"
    for file in ("chat_template.jinja", "seetell.json"):
        text = (out / "model" / file).read_text()
        assert "28 November 2026" in text
        assert "strftime_now" not in text


def test_the_record_says_how_the_parts_were_joined(undisturbed: Path) -> None:
    written = read_json(undisturbed / "recipe.json")["model"]
    assert (written["connector"], written["feature_layer"], written["keep_cls"]) == ("mlp2", -2, False)
