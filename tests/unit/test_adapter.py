"""Putting an adapter in: the same matrices each time, in the decoder alone, and changing nothing before they learn."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
from transformers import LlavaForConditionalGeneration

from benchmarks.family_cases import Case, join, tiny_decoder, tiny_tower
from seetell.errors import UsageError
from seetell.files import sha256_file
from seetell.model.adapter import add_lora, left_out, load_adapter, lora_parameters, merge, save_adapter, target_names
from seetell.model.vlm import VLM
from seetell.model.weights import save_model
from tests.tiny_models import tiny_documents, tiny_pixels, tiny_vlm


@torch.no_grad()
def logits(vlm: VLM) -> torch.Tensor:
    (ids,) = tiny_documents([(1, 20)])
    return vlm.logits(vlm(ids, torch.arange(len(ids)), [0, len(ids)], tiny_pixels(1)))


def learnt(vlm: VLM) -> VLM:
    """As if trained: B is no longer zero, and the connector has moved."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in [*lora_parameters(vlm).values(), *vlm.connector.parameters()]:
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draw))
    return vlm.eval()


def farthest(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / one.abs().max())


def test_the_same_seed_puts_in_the_same_matrices_and_draws_from_nobody() -> None:
    one, same, other = tiny_vlm(), tiny_vlm(), tiny_vlm()
    before = torch.get_rng_state()
    for vlm, seed in ((one, 1), (same, 1), (other, 2)):
        add_lora(vlm, rank=4, alpha=8, dropout=0.1, seed=seed)
    assert torch.equal(torch.get_rng_state(), before)
    a, b, c = (lora_parameters(vlm) for vlm in (one, same, other))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)
    assert torch.equal(logits(one.eval()), logits(tiny_vlm()))


@pytest.mark.parametrize("language", ["llama", "qwen2", "mistral"])
def test_every_linear_layer_but_the_head_and_none_of_the_tower(language: str) -> None:
    vlm = tiny_vlm(language=language, tied=language == "qwen2")
    names = target_names(vlm)
    parts = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert sorted(name.rpartition(".")[2] for name in names) == sorted(parts * 2)
    assert all(name.startswith("model.layers.") for name in names)
    add_lora(vlm, rank=2, alpha=4)
    assert len(lora_parameters(vlm)) == 2 * len(names)
    assert not lora_parameters(vlm.vision)
    assert not lora_parameters(vlm.connector)


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe", "deepseek_v3", "llama"])
def test_experts_get_no_matrices_and_the_run_says_so(kind: str) -> None:
    """transformers 5 keeps a layer's experts as one tensor, which is no linear layer."""
    vlm = join(tiny_tower(), tiny_decoder(Case(kind, {})))
    told = left_out(vlm)
    if kind == "llama":
        assert told is None
        return
    assert told is not None
    assert "mlp.experts.gate_up_proj" in told
    assert "mlp.experts.down_proj" in told
    assert "q_proj" not in told
    experts = sum(weight.numel() for weight in vlm.language.parameters() if weight.dim() == 3)
    matrices = [weight.numel() for name, weight in vlm.language.named_parameters() if weight.dim() > 1]
    whole = sum(matrices) - vlm.embedding.weight.numel() - vlm.head.weight.numel()
    share = int(told.partition("%")[0].rpartition(" ")[2]) / 100
    assert experts / whole - 0.005 <= share <= experts / whole + 0.05, "experts and their router"
    add_lora(vlm, rank=2, alpha=4)
    assert len(lora_parameters(vlm)) == 2 * len(target_names_of_plain(kind))
    assert not [name for name in lora_parameters(vlm) if "experts" in name and "shared" not in name]


def target_names_of_plain(kind: str) -> list[str]:
    return target_names(join(tiny_tower(), tiny_decoder(Case(kind, {}))))


def test_a_decoder_without_linear_layers_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="GPT2LMHeadModel has no linear layers"):
        add_lora(join(tiny_tower(), tiny_decoder(Case("gpt2", {}))), rank=2, alpha=4)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # what peft asks
@pytest.mark.parametrize(
    ("language", "connector", "tied"), [("llama", "linear", False), ("qwen2", "mlp2", True), ("llama", "mlp3", False)]
)
def test_kept_read_and_merged_it_is_the_same_model(tmp_path: Path, language: str, connector: str, tied: bool) -> None:
    base, folder = tmp_path / "base", tmp_path / "adapter"
    vlm = tiny_vlm(language=language, connector=connector, tied=tied)
    save_model(vlm, base)
    folder.mkdir()
    save_adapter(learnt(add_lora(vlm, rank=4, alpha=8)), folder, base, 16)
    expected = logits(vlm)
    assert farthest(expected, logits(tiny_vlm(language=language, connector=connector, tied=tied))) > 0.01
    assert torch.equal(logits(load_adapter(folder)), expected)
    written = sha256_file(folder / "adapter_model.safetensors")
    save_adapter(load_adapter(folder), folder, base, 16)
    assert sha256_file(folder / "adapter_model.safetensors") == written
    merged = merge(load_adapter(folder))
    assert not lora_parameters(merged)
    assert farthest(expected, logits(merged)) <= 1e-6
    if connector != "mlp3":  # transformers has no place for that one
        theirs = peft.PeftModel.from_pretrained(LlavaForConditionalGeneration.from_pretrained(base), str(folder)).eval()
        (ids,) = tiny_documents([(1, 20)])
        pixels = (tiny_pixels(1) / 255 - vlm.pixel_mean[:, None, None]) / vlm.pixel_std[:, None, None]
        with torch.no_grad():
            assert farthest(expected, theirs(input_ids=ids[None], pixel_values=pixels).logits[0]) < 1e-5
