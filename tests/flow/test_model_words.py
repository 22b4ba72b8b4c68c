"""A finished model is trained on in the words and the picture mode of its folder, and every verb agrees on them."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from seetell.config import apply_sets, load_recipe
from seetell.encode.jinja import JinjaTemplate
from seetell.encode.processor import Processor
from seetell.files import FACTS_FILE, read_json, write_json, write_manifest
from seetell.infer.loading import load
from seetell.infer.reading import read_model
from seetell.model.weights import save_model
from seetell.sources.conversations import read_conversations
from seetell.train.recipe import Recipe
from seetell.train.run import train
from seetell.train.start import planning_processor, settled, stage_processor, start_model
from seetell.types import Conversation
from seetell.verbs import training
from seetell.verbs.plan import plan
from seetell.verbs.show import show
from tests.tiny import tiny_recipe, tiny_world


def write_model(folder: Path, world: Path, template: str, image: str) -> Path:
    """A finished model of those words, untrained."""
    recipe = apply_sets(tiny_recipe(world), [f"tune.template={template}", f"tune.image={image}"])
    vlm = start_model(recipe)
    assert recipe.tune is not None
    processor = stage_processor(recipe.model, recipe.tune, vlm)
    folder.mkdir()
    save_model(vlm, folder, stop_ids=sorted(processor.stop_ids))
    processor.save(folder)
    write_manifest(folder)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tiny_world(tmp_path_factory.mktemp("world"), 12)
    write_model(root / "own", root, "own", "stretch")
    return root


def sets(world: Path, start: Path, *more: str) -> list[str]:
    data = [f"tune.data={world / 'tune.json'}", f"tune.data.0.images={world / 'pictures'}"]
    return [f"model.start={start}", *data, "tune.samples_per_step=4", "tune.micro_tokens=512", *more]


def finetune(world: Path, start: Path, *more: str) -> Recipe:
    return apply_sets(load_recipe("finetune_yours"), sets(world, start, *more))


def words(recipe: Recipe) -> tuple[str, str]:
    (stage,) = settled(recipe).stages.values()
    return stage.template, stage.image


@pytest.mark.parametrize(("template", "image"), [("own", "stretch"), ("vicuna-v0", "square"), ("vicuna-v1", "pad")])
def test_what_a_recipe_leaves_open_is_the_models(world: Path, tmp_path: Path, template: str, image: str) -> None:
    start = write_model(tmp_path / "start", world, template, image)
    assert words(finetune(world, start)) == (template, image)
    assert words(finetune(world, start, "tune.template=llama-2")) == ("llama-2", image)
    assert words(finetune(world, start, "tune.image=pad")) == (template, "pad")
    lora = apply_sets(load_recipe("finetune_yours_lora"), sets(world, start))
    assert words(lora) == (template, image)


def test_the_same_ids_as_the_model_itself(world: Path) -> None:
    recipe, own = finetune(world, world / "own"), Processor.load(world / "own")
    assert recipe.tune is not None
    ours = planning_processor(recipe.model, recipe.tune)
    assert isinstance(ours.template, JinjaTemplate)
    assert isinstance(own.template, JinjaTemplate)
    assert ours.template.source == own.template.source
    for row in read_conversations(world / "tune.json", world / "pictures"):
        assert isinstance(row, Conversation)
        one, other = ours.encode(row), own.encode(row)
        assert one.ids.tolist() == other.ids.tolist()  # pyright: ignore[reportAttributeAccessIssue]
        assert one.supervised.tolist() == other.supervised.tolist()  # pyright: ignore[reportAttributeAccessIssue]


def test_plan_and_show_agree(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stage,) = plan("finetune_yours", sets(world, world / "own"))
    assert stage.choices["words and pictures"] == "template own, image stretch"
    assert "tune takes template=own and image=stretch from the model that it starts from" in capsys.readouterr().err
    source = tmp_path / "mine.py"
    given = sets(world, world / "own")
    source.write_text(
        "from seetell.config import apply_sets, load_recipe\n"
        f"RECIPE = apply_sets(load_recipe('finetune_yours'), {given!r})\n"
    )
    for arguments in ({"source": str(source)}, {"source": str(world / "tune.json"), "model": str(world / "own")}):
        show(**arguments, images=str(world / "pictures") if "model" in arguments else None)
        shown = capsys.readouterr().out
        assert " · own · " in shown
        assert "⟦white</s>" in shown


def test_train_goes_on_in_them_and_chat_and_eval_read_what_it_left(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    training.train("finetune_yours", out, sets=sets(world, world / "own"), device="cpu")
    told = capsys.readouterr().err
    sentence = f"tune takes template=own and image=stretch from the model that it starts from, {world / 'own'}."
    assert told.count(sentence) == 1
    assert "was tuned with" not in told
    assert "⟦white</s>" in told  # the samples that are shown before the first step
    written = read_json(out / "recipe.json")["tune"]
    assert (written["template"], written["image"]) == ("own", "stretch")
    before, after = (read_json(folder / FACTS_FILE) for folder in (world / "own", out / "model"))
    assert after == before  # the chat template too, to the letter
    engine = load(out / "model", "cpu").engine
    assert (engine.processor.template.name, engine.processor.image_processor.mode) == ("own", "stretch")


def test_another_template_has_to_be_asked_for_and_is_told(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(finetune(world, world / "own", "tune.template=vicuna-v1"), tmp_path, device="cpu")
    told = capsys.readouterr().err
    assert "tune takes image=stretch from the model" in told
    assert "was tuned with template=own, and this stage trains with template=vicuna-v1" in told
    facts = read_json(tmp_path / "model" / FACTS_FILE)
    assert (facts["template"], facts["image_mode"]) == ("vicuna-v1", "stretch")


def test_a_folder_that_transformers_wrote_is_read_as_chat_reads_it(world: Path, tmp_path: Path) -> None:
    start = write_model(tmp_path / "start", world, "vicuna-v1", "square")
    (start / FACTS_FILE).unlink()
    _, processor = read_model(start)
    assert words(finetune(world, start)) == (processor.template.name, processor.image_processor.mode)


def test_a_model_that_was_aligned_alone_begins_a_dialogue(world: Path, tmp_path: Path) -> None:
    start = write_model(tmp_path / "start", world, "plain", "square")
    assert words(finetune(world, start)) == ("vicuna-v1", "square")


def test_parts_have_llavas_words(world: Path) -> None:
    recipe = replace(tiny_recipe(world), align=None)
    assert words(apply_sets(recipe, ["tune.template=auto", "tune.image=auto"])) == ("vicuna-v1", "pad")


def test_a_run_that_began_in_other_words_keeps_them(world: Path, tmp_path: Path) -> None:
    """As the recipe was before it left them to the model."""

    def stop(*_: object) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    earlier = finetune(world, world / "own", "tune.template=vicuna-v1", "tune.image=pad")
    with pytest.raises(KeyboardInterrupt):
        train(earlier, tmp_path, device="cpu", observers=[stop], observe_every=1)
    training.train("finetune_yours", tmp_path, sets=sets(world, world / "own"), device="cpu")
    assert Processor.load(tmp_path / "model").template.name == "vicuna-v1"


def test_facts_of_an_older_version_suffice(world: Path, tmp_path: Path) -> None:
    start = write_model(tmp_path / "start", world, "vicuna-v0", "square")
    facts = read_json(start / FACTS_FILE)
    del facts["image_mode"]
    write_json(start / FACTS_FILE, facts)
    assert words(finetune(world, start)) == ("vicuna-v0", "square")
    assert json.loads((start / FACTS_FILE).read_text())["template"] == "vicuna-v0"
