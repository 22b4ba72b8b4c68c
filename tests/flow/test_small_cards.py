"""Runs for a card that is small for its model: optimizers in bfloat16, and LoRA over a base in few bits."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import seetell
from seetell.config import apply_sets
from seetell.errors import ConfigError, UsageError
from seetell.files import read_json
from seetell.model.adapter import WEIGHTS, load_any, lora_parameters
from seetell.model.vlm import VLM
from seetell.model.weights import load_model
from seetell.train.recipe import Recipe
from seetell.train.run import train
from seetell.train.stopping import Stop
from seetell.verbs.exporting import export_model
from tests.tiny import tiny_recipe, tiny_world

HAS_BITSANDBYTES = importlib.util.find_spec("bitsandbytes") is not None
LORA = ["tune.lora.rank=4", "tune.lora.alpha=8", "tune.lr.language=3e-2"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("world"), 16)


@pytest.fixture(scope="module")
def aligned(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished model to go on from."""
    return train(tiny_recipe(world), tmp_path_factory.mktemp("run"), device="cpu", stages=("align",))


def going_on(world: Path, start: Path, *sets: str) -> Recipe:
    recipe = tiny_recipe(world)
    return apply_sets(Recipe(type(recipe.model)(start=str(start)), tune=recipe.tune), ["tune.lr.language=3e-3", *sets])


def disturbed(recipe: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run stopped behind its second step, and continued."""
    asked = iter([False, True])
    monkeypatch.setattr(Stop, "asked", lambda _: next(asked, False))
    train(recipe, out, device="cpu")
    assert not (out / "model").exists()
    return train(recipe, out, device="cpu")


def assert_same(one: Path, other: Path) -> None:
    a, b = load_file(one), load_file(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@torch.no_grad()
def hidden(model: VLM) -> torch.Tensor:
    ids = torch.arange(5, 40)
    return model(ids, torch.arange(len(ids)), [0, len(ids)])


@pytest.mark.parametrize("optimizer", ["adamw-bf16", "adamw-8bit"])
def test_in_bfloat16_a_run_learns_and_resumes_to_the_same_bits(
    world: Path, aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    recipe = going_on(world, aligned, f"tune.optimizer={optimizer}")
    model = train(recipe, tmp_path / "one", device="cpu")
    report = read_json(tmp_path / "one" / "report.json")["stages"]["tune"]
    assert report["precision"] == "bfloat16"
    assert report["last_loss"] < report["first_loss"]
    assert {tensor.dtype for tensor in load_model(model).state_dict().values()} == {torch.bfloat16}
    assert_same(model / "model.safetensors", disturbed(recipe, tmp_path / "two", monkeypatch) / "model.safetensors")


def test_lora_learns_in_float32_over_a_base_in_bfloat16(world: Path, aligned: Path, tmp_path: Path) -> None:
    kinds: list[set[torch.dtype]] = []

    def look(_step: int, model: VLM, _processor: object) -> dict[str, float]:
        matrices = set(lora_parameters(model).values())
        kinds.append({p.dtype for p in matrices} | {p.dtype for p in model.connector.parameters()})
        kinds.append({p.dtype for p in model.language.parameters() if p not in matrices})
        return {}

    recipe = going_on(world, aligned, *LORA, "tune.precision=bfloat16")
    model = train(recipe, tmp_path, device="cpu", observers=[look], observe_every=4)
    assert kinds == [{torch.float32}, {torch.bfloat16}]
    assert bool(hidden(load_any(model, torch.bfloat16)).isfinite().all())


def test_an_optimizer_in_bfloat16_is_not_for_float32(world: Path, aligned: Path) -> None:
    with pytest.raises(ConfigError, match="keeps weights in bfloat16"):
        going_on(world, aligned, "tune.optimizer=adamw-8bit", "tune.precision=float32")


@pytest.mark.skipif(HAS_BITSANDBYTES, reason="bitsandbytes is installed")
def test_without_bitsandbytes_it_says_what_to_install(world: Path, aligned: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pip install -e '.*\[quant\]'"):
        train(going_on(world, aligned, *LORA, "tune.lora.bits=4"), tmp_path, device="cpu")


@pytest.mark.skipif(not HAS_BITSANDBYTES, reason="bitsandbytes is not installed")
@pytest.mark.parametrize("bits", [4, 8])
def test_over_a_base_in_few_bits(
    world: Path, aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    seen: list[torch.Tensor] = []

    def look(_step: int, model: VLM, _processor: object) -> dict[str, float]:
        seen.append(hidden(model))
        return {}

    recipe = going_on(world, aligned, *LORA, f"tune.lora.bits={bits}")
    model = train(recipe, tmp_path / "one", device="cpu", observers=[look], observe_every=4)
    assert_same(model / WEIGHTS, disturbed(recipe, tmp_path / "two", monkeypatch) / WEIGHTS)
    read = load_any(model)
    quantized = [part for part in read.modules() if hasattr(part, "quant_state") or hasattr(part, "state")]
    assert len(quantized) == 14  # seven layers in each of two; neither tower, nor connector, nor head
    assert torch.equal(hidden(read), seen[-1])
    merged = load_model(export_model(model, "hf", tmp_path / "merged"))
    close = 1e-5 if bits == 4 else 0.02  # 8 bits round what comes in, too
    assert float((hidden(merged) - seen[-1]).abs().max() / seen[-1].abs().max()) < close
    assert isinstance(seetell.load(model).ask(None, "Who?", max_new_tokens=2), str)
