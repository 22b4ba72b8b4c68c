"""What "auto" means on cards that are not here: decided by what they can do, which is told to torch's own questions."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seetell.errors import UsageError
from seetell.model import computing
from seetell.train import computing as chosen
from seetell.train.computing import choose_computing, choose_precision
from seetell.train.preflight import why_not_run
from tests.tiny_models import tiny_vlm
from tests.tiny_steps import STAGE

CUDA = torch.device("cuda", 0)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A card of a generation: torch's own question about bfloat16 is asked of it."""

    def of(major: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda _: SimpleNamespace(major=major, total_memory=2**40)
        )
        monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda _: True)  # by emulation

    return of


@pytest.mark.parametrize(("major", "precision"), [(7, "float32"), (8, "bfloat16"), (9, "bfloat16")])
def test_bfloat16_is_for_cards_that_multiply_it(card: Any, major: int, precision: str) -> None:
    card(major)
    assert choose_precision(STAGE, tiny_vlm(), CUDA) == precision


def test_blocks_are_compiled_where_that_works_and_there_are_blocks(card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    card(9)
    vlm = tiny_vlm()
    monkeypatch.setattr(chosen, "can_compile", lambda _: True)
    assert choose_computing(STAGE, vlm, CUDA)["compile"] == "on"
    monkeypatch.setattr(chosen, "can_compile", lambda _: False)
    assert choose_computing(STAGE, vlm, CUDA)["compile"] == "off"
    monkeypatch.setattr(chosen, "can_compile", lambda _: True)
    monkeypatch.setattr(chosen, "blocks", lambda _: [])  # GPT-2's are elsewhere
    assert choose_computing(STAGE, vlm, CUDA)["compile"] == "off"


def test_a_compiler_that_fails_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Any) -> Any:
        raise RuntimeError("Failed to find C compiler. Please specify via CC\nand more")

    computing.why_not_compile.cache_clear()
    monkeypatch.setattr(computing.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(torch, "compile", fails)
    why = computing.why_not_compile(CUDA)
    assert why == "torch.compile fails on cuda:0 (RuntimeError: Failed to find C compiler. Please specify via CC)"
    assert not computing.can_compile(CUDA)
    with pytest.raises(UsageError, match="set compile to off"):
        computing.check_compile(tiny_vlm().language, CUDA)
    computing.why_not_compile.cache_clear()


@pytest.mark.parametrize("setting", [{"compile": "on"}, {"checkpointing": "selective"}, {"checkpointing": "full"}])
def test_a_family_without_blocks_is_refused_before_its_weights_are_read(
    setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = tiny_vlm()
    monkeypatch.setattr(computing, "why_not_compile", lambda _: None)
    assert why_not_run(replace(STAGE, **setting), vlm, torch.device("cpu")) == []
    monkeypatch.setattr(computing, "blocks", lambda _: [])
    (why,) = why_not_run(replace(STAGE, **setting), vlm, torch.device("cpu"))
    assert "blocks of LlamaForCausalLM are not found" in why
