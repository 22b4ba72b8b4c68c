"""Frozen layers in 8 or 4 bits, by bitsandbytes, for a language model that a card could not hold otherwise.

4 bits are NormalFloat with doubly quantized scales (Dettmers et al. 2023, QLoRA, arXiv:2305.14314), 8 bits are
LLM.int8 (Dettmers et al. 2022, arXiv:2208.07339). Products are made in the type of what comes in. Whether it works
on a device is tried there, on one small layer.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seetell.errors import UsageError
from seetell.extras import require_bitsandbytes

OUTLIERS_ABOVE = 6.0  # LLM.int8 leaves inputs beyond this in 16 bits


def quantize(language: nn.Module, names: Sequence[str], bits: int, device: torch.device) -> None:
    """Puts layers of `bits` on the `device` in the place of the named linear ones.

    Each is rounded before the next one moves, from the weights as they lie here.
    """
    bnb = import_bitsandbytes(bits, device)
    for name in names:
        language.set_submodule(name, _layer(bnb, language.get_submodule(name), bits).to(device))
    setattr(language, f"is_loaded_in_{bits}bit", True)  # by this peft knows which layers it meets


def dense_weight(layer: Any) -> Tensor:
    """[O, I], rounded as the layer computes with it."""
    kind = type(layer.weight).__name__
    if kind not in ("Params4bit", "Int8Params"):
        return layer.weight.data
    bnb = _import_bitsandbytes()
    if kind == "Params4bit":
        return bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    scales: Any = layer.weight.SCB
    return bnb.functional.int8_vectorwise_dequant(layer.weight.data, scales)


def _layer(bnb: Any, linear: Any, bits: int) -> nn.Module:
    outputs, inputs = linear.weight.shape
    has_bias = linear.bias is not None
    if bits == 4:
        # Its compute type is left open: it then takes that of its inputs.
        layer = bnb.nn.Linear4bit(inputs, outputs, has_bias, quant_type="nf4", device="meta")
        layer.weight = bnb.nn.Params4bit(linear.weight.data, quant_type="nf4", module=layer)
        layer.support_avx512bf16_for_cpu = False  # it would round the scales anew, and answer as it never learnt to
    else:
        layer = bnb.nn.Linear8bitLt(
            inputs, outputs, has_bias, has_fp16_weights=False, threshold=OUTLIERS_ABOVE, device="meta"
        )
        layer.weight = bnb.nn.Int8Params(linear.weight.data, has_fp16_weights=False, requires_grad=False)
    if has_bias:
        layer.bias = nn.Parameter(linear.bias.data, requires_grad=False)
    return layer


def import_bitsandbytes(bits: int, device: torch.device) -> Any:
    """bitsandbytes, which is an extra, if it is installed and multiplies on the device."""
    require_bitsandbytes(bits)
    try:
        bnb = _import_bitsandbytes()
        small = nn.Linear(64, 64, bias=False)
        tried = _layer(bnb, small, bits).to(device)(torch.ones(1, 64, device=device))
        works = bool((tried - small.to(device)(torch.ones(1, 64, device=device))).abs().max() < 1.0)
    except Exception as error:  # whatever a library built for other machines raises
        raise UsageError(f"bitsandbytes cannot keep weights in {bits} bits on {device} ({error}).") from error
    if not works:
        raise UsageError(f"bitsandbytes computes wrongly in {bits} bits on {device}: leave lora.bits at 16.")
    return bnb


def _import_bitsandbytes() -> Any:
    """By its name, for it is an extra that a machine need not have to check or run the rest."""
    with warnings.catch_warnings():  # its import calls what torch deprecates
        warnings.simplefilter("ignore")
        return importlib.import_module("bitsandbytes")
