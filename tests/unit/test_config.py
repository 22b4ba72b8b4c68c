"""Recipes load, knobs are typed, typos are answered, and what a run writes down reads back equal."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from seetell.config import apply_sets, differences, freeze, load_recipe, pick, shipped_recipes, thaw
from seetell.errors import ConfigError
from seetell.train.recipe import Data, Lora, Model, Recipe, Stage

SHIPPED = (
    "drawn",
    "finetune_yours",
    "finetune_yours_lora",
    "llava_1_5_13b",
    "llava_1_5_7b",
    "llava_1_5_7b_lora",
    "llava_v1_13b",
    "llava_v1_7b",
    "scienceqa",
    "scienceqa_13b",
)


def a_recipe() -> Recipe:
    stage = Stage(data=(Data("a.json", images="pictures"),), lr={"connector": 1e-3}, samples_per_step=4)
    return Recipe(model=Model(vision="v", language="l"), align=stage, tune=replace(stage, lr={"language": 2e-5}))


def test_every_shipped_recipe_loads_and_survives_json() -> None:
    assert tuple(shipped_recipes()) == SHIPPED
    for name in SHIPPED:
        recipe = load_recipe(name)
        assert isinstance(recipe, Recipe)
        assert thaw(Recipe, json.loads(json.dumps(freeze(recipe)))) == recipe


def test_the_published_numbers() -> None:
    """LLaVA v1: 2e-3/128 then 2e-5/32 for 3 epochs; LLaVA-1.5: 1e-3/256 then 2e-5/128."""
    for name, rate, first, second, epochs in (
        ("llava_v1_7b", 2e-3, 128, 32, 3),
        ("llava_v1_13b", 2e-3, 128, 32, 3),
        ("llava_1_5_7b", 1e-3, 256, 128, 1),
        ("llava_1_5_13b", 1e-3, 256, 128, 1),
    ):
        recipe = load_recipe(name)
        assert (recipe.align.lr, recipe.align.template) == ({"connector": rate}, "plain")
        assert recipe.tune.lr == {"connector": 2e-5, "language": 2e-5}
        assert (recipe.align.samples_per_step, recipe.tune.samples_per_step) == (first, second)
        assert (recipe.align.epochs, recipe.tune.epochs) == (1, epochs)


@pytest.mark.parametrize(
    ("setting", "read", "value"),
    [
        ("tune.lr.language=1e-5", lambda r: r.tune.lr["language"], 1e-5),
        ("tune.lr.connector=1e-6", lambda r: r.tune.lr["connector"], 1e-6),
        ("tune.samples_per_step=7", lambda r: r.tune.samples_per_step, 7),
        ("tune.cache_features=true", lambda r: r.tune.cache_features, True),
        ("align=none", lambda r: r.align, None),
        ("tune.betas=0.9,0.95", lambda r: r.tune.betas, (0.9, 0.95)),
        ("tune.image=square", lambda r: r.tune.image, "square"),
        ("tune.data=mine.json", lambda r: r.tune.data, (Data("mine.json", images="pictures"),)),
        ("tune.data.0.images=x", lambda r: r.tune.data, (Data("a.json", images="x"),)),
        ("model.language=some/model=1", lambda r: r.model.language, "some/model=1"),
    ],
)
def test_a_knob_is_typed(setting: str, read, value) -> None:
    before = a_recipe()
    assert read(apply_sets(before, [setting])) == value
    assert before == a_recipe()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("tune.lr.langauge=1e-5", 'did you mean "language"'),
        ("tun.epochs=1", 'did you mean "tune"'),
        ("tune.samples_per_step=True", "a whole number"),
        ("tune.samples_per_step=1.5", "a whole number"),
        ("tune.clip=nan", "a number"),
        ("tune.cache_features=1", "true or false"),
        ("tune.image=padd", 'did you mean "pad"'),
        ("tune.epochs=0", "at least 1"),
        ("tune.data.3.path=x", "by number"),
        ("tune.betas=0.9", "takes 2 values"),
        ("tune.epochs.more=1", "nothing inside"),
        ("tune.epochs", "not an assignment"),
        ("tune.lr.language=-1", "above 0"),
        ("tune.betas=0.9,1", "below 1"),
        ("tune.eps=0", "above 0"),
        ("tune.weight_decay=-0.1", "at least 0"),
        ("seed=-1", "at least 0"),
        ("seed=9223372036854775808", r"below 2\*\*63"),
        ("model.connector=mlp", r"linear or mlp1 \.\.\. mlp8"),
        ("model.connector=mlp0", "There is no connector 'mlp0'"),
        ("model.connector=mlp3x", "There is no connector 'mlp3x'"),
    ],
)
def test_nonsense_is_refused_with_a_hint(setting: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        apply_sets(a_recipe(), [setting])


def test_knobs_that_go_together_are_turned_together() -> None:
    """Neither order passes through a model that names its parts twice or not at all."""
    start = ["model.start=folder", "model.vision=", "model.language="]
    for order in (start, start[::-1]):
        assert apply_sets(a_recipe(), order).model == Model(start="folder")
    data = ["tune.data=mine.json", "tune.data.0.images=x", "tune.data.0.times=2"]
    for order in (data, data[::-1]):
        tune = apply_sets(a_recipe(), order).tune
        assert tune is not None
        assert tune.data == (Data("mine.json", images="x", times=2),)
    changed = apply_sets(a_recipe(), ["tune.epochs=2", "tune.epochs=3", "align.epochs=0", "align=none"])
    assert changed == apply_sets(a_recipe(), ["align=none", "tune.epochs=3"])
    with pytest.raises(ConfigError, match=r"nothing inside it to name \"epochs\" \(it is none\)"):
        apply_sets(a_recipe(), ["align=none", "align.epochs=2"])


def test_two_data_files_want_a_number() -> None:
    recipe = a_recipe()
    assert recipe.tune is not None
    two = replace(recipe, tune=replace(recipe.tune, data=(Data("a.json"), Data("b.json"))))
    with pytest.raises(ConfigError, match="say which"):
        apply_sets(two, ["tune.data=c.json"])
    changed = apply_sets(two, ["tune.data.1=c.json"]).tune
    assert changed is not None
    assert changed.data == (Data("a.json"), Data("c.json"))


def test_recipes_that_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='did you mean "drawn"'):
        load_recipe("drawm")
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(ConfigError, match="holds no RECIPE"):
        load_recipe(tmp_path / "empty.py")
    (tmp_path / "broken.py").write_text("import no_such_thing_at_all\n")
    with pytest.raises(ConfigError, match="does not run"):
        load_recipe(tmp_path / "broken.py")
    with pytest.raises(ConfigError, match="nothing would learn"):
        Stage(data=(Data("a.json"),), lr={}, samples_per_step=1)
    with pytest.raises(ConfigError, match="needs vision and language"):
        Model(vision="v")
    with pytest.raises(ConfigError, match="decides vision itself: leave it out"):
        Model(vision="v", start="folder")
    for name, value in {"connector": "mlp3", "feature_layer": -1, "keep_cls": True}.items():
        with pytest.raises(ConfigError, match=rf'model.start="folder" decides {name} itself: .* model.{name}=none'):
            Model(start="folder", **{name: value})
    with pytest.raises(ConfigError, match="decides connector itself"):  # also where it is the usual one
        Model(start="folder", connector="mlp2")
    with pytest.raises(ConfigError, match="decides feature_layer itself"):
        apply_sets(load_recipe("finetune_yours"), ["model.feature_layer=-1"])


def test_thaw_refuses_what_freeze_never_wrote() -> None:
    frozen = freeze(a_recipe())
    with pytest.raises(ConfigError, match='did you mean "seed"'):
        thaw(Recipe, {**frozen, "sed": 1})
    with pytest.raises(ConfigError, match="cannot be"):
        thaw(Recipe, {**frozen, "seed": "0"})


def test_differences_name_the_knob() -> None:
    before = freeze(a_recipe())
    after = freeze(apply_sets(a_recipe(), ["tune.lr.language=1e-5", "align=none"]))
    lines = differences(before, after)
    assert "tune.lr.language: 2e-05 -> 1e-05" in lines
    assert "align: given -> none" in lines
    assert differences(before, before) == []


def test_pick() -> None:
    assert pick({"a": 1}, "a", "letter") == 1
    assert pick({}, "math:pi", "number") > 3
    with pytest.raises(ConfigError, match='no letter named "alpho"; did you mean "alpha"'):
        pick({"alpha": 1}, "alpho", "letter")
    with pytest.raises(ConfigError, match="cannot be imported"):
        pick({"alpha": 1}, "math:no_such_thing", "letter")


def test_recipes_need_no_tensors() -> None:
    code = "import sys; sys.modules['torch'] = None\nfrom seetell.config import load_recipe, shipped_recipes\n"
    code += "print(len([load_recipe(name) for name in shipped_recipes()]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(len(SHIPPED))


def test_a_field_inside_what_is_not_there_brings_its_defaults() -> None:
    recipe = a_recipe()
    assert recipe.tune is not None
    assert recipe.tune.lora is None
    changed = apply_sets(recipe, ["tune.lora.rank=8", "tune.lora.bits=4"])
    assert changed.tune is not None
    assert changed.tune.lora == Lora(rank=8, bits=4)
    assert apply_sets(changed, ["tune.lora=none"]) == recipe
