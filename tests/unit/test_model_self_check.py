"""A language model against itself at load: what computes otherwise here than by itself is refused by a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from benchmarks.family_cases import Case, tiny_decoder
from seetell.errors import BadInput, UsageError
from seetell.model.connector import build_connector
from seetell.model.last_layer import is_pruned, prune
from seetell.model.self_check import check_model, why_not_itself
from seetell.model.vlm import VLM
from seetell.model.weights import load_model, save_model
from tests.tiny_models import tiny_vision, tiny_vlm

ROPE = {"rope_theta": 10000.0}
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, **ROPE}
LONG = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0], **ROPE}
SCALED = {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 32, "llama_4_scaling_beta": 0.5}


@pytest.fixture(autouse=True)
def _nothing_checked_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def joined(language: PreTrainedModel, kind: torch.dtype = torch.float32) -> VLM:
    torch.nn.Module.to(language, kind)
    width: int = language.config.hidden_size  # type: ignore[assignment]
    vision, connector = tiny_vision(), build_connector("mlp2", 24, width)
    constants = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return VLM(vision, connector, language, image_id=120, pixel_mean=constants[0], pixel_std=constants[1]).eval()


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        ("bert", {}, "as its head"),
        ("modernbert-decoder", {}, "head that is more than one matrix"),
        ("electra", {}, "has a head of 128"),
        ("opt", {"word_embed_proj_dim": 16, "do_layer_norm_before": False}, "embeds tokens 16 wide"),
        ("diffllama", {}, "token by token"),
        ("hrm_text", {}, "token by token"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "see those behind them"),
        ("doge", {}, "a mask of its own"),
        ("nemotron", {}, "does not hand them on to its layers"),
        ("gemma4_text", {}, "without providing `input_ids`"),
        ("gpt_oss", {}, "attention sinks"),
    ],
)
def test_a_family_that_computes_otherwise_here_is_refused_by_name(
    kind: str, given: dict[str, Any], reason: str
) -> None:
    language = tiny_decoder(Case(kind, given))
    family = type(language).__name__.removesuffix("ForCausalLM").removesuffix("LMHeadModel")
    with pytest.raises(UsageError, match=family) as refusal:
        check_model(joined(language))
    assert reason in str(refusal.value)
    assert "choose another language model" in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("afmoe", {}),  # hands the mask on by keyword
        ("jetmoe", {}),  # views what attention gives
        ("deepseek_v3", {}),  # values narrower than keys
        ("ministral3", {"rope_parameters": {**SCALED, **ROPE}}),
        ("phi3", {"rope_parameters": LONG, "original_max_position_embeddings": 128}),
        ("llama", {"rope_parameters": DYNAMIC}),
        ("mistral", {"sliding_window": 8}),  # shorter than the documents of the check
    ],
)
def test_a_family_that_computes_the_same_passes(kind: str, given: dict[str, Any]) -> None:
    vlm = joined(tiny_decoder(Case(kind, given)))
    assert check_model(vlm) is vlm


def test_it_costs_three_forwards_of_24_tokens_and_leaves_the_model_as_it_was() -> None:
    vlm = tiny_vlm()
    vlm.train()
    tokens: list[int] = []

    def count(_module: object, _given: object, out: Any) -> None:
        tokens.append(out[0].shape[0] * out[0].shape[1])

    vlm.language.base_model.register_forward_hook(count)
    assert why_not_itself(vlm) is None
    assert len(tokens) == 3
    assert max(tokens) <= 24
    assert vlm.language.training
    assert vlm.language.config._attn_implementation == "seetell_packed"
    assert all(weight.grad is None for weight in vlm.parameters())


def test_a_folder_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tiny_vlm(), tmp_path / "model")
    checks: list[VLM] = []

    def watched(vlm: VLM) -> str | None:
        checks.append(vlm)
        return None

    monkeypatch.setattr("seetell.model.self_check.why_not_itself", watched)
    for _ in range(3):
        load_model(tmp_path / "model")
    assert len(checks) == 1
    load_model(tmp_path / "model", torch.bfloat16)
    assert len(checks) == 2, "other types of weights are another check"


def test_a_refusal_is_not_remembered_and_a_read_only_place_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    language = tiny_decoder(Case("diffllama", {}))
    for _ in range(2):
        with pytest.raises(UsageError):
            check_model(joined(language))
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    check_model(tiny_vlm())


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_other_types_of_weights(kind: torch.dtype) -> None:
    assert why_not_itself(tiny_vlm().to(kind)) is None
    assert "token by token" in str(why_not_itself(joined(tiny_decoder(Case("diffllama", {})), kind)))


def test_in_16_bits_no_more_is_asked_than_a_family_agrees_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Experts that are nearly a tie are chosen by rounding: the family's other attention gives other numbers too."""
    monkeypatch.setattr("seetell.model.self_check.ROUGH_AGREEMENT", 1e-4)
    assert why_not_itself(tiny_vlm().to(torch.bfloat16)) is None
    assert "token by token" in str(why_not_itself(joined(tiny_decoder(Case("diffllama", {})), torch.bfloat16)))


def test_weights_that_are_no_numbers_are_told_from_an_odd_family() -> None:
    vlm = tiny_vlm()
    with torch.no_grad():
        vlm.language.get_parameter("model.norm.weight")[3] = float("nan")
    with pytest.raises(BadInput, match="not finite"):
        check_model(vlm)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("phi3", {"rope_parameters": LONG, "original_max_position_embeddings": 32}),
        ("llama", {"rope_parameters": DYNAMIC, "max_position_embeddings": 32}),
    ],
)
def test_a_document_beyond_the_original_context_is_refused(kind: str, given: dict[str, Any]) -> None:
    """There the frequencies would come from the longest document, and change all the others."""
    vlm = joined(tiny_decoder(Case(kind, given)))

    def run(*lengths: int) -> Tensor:
        ids = torch.cat([torch.arange(3, 3 + n) for n in lengths])
        return vlm(ids, torch.cat([torch.arange(n) for n in lengths]), lengths)

    torch.testing.assert_close(run(9, 32)[:9], run(9))
    with pytest.raises(UsageError, match=r"Beyond 32 tokens .* set max_tokens to 32"):
        run(9, 33)
    torch.testing.assert_close(run(9), run(9, 9)[9:])


def test_the_last_layer_is_left_whole_where_queries_are_scaled_far_out() -> None:
    """Ministral 3 scales its queries from `original_max_position_embeddings` on: at position 6 nobody sees it."""
    language = tiny_decoder(Case("ministral3", {"rope_parameters": {**SCALED, **ROPE}}))
    assert "something else than Llama's" in prune(language)
    assert not is_pruned(language.base_model.layers[-1])  # type: ignore[union-attr, index]


def test_a_family_without_a_head_is_refused_by_a_sentence() -> None:
    language = tiny_decoder(Case("llama", {}))
    language.lm_head = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.Linear(32, 128))  # type: ignore[assignment]
    with pytest.raises(UsageError, match="one as its head"):
        joined(language)
