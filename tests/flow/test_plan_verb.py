"""`seetell plan`: counts, cost and choices, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seetell.config import load_recipe
from seetell.errors import BadInput, ConfigError, UsageError
from seetell.files import read_json
from seetell.forecast.lengths import lengths
from seetell.forecast.modelled import modelled_samples
from seetell.train import room, run
from seetell.train.loop import Watch
from seetell.train.outline import outline
from seetell.train.pace import Pace
from seetell.train.ranks import Ranks
from seetell.train.record import open_record
from seetell.train.sharing import shareable
from seetell.train.start import model_tokenizer
from seetell.verbs.plan import plan
from seetell.verbs.plan_table import print_plan
from tests.tiny import tiny_data, tiny_parts

RECIPE = """
from seetell.train.recipe import Data, Model, Recipe, Stage

RECIPE = Recipe(
    model=Model(vision={vision!r}, language={language!r}),
    tune=Stage(data=(Data({data!r}, images={images!r}, times=2),), lr={{"connector": 1e-3, "language": 1e-3}},
               samples_per_step=8, micro_tokens=1024),
)
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    vision, language = tiny_parts(tmp_path)
    _, data = tiny_data(tmp_path, 12)
    path = tmp_path / "recipe.py"
    images = str(tmp_path / "pictures")
    path.write_text(RECIPE.format(vision=vision, language=language, data=data, images=images))
    return str(path)


def test_a_plan_for_programs_and_for_people(recipe, capsys) -> None:
    (stage,) = plan(recipe, ["tune.epochs=2"], prices=["H100 80 GB=7"], gpus=4)
    told = stage.json()
    json.dumps(told)
    assert (told["counts"]["samples"], told["counts"]["steps"], told["counts"]["pictures"]) == (24, 6, 48)
    assert told["counts"]["slots"] >= 2 * told["counts"]["tokens"]
    h100 = next(one for one in told["offers"] if one["gpu"] == "H100 80 GB")
    assert h100["fit"]["count"] == 4
    assert h100["cost"] == pytest.approx(h100["hours"] * 4 * 7)
    assert told["choices"]["checkpointing"].startswith("off: ")
    assert told["hours"] > 0
    print_plan([stage])
    shown = capsys.readouterr().out
    assert "24 samples × 2 in 6 steps" in shown
    assert "Rented, every known GPU: less than a cent" in shown
    assert "$0.00" not in shown


def test_no_header_is_cut_at_80_columns(recipe, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("seetell.forecast.stages.measure_pace", lambda *_: Pace(1e9, 1e9, 1e-9))
    (stage,) = plan(recipe)
    free, *paid = stage.offers
    setting = replace(paid[0].fit.setting, sharded=True, roomy=True, checkpointing="selective")
    paid = [replace(one, fit=replace(one.fit, count=64, setting=setting), hours=234.5, cost=12345.67) for one in paid]
    print_plan([replace(stage, offers=[free, *paid])])
    shown = capsys.readouterr().out
    headers = ("part", "useful", "executed", "size", "GPU", "how many", "GiB each", "recomputed", "time", "cost")
    assert not [name for name in headers if name not in shown]
    assert "…" not in shown
    assert all(name in shown for name in ("vision", "connector", "language", "activations", "selective", "12,345.67"))
    assert f"Rented, {free.gpu}: less than a cent" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_price_of_no_known_gpu_is_refused(recipe) -> None:
    with pytest.raises(ConfigError, match='did you mean "H100 80 GB"'):
        plan(recipe, prices=["H100 80GB=2"])


def test_a_stage_that_cannot_fit_is_told_by_plan_and_refused_by_train(recipe, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(room, "memory_of_each", lambda *_: 2**16)
    (stage,) = plan(recipe)
    assert any("tune needs" in why and "--set tune.memory=trust" in why for why in stage.missing)
    loaded: list[object] = []
    monkeypatch.setattr(run, "start_model", lambda *given, **named: loaded.append((given, named)))
    with pytest.raises(UsageError, match=r"tune needs .* GiB of memory here .*are there"):
        run.train(load_recipe(recipe), tmp_path / "out", device="cpu")
    assert not loaded, "no weight is read before"


def test_what_memory_decided_is_chosen_anew_on_other_ranks(recipe, tmp_path) -> None:
    resolved = load_recipe(recipe)
    out = tmp_path / "out"
    out.mkdir()
    record = open_record(resolved, out, "cpu", 4)
    kept = {"precision": "bfloat16", "compile": "off"}
    record.chosen["tune"] = kept | {"checkpointing": "full", "roomy": "on", "ranks": "4"}
    watch = Watch(out, 600.0, (), 0, lambda: False)
    begun = run._Run(resolved, out, record, watch, Ranks(torch.device("cpu")))
    vlm = outline(resolved.model, model_tokenizer(resolved.model))
    assert begun.chosen("tune", vlm) == kept | {"checkpointing": "off", "roomy": "off", "ranks": "1"}
    assert read_json(out / "run.json")["chosen"] == record.chosen


def test_a_plan_without_the_data_has_rows_of_published_lengths(recipe, monkeypatch) -> None:
    monkeypatch.setattr("seetell.forecast.stages.measure_pace", lambda *_: Pace(1e9, 1e9, 1e-9))
    absent = ["tune.data=data/none.json", "tune.data.0.times=1"]
    with pytest.raises(BadInput, match=r"There is no data file data/none\.json\. To plan without the data: --rows N"):
        plan(recipe, absent)
    (stage,) = plan(recipe, absent, rows=24)
    assert (stage.counts.samples, stage.counts.steps) == (24, 3)
    assert stage.choices["data"] == "not read: 24 rows as long as LLaVA-1.5's (llava-665k)"
    (fewer,) = plan(recipe, [*absent, "tune.held_out=0.2"], rows=24)
    assert fewer.counts.held_out > 0
    assert fewer.counts.samples + fewer.counts.held_out == 24
    with pytest.raises(UsageError, match='did you mean "llava-665k"'):
        plan(recipe, absent, lengths="llava-655k")


@pytest.mark.parametrize("stage", ["align", "tune"])
def test_modelled_samples_have_the_lengths_that_ship(stage: str) -> None:
    samples = modelled_samples(stage, 40, 7, 9)
    known = lengths(1 if stage == "align" else 2, 40, slots=9)
    assert samples.lengths == known.tokens
    for number, picture in enumerate(known.pictures):
        sample = samples.sample(number)
        shown = (sample.ids == 7).nonzero().flatten().tolist()
        assert len(shown) == len(range(*(shown[0], shown[-1] + 1))) == 9 if picture >= 0 else not shown
        assert len(sample.images) == (picture >= 0)
        assert int(sample.supervised.sum()) == known.supervised[number]
        if known.prefixes[number]:
            assert shareable(sample.ids, sample.supervised, 7) == known.prefixes[number]
