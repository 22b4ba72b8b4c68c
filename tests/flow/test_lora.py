"""LoRA from a recipe to a chat: what is trained, what the folder holds, who loads it, and what merging leaves."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor, LlavaForConditionalGeneration

import seetell
from seetell.config import apply_sets, load_recipe
from seetell.encode.processor import Processor
from seetell.errors import BadInput, ConfigError, UsageError
from seetell.files import read_json, write_json
from seetell.model.adapter import CONFIG, WEIGHTS, load_any, lora_parameters
from seetell.model.vlm import VLM
from seetell.model.weights import load_model
from seetell.train.recipe import Lora, Model, Recipe
from seetell.train.run import train
from seetell.train.stopping import Stop
from seetell.verbs.exporting import export_model
from tests.tiny import tiny_recipe, tiny_world

QUESTION = "Which colour?"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("world"), 16)


def recipe_of(world: Path) -> Recipe:
    rates = ["tune.lr.language=3e-2", "tune.lora.rank=4", "tune.lora.alpha=8", "tune.lora.dropout=0.1"]
    return apply_sets(tiny_recipe(world), rates)


@pytest.fixture(scope="module")
def trained(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """A finished run, and the hidden states of its model before it was written down."""
    out = tmp_path_factory.mktemp("trained")
    seen: list[torch.Tensor] = []

    def look(_step: int, model: VLM, _processor: Processor) -> dict[str, float]:
        seen.append(hidden(model))
        return {}

    assert train(recipe_of(world), out, device="cpu", observers=[look], observe_every=1) == out / "model"
    return out, seen[-1]


@torch.no_grad()
def hidden(model: VLM) -> torch.Tensor:
    ids = torch.cat([torch.tensor([1, 7]), torch.full((4,), model.image_id), torch.arange(10, 40)])
    pixels = (torch.arange(3 * 16 * 16) % 251).to(torch.uint8).reshape(1, 3, 16, 16)
    return model.logits(model(ids, torch.arange(len(ids)), [0, len(ids)], pixels))


def farthest(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / one.abs().max())


def test_the_matrices_and_the_connector_learn_and_nothing_else(trained: tuple[Path, torch.Tensor]) -> None:
    out, _ = trained
    base, model = load_model(out / "aligned"), load_any(out / "model")
    names = {name.rpartition(".lora_A.")[0] for name in lora_parameters(model) if ".lora_A." in name}
    linear = {name for name, part in base.named_modules() if isinstance(part, torch.nn.Linear)}
    assert names == {name for name in linear if name.startswith("language.model.layers.")}
    assert all(bool(p.any()) for p in lora_parameters(model).values())
    after = {name.replace(".base_layer.", "."): tensor for name, tensor in model.state_dict().items()}
    moved = {
        name.partition(".")[0] for name, tensor in base.state_dict().items() if not torch.equal(after[name], tensor)
    }
    assert moved == {"connector"}
    stage = read_json(out / "report.json")["stages"]["tune"]
    assert stage["last_loss"] < stage["first_loss"]


def test_read_back_it_differs_by_nothing(trained: tuple[Path, torch.Tensor]) -> None:
    out, expected = trained
    assert torch.equal(hidden(load_any(out / "model")), expected)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # what peft asks
def test_peft_opens_it_over_the_base(trained: tuple[Path, torch.Tensor], world: Path) -> None:
    out, _ = trained
    base = LlavaForConditionalGeneration.from_pretrained(out / "aligned")
    theirs = peft.PeftModel.from_pretrained(base, str(out / "model")).eval()
    whole = peft.AutoPeftModel.from_pretrained(str(out / "model")).eval()
    processor = AutoProcessor.from_pretrained(out / "model", backend="pil")
    ours = load_any(out / "model")
    inputs = processor(text=f"USER: <image>\n{QUESTION} ASSISTANT:", images=picture(world), return_tensors="pt")
    with torch.no_grad():
        expected = theirs(**inputs).logits[0]
        assert torch.equal(whole(**inputs).logits[0], expected)
        ids = inputs["input_ids"][0]
        hidden_states = ours(ids, torch.arange(len(ids)), [0, len(ids)], inputs["pixel_values"])
        assert farthest(expected, ours.logits(hidden_states)) < 1e-5
        with theirs.disable_adapter():
            assert farthest(expected, theirs(**inputs).logits[0]) > 1e-3


def picture(world: Path) -> PIL.Image.Image:
    return PIL.Image.open(sorted((world / "pictures").iterdir())[0])


def test_merged_it_is_a_whole_model_that_says_the_same(
    trained: tuple[Path, torch.Tensor], world: Path, tmp_path: Path
) -> None:
    out, expected = trained
    merged = export_model(out / "model", "hf", tmp_path / "merged")
    model = load_model(merged)
    assert not lora_parameters(model)
    assert farthest(expected, hidden(model)) <= 1e-6
    said = seetell.load(out / "model").ask(picture(world), QUESTION, max_new_tokens=12)
    assert seetell.load(merged).ask(picture(world), QUESTION, max_new_tokens=12) == said
    hf: Any = LlavaForConditionalGeneration.from_pretrained(merged).eval()
    processor = AutoProcessor.from_pretrained(merged, backend="pil")
    talk = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    prompt = processor.apply_chat_template(talk, add_generation_prompt=True)
    inputs = processor(text=prompt, images=picture(world), return_tensors="pt")
    ids = hf.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert processor.decode(ids, skip_special_tokens=True).strip() == said.strip()
    assert export_model(out / "model", "original", tmp_path / "original").is_dir()


def test_an_interrupted_run_ends_on_the_same_bits(
    world: Path, trained: tuple[Path, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter([False, True])
    monkeypatch.setattr(Stop, "asked", lambda _: next(asked, False))
    recipe = recipe_of(world)
    train(recipe, tmp_path, device="cpu", stages=("align",))
    asked = iter([False, True])
    train(recipe, tmp_path, device="cpu")
    assert list((tmp_path / "checkpoints" / "tune").glob("step-*"))
    assert not (tmp_path / "model").exists()
    train(recipe, tmp_path, device="cpu")
    one, other = (load_file(out / "model" / WEIGHTS) for out in (trained[0], tmp_path))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_base_that_is_gone_or_another_is_told(trained: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    shutil.copytree(trained[0], tmp_path / "moved")
    adapter = tmp_path / "moved" / "model"
    assert torch.equal(hidden(load_any(adapter)), trained[1])  # the run moved as a whole
    shutil.copytree(adapter, tmp_path / "alone")
    with pytest.raises(BadInput, match="is not there: put it back"):
        load_any(tmp_path / "alone")
    base = tmp_path / "moved" / "aligned" / "model.safetensors"
    base.write_bytes(base.read_bytes()[:-1] + b"\x01")
    with pytest.raises(BadInput, match="other weights than the adapter was trained over"):
        load_any(adapter)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("cut", "not a whole safetensors file"),
        ("rank", "misshapen"),
        ("kind", "another kind of adapter"),
        ("facts", "not written by seetell"),
    ],
)
def test_a_damaged_adapter_is_told(trained: tuple[Path, torch.Tensor], tmp_path: Path, damage: str, told: str) -> None:
    shutil.copytree(trained[0], tmp_path / "run")
    adapter = tmp_path / "run" / "model"
    if damage == "cut":
        (adapter / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes()[:-4])
    elif damage == "facts":
        (adapter / "seetell.json").unlink()
    else:
        change = {"r": 2} if damage == "rank" else {"peft_type": "LOHA"}
        write_json(adapter / CONFIG, read_json(adapter / CONFIG) | change)
    with pytest.raises(BadInput, match=told):
        load_any(adapter)


def test_one_goes_on_from_an_adapter_as_from_a_whole_model(
    world: Path, trained: tuple[Path, torch.Tensor], tmp_path: Path
) -> None:
    recipe = replace(recipe_of(world), model=Model(start=str(trained[0] / "model")), align=None)
    train(recipe, tmp_path, device="cpu")
    assert len(lora_parameters(load_any(tmp_path / "model"))) == len(lora_parameters(load_any(trained[0] / "model")))


def test_from_a_finished_model_with_knobs_alone(
    world: Path, trained: tuple[Path, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures lie beside the file; any field of `lora` that is named turns it on."""
    mine = tmp_path / "mine"
    shutil.copytree(world / "pictures", mine)
    shutil.copyfile(world / "tune.json", mine / "my.json")
    sets = [
        f"model.start={trained[0] / 'aligned'}", f"tune.data={mine / 'my.json'}", "tune.lora.rank=2",
        "tune.lr.language=1e-3", "tune.samples_per_step=8",
    ]  # fmt: skip
    for name, rank in (("finetune_yours", 2), ("finetune_yours_lora", 2)):
        recipe = apply_sets(load_recipe(name), sets)
        assert recipe.tune is not None
        assert recipe.tune.lora == Lora(rank=rank)
    folder = train(recipe, tmp_path / "out", device="cpu")
    assert "tune takes template=vicuna-v1 and image=square from the model" in capsys.readouterr().err
    assert read_json(folder / "seetell.json")["adapter"]["base"] == str(trained[0] / "aligned")
    assert read_json(tmp_path / "out" / "report.json")["stages"]["tune"]["refused"] == {}
    assert isinstance(seetell.load(folder).ask(picture(world), QUESTION, max_new_tokens=2), str)


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["tune.lora.rank=0"], "lora.rank must be at least 1"),
        (["tune.lora.dropout=1"], "dropout is a probability"),
        (["tune.lora.bits=5"], 'cannot be "5"; known: 16, 4, 8'),
        (["align.lora.rank=4", "align.lr.language=1e-3"], "an adapter is what a run ends with"),
        (["align.lora.rank=4"], "name it in lr"),
        (["align=none"], "lies over a finished model"),
    ],
)
def test_what_cannot_be_meant_is_told(world: Path, sets: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        apply_sets(recipe_of(world), sets)


def test_without_peft_it_says_what_to_install(
    trained: tuple[Path, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install -e '.*\[lora\]'"):
        load_any(trained[0] / "model")
