"""How long a document may be, by a language model's config, and that its layers ask for no less."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from seetell.encode.sample import Sample, pack
from seetell.infer.engine import Engine
from seetell.model import attention
from seetell.model.attention import NAME, Packed
from seetell.model.limits import Limit, longest_document
from seetell.types import Rejected
from tests.tiny_models import tiny_vlm

SIZE: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LONG = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 32.0, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
FAMILIES: dict[str, tuple[str, dict[str, Any], int | None]] = {
    "llama": ("LlamaConfig", SIZE, 512),
    "mistral": ("MistralConfig", {**SIZE, "sliding_window": 150}, 150),
    "mistral without a window": ("MistralConfig", {**SIZE, "sliding_window": None}, 512),
    "a window beyond all positions": ("MistralConfig", {**SIZE, "sliding_window": 4096}, 512),
    "mixtral": ("MixtralConfig", {**SIZE, "sliding_window": 150, "num_local_experts": 2}, 150),
    "phi3": ("Phi3Config", {**SIZE, "sliding_window": 47}, 47),
    "phi3 of 128k": ("Phi3Config", {**SIZE, "original_max_position_embeddings": 96, "rope_parameters": LONG}, 96),
    "starcoder2": ("Starcoder2Config", {**SIZE, "sliding_window": 150}, 150),
    "qwen2, window named and unused": ("Qwen2Config", {**SIZE, "sliding_window": 100}, 512),
    "qwen2": (
        "Qwen2Config",
        {**SIZE, "sliding_window": 100, "use_sliding_window": True, "max_window_layers": 2},
        100,
    ),
    "qwen2, no layer so deep": (
        "Qwen2Config",
        {**SIZE, "sliding_window": 100, "use_sliding_window": True, "max_window_layers": 4},
        512,
    ),
    "qwen3": (
        "Qwen3Config",
        {**SIZE, "head_dim": 8, "sliding_window": 100, "use_sliding_window": True, "max_window_layers": 3},
        100,
    ),
    "ministral": ("MinistralConfig", {**SIZE, "head_dim": 8, "sliding_window": 90}, 90),
    "olmo3": ("Olmo3Config", {**SIZE, "sliding_window": 90}, 90),
    "exaone4": ("Exaone4Config", {**SIZE, "sliding_window": 90, "sliding_window_pattern": 4}, 90),
    "smollm3": ("SmolLM3Config", {**SIZE, "sliding_window": 90}, 512),
    "smollm3 with windows": (
        "SmolLM3Config",
        {**SIZE, "sliding_window": 90, "use_sliding_window": True, "no_rope_layers": [1, 0, 1, 0]},
        90,
    ),
    "gpt2": ("GPT2Config", {"vocab_size": 64, "n_positions": 100, "n_embd": 32, "n_layer": 2, "n_head": 4}, 100),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_config_says_how_long_a_document_may_be_and_no_layer_asks_for_less(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, given, tokens = FAMILIES[name]
    config = getattr(transformers, kind)(**given)
    limit = longest_document(config)
    assert (limit and limit.tokens) == tokens
    asked: list[int | None] = []
    plain = attention.packed_attention

    def noted(module: Any, *tensors: Any, **given: Any) -> Any:
        asked.append(given.get("sliding_window"))
        return plain(module, *tensors, **given)

    monkeypatch.setitem(transformers.AttentionInterface._global_mapping, NAME, noted)
    language = AutoModelForCausalLM.from_config(config)
    language.set_attn_implementation(NAME)
    language.base_model(
        inputs_embeds=torch.zeros(1, 8, 32), position_ids=torch.arange(8)[None], use_cache=False,
        attending=Packed([8]),
    )  # fmt: skip
    windows = [window for window in asked if window is not None]
    assert asked
    assert limit is not None
    if "sliding_window" in limit.why:
        assert min(windows) == tokens
    else:
        assert all(window >= limit.tokens for window in windows)


def test_nothing_bounds_what_names_no_bound() -> None:
    assert longest_document(transformers.BloomConfig()) is None


def test_each_kind_of_layer_may_have_its_own_frequencies() -> None:
    rope = {
        "full_attention": {**LONG, "original_max_position_embeddings": 64},
        "sliding_attention": {"rope_type": "default"},
    }
    config = transformers.LlamaConfig(**SIZE)
    config.rope_parameters = rope
    limit = longest_document(config)
    assert limit is not None
    assert limit.tokens == 64
    assert "longrope" in limit.why


def test_what_fills_a_batch_up_is_no_longer_than_its_samples() -> None:
    """A window or a table of fewer than 128 positions is not exceeded by what is only there to fill."""
    batch = pack([Sample("a", torch.arange(30), torch.arange(30) > 20)], [], multiple_of=128)
    assert max(batch.lengths) == 30
    assert int(batch.positions.max()) == 29
    assert len(batch) == 128


@pytest.mark.parametrize(("window", "expected"), [(40, 40), (None, 512)])
def test_an_engine_knows_the_same_limit(window: int | None, expected: int) -> None:
    vlm = tiny_vlm(language="mistral")
    vlm.language.config.sliding_window = window  # pyright: ignore[reportAttributeAccessIssue]
    processor: Any = type("Processor", (), {"image_processor": None})()
    engine = Engine(vlm, processor)
    assert engine.context_tokens == expected
    long = Sample("q", torch.ones(expected, dtype=torch.int64), torch.zeros(expected, dtype=torch.bool))
    (refused,) = engine.generate([long])
    assert isinstance(refused, Rejected)
    assert refused.reason == "too long"
    assert isinstance(engine.limit, Limit)
    assert engine.limit.why in refused.detail
