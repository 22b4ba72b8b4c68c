"""What a run cannot do is said before its first step, and what a language model cannot read is left out, not met."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Pillow
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

import seetell
from seetell.config import apply_sets
from seetell.errors import BadInput, UsageError
from seetell.files import read_json
from seetell.model import computing
from seetell.model.fp8 import can_multiply
from seetell.train import preflight, run
from seetell.train.recipe import Data, Lora, Model, Recipe, Stage
from seetell.train.run import train
from seetell.verbs.plan import plan
from seetell.verbs.show import show
from tests.tiny import tiny_recipe, tiny_world

WINDOW = 45
LONG = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 32.0, "short_factor": [1.0] * 8, "long_factor": [4.0] * 8}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("world"), 8)


def language_of(world: Path, family: str) -> str:
    """A language model that reads 45 tokens at most, in the words of the world's."""
    folder = world / family
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(world / "language")
    tokenizer.save_pretrained(folder)
    size: dict[str, Any] = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    rows: dict[str, Any] = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2}
    models = {
        "mistral": lambda: MistralForCausalLM(MistralConfig(**size, sliding_window=WINDOW)),
        "phi3": lambda: Phi3ForCausalLM(Phi3Config(**size, sliding_window=WINDOW)),
        "phi3-128k": lambda: Phi3ForCausalLM(
            Phi3Config(**size, original_max_position_embeddings=WINDOW, rope_parameters=LONG)
        ),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**rows, n_positions=WINDOW, n_embd=32, n_layer=2, n_head=2)),
    }
    models[family]().save_pretrained(folder)
    return str(folder)


def captions(world: Path) -> str:
    """Four captions that fit into 45 tokens, two of them to the last one, and three that do not."""
    rows = []
    for i, words in enumerate((4, 20, 41, 41, 42, 60, 300)):
        turns = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "x" * (words - 1)}]
        rows.append({"id": f"c{i}", "image": f"{i}.png", "conversations": turns})
        Pillow.new("RGB", (16, 16), (30 * i, 0, 0)).save(world / f"{i}.png")
    path = world / "captions.json"
    path.write_text(json.dumps(rows))
    return str(path)


@pytest.mark.parametrize("family", ["mistral", "phi3", "phi3-128k", "gpt2"])
def test_samples_beyond_what_a_language_model_reads_are_left_out_and_counted(
    world: Path, tmp_path: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(
        data=(Data(captions(world)),), lr={"connector": 1e-2}, samples_per_step=2, template="plain", image="square",
        micro_tokens=256,
    )  # fmt: skip
    recipe = Recipe(Model(str(world / "vision"), language_of(world, family)), align=stage)
    model = train(recipe, tmp_path / "run", device="cpu")
    told = capsys.readouterr().err
    assert "a sample has at most 45 tokens, not max_tokens=2,048" in " ".join(told.split())
    assert read_json(tmp_path / "run" / "report.json")["stages"]["align"]["refused"] == {"too long": 3}
    (planned,) = plan(recipe, device="cpu")
    assert planned.counts.left_out == {"too long": 3}
    assert planned.counts.longest_tokens == WINDOW
    assert planned.choices["longest sample"].startswith("45 tokens: ")
    assert "45" in planned.choices["longest sample"].partition(":")[2]
    with pytest.raises(BadInput, match="too long"):
        show(str(world / "captions.json"), id="c4", template="plain", model=str(model), images=world)
    with pytest.raises(BadInput, match="The prompt has no token"):  # `plain` writes none of these words
        seetell.load(model).ask(None, "Why?")


def test_no_word_is_said_where_the_recipe_asks_for_less(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = tiny_recipe(world).align
    assert stage is not None
    limit = preflight.Limit(4096, "it ends there")
    assert preflight.within(stage, limit, "align") is stage
    assert preflight.within(stage, None, "align") is stage
    assert not capsys.readouterr().err


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The packages named in it are not installed."""
    names: set[str] = set()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in names else find(name, *rest))
    return names


@pytest.mark.parametrize(
    ("missing", "sets", "sentence"),
    [
        ({"peft"}, ["tune.lora.rank=4"], "tune: LoRA needs peft, which is not installed"),
        ({"bitsandbytes"}, ["tune.lora.bits=4"], "tune: A language model in 4 bits needs bitsandbytes"),
        (set(), ["tune.compile=on"], "tune: torch.compile finds no C++ compiler here"),
    ],
)
def test_what_the_last_stage_lacks_is_said_before_the_first_begins(
    world: Path,
    tmp_path: Path,
    hidden: set[str],
    monkeypatch: pytest.MonkeyPatch,
    missing: set[str],
    sets: list[str],
    sentence: str,
) -> None:
    hidden |= missing
    monkeypatch.setattr("seetell.model.computing.shutil.which", lambda *_, **__: None)
    monkeypatch.setattr(run, "load_model", None)
    monkeypatch.setattr(run, "start_model", None)
    computing.why_not_compile.cache_clear()
    recipe = apply_sets(tiny_recipe(world), sets)
    with pytest.raises(UsageError) as refused:
        train(recipe, tmp_path / "run", device="cpu")
    assert sentence in str(refused.value)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert not (tmp_path / "run" / "aligned").exists()
    sentence = sentence.removeprefix("tune: ")
    if "peft" in missing:  # memory is counted on its layers
        with pytest.raises(UsageError, match=sentence):
            plan(recipe, device="cpu")
        return
    plans = plan(recipe, device="cpu")
    assert plans[0].missing == []
    assert sentence in plans[1].missing[0]
    computing.why_not_compile.cache_clear()


def test_all_that_is_missing_is_said_at_once(world: Path, hidden: set[str], tmp_path: Path) -> None:
    hidden.add("peft")
    recipe = tiny_recipe(world)
    assert recipe.align is not None
    assert recipe.tune is not None
    recipe = replace(recipe, align=replace(recipe.align, fp8=True), tune=replace(recipe.tune, lora=Lora(4, 8)))
    wanted = ["tune: LoRA needs peft"]
    if can_multiply(torch.device("cpu")):
        wanted.append("align: This device does not multiply 8-bit matrices")
    with pytest.raises(UsageError) as refused:
        train(recipe, tmp_path / "run", device="cpu")
    assert all(sentence in str(refused.value) for sentence in wanted)


def test_a_stage_that_is_not_asked_for_or_done_needs_nothing(world: Path, hidden: set[str], tmp_path: Path) -> None:
    hidden.add("peft")
    recipe = apply_sets(tiny_recipe(world), ["tune.lora.rank=4"])
    train(recipe, tmp_path / "run", device="cpu", stages=("align",))
    with pytest.raises(UsageError, match="tune: LoRA needs peft"):
        train(recipe, tmp_path / "run", device="cpu")


def test_a_picture_that_fills_the_context_is_refused(world: Path, tmp_path: Path) -> None:
    language = Path(language_of(world, "gpt2"))
    GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=4, n_embd=32, n_layer=1, n_head=2)).save_pretrained(language)
    recipe = replace(tiny_recipe(world), model=Model(str(world / "vision"), str(language)))
    with pytest.raises(UsageError, match="A picture takes 4 tokens, and this gpt2 knows positions up to 4"):
        train(recipe, tmp_path / "run", device="cpu")
