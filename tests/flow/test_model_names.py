"""Every verb that takes a model takes the same: a model's folder, an adapter's, a run's, transformers' own, and a name
on the hub; and refuses the rest in the same sentences."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch

from seetell import cli
from seetell.config import load_recipe
from seetell.model.adapter import load_any, load_whole, lora_parameters
from seetell.verbs.training import resolve
from tests.tiny import tiny_data
from tests.tiny_folders import write_adapter, write_run, write_whole

Command = Callable[..., tuple[int, str, str]]
RECIPE = """
from seetell.train.recipe import Data, Model, Recipe, Stage

RECIPE = Recipe(
    model=Model(start={start!r}),
    tune=Stage(data=(Data({tune!r}, images={pictures!r}),), lr={{"connector": 1e-3, "language": 1e-3}},
               samples_per_step=4, image="square"),
)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of every kind."""
    world = tmp_path_factory.mktemp("world")
    write_whole(world / "whole", world)
    write_adapter(world / "adapter", world / "whole")
    write_adapter(world / "twice", world / "adapter", seed=1)
    write_run(world / "run", world)
    write_run(world / "unfinished", world, finished=False)
    shutil.copytree(world / "whole", world / "theirs")
    (world / "theirs" / "seetell.json").unlink()
    (world / "empty").mkdir()
    shutil.copytree(world / "adapter", world / "orphan")
    facts = json.loads((world / "orphan" / "seetell.json").read_text())
    facts["adapter"]["base"] = "../gone"
    (world / "orphan" / "seetell.json").write_text(json.dumps(facts))
    shutil.copytree(world / "whole", world / "first")
    config = json.loads((world / "first" / "config.json").read_text())
    config |= {"model_type": "llava_next", "image_grid_pinpoints": [[336, 672]]}
    (world / "first" / "config.json").write_text(json.dumps(config))
    tiny_data(world, 8)
    return world


@pytest.fixture
def run(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a verb on a model by its name in the world."""
    names = {"somebody/model": world / "whole"}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(names[name]))

    def command(verb: str, model: str) -> tuple[int, str, str]:
        place = model if model in names else str(world / model)
        (tmp_path / "recipe.py").write_text(
            RECIPE.format(start=place, tune=str(world / "tune.json"), pictures=str(world / "pictures"))
        )
        line = VERBS[verb].replace("MODEL", place).replace("WORLD", str(world)).replace("HERE", str(tmp_path))
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main(line.split())
        finally:
            signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return command


VERBS = {
    "chat": "chat MODEL --prompt Hi --max-new-tokens 2",
    "eval": "eval drawn --model MODEL --limit 1 --out HERE/eval",
    "show": "show WORLD/tune.json --model MODEL",
    "export": "export MODEL --to hf --out HERE/export",
    "import": "import MODEL --out HERE/import",
    "plan": "plan HERE/recipe.py --device cpu",
    "train": "train HERE/recipe.py --out HERE/train --device cpu",
}
TAKEN = ("whole", "adapter", "twice", "run", "theirs", "somebody/model")
REFUSED = {
    "none": (2, "There is no model folder"),
    "empty": (3, "has no config.json: it is not a model's folder"),
    "orphan": (3, 'gone that this adapter lies over is not there: put it back, or change "base"'),
    "unfinished": (2, "is a run that has no finished model: give"),
    "whole/config.json": (2, "is a file: give the folder that it lies in"),
    "first": (3, "which cuts a picture into tiles"),
}


SLOW = {"plan": ("adapter", "run", "somebody/model"), "train": ("adapter", "twice", "run")}  # the others are as quick


@pytest.mark.parametrize(("verb", "model"), [(verb, model) for verb in VERBS for model in SLOW.get(verb, TAKEN)])
def test_every_verb_takes_every_kind_of_model(run: Command, verb: str, model: str) -> None:
    code, _, err = run(verb, model)
    assert code == 0, err
    assert ("is a run: its model is" in err) == (model == "run")


@pytest.mark.parametrize("model", REFUSED)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_refuses_the_rest_in_the_same_words(run: Command, tmp_path: Path, verb: str, model: str) -> None:
    code, _, err = run(verb, model)
    expected, told = REFUSED[model]
    assert code == expected, err
    assert told in err.splitlines()[-1]
    assert not any((tmp_path / name).exists() for name in ("export", "import", "train/model"))


def test_an_adapter_over_an_adapter_adds_to_it(world: Path) -> None:
    name = "language.model.layers.0.mlp.up_proj.weight"
    base, once, twice = (load_whole(world / kind).get_parameter(name) for kind in ("whole", "adapter", "twice"))
    matrices = lora_parameters(load_any(world / "twice"))
    stem = name.removesuffix(".weight")
    a, b = (matrices[f"{stem}.lora_{letter}.default.weight"] for letter in "AB")
    assert not torch.equal(once, base)
    assert torch.allclose(twice, once + 2 * b @ a, atol=1e-6)
    assert not torch.allclose(twice, base + 2 * b @ a, atol=1e-3)


def test_a_run_in_place_of_its_model_is_written_into_the_recipe_as_its_model(world: Path) -> None:
    recipe = load_recipe("finetune_yours")
    starts = {
        name: resolve(recipe, [f"model.start={world / name}"]).model.start for name in ("run", "whole", "adapter")
    }
    assert starts == {
        "run": str(world / "run" / "model"), "whole": str(world / "whole"), "adapter": str(world / "adapter"),
    }  # fmt: skip
