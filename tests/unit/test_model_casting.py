"""Weights are cast, buffers never: by the function, by every loader, and by nothing else in the package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Glm4MoeConfig, Glm4MoeForCausalLM

import seetell
from seetell.model.adapter import add_lora, load_any, save_adapter
from seetell.model.casting import cast_parameters
from seetell.model.connector import build_connector
from seetell.model.parts import load_parts
from seetell.model.vlm import VLM
from seetell.model.weights import load_model, save_model
from tests.tiny import tiny_parts
from tests.tiny_models import IMAGE_ID, MEAN, STD, tiny_vision, tiny_vlm


def buffers_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer for name, buffer in module.named_buffers() if buffer.is_floating_point()}


def assert_exact(cast: nn.Module, plain: nn.Module, dtype: torch.dtype) -> None:
    assert {weight.dtype for weight in cast.parameters()} == {dtype}
    found, expected = buffers_of(cast), buffers_of(plain)
    assert found.keys() == expected.keys() != set()
    assert all(torch.equal(found[name], buffer) for name, buffer in expected.items())
    assert {buffer.dtype for buffer in found.values()} == {torch.float32}


def test_what_a_module_computed_for_itself_keeps_its_type() -> None:
    module = nn.BatchNorm1d(4)
    module.register_parameter("codes", nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False))
    cast_parameters(module, torch.bfloat16)
    assert module.weight.dtype == torch.bfloat16
    assert module.running_mean is not None
    assert module.running_mean.dtype == torch.float32
    assert module.get_parameter("codes").dtype == torch.uint8


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_loader_keeps_rotary_frequencies(tmp_path: Path, dtype: torch.dtype) -> None:
    vision, language = tiny_parts(tmp_path)
    plain = load_parts(vision, language, image_id=261, vocabulary=262)
    assert_exact(load_parts(vision, language, image_id=261, vocabulary=262, dtype=dtype), plain, dtype)
    save_model(plain, tmp_path / "base")
    assert_exact(load_model(tmp_path / "base", dtype), plain, dtype)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_adapter(add_lora(plain, rank=2, alpha=4), adapter, tmp_path / "base", 16)
    assert_exact(load_any(adapter, dtype), plain, dtype)


def test_a_buffer_that_is_stored_keeps_its_type(tmp_path: Path) -> None:
    """A router's correction, which is compared with sigmoids that lie close together."""
    size: dict[str, Any] = {
        "vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "moe_intermediate_size": 16, "head_dim": 8,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "n_routed_experts": 4,
        "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "pad_token_id": 0,
    }  # fmt: skip
    config = Glm4MoeConfig(**size)
    torch.manual_seed(0)
    tower, decoder = tiny_vision(), Glm4MoeForCausalLM(config)
    model = VLM(tower, build_connector("mlp2", 24, 32, 0), decoder, image_id=IMAGE_ID, pixel_mean=MEAN, pixel_std=STD)
    (name,) = (name for name, _ in model.named_buffers() if name.endswith("e_score_correction_bias"))
    model.get_buffer(name).uniform_()
    save_model(model, tmp_path)
    loaded = load_model(tmp_path, torch.bfloat16)
    assert torch.equal(loaded.get_buffer(name), model.get_buffer(name))
    assert loaded.dtype == torch.bfloat16


def test_nothing_casts_a_whole_module() -> None:
    """`module.to(dtype)` and its short forms; a tensor's own casts are written on tensors."""
    whole = re.compile(
        r"nn\.Module\.to\(|(model|vlm|vision|language|tower|decoder|connector|joint)\.(half|bfloat16)\(\)"
    )
    package = Path(seetell.__file__).parent
    assert [str(path) for path in package.rglob("*.py") if whole.search(path.read_text())] == []
    kept = tiny_vlm()
    cast_parameters(kept, torch.bfloat16)
    assert_exact(kept, tiny_vlm(), torch.bfloat16)
