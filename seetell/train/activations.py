"""What a forward pass keeps for the backward pass, counted: a decoder of the real width runs on the meta device.

Every tensor that autograd saves is seen by a hook; weights are not counted, and a storage that several save is
counted once. Two depths give what one block keeps, by difference, in any family. Under bfloat16 a matrix product's
inputs are cast as autocast would cast them. Attention saves what every fused kernel does: queries, keys, values, its
output and one number a row.

Shapes  T tokens, H heads, G key-value heads, E head width.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM
from transformers.initialization import no_init_weights

from seetell.model.attention import NAME

TOKENS = 128  # what is kept grows evenly with the tokens, so few of them say it


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes a token: of a block with nothing recomputed, of its products alone, of what enters it; and outside."""

    block: float
    products: float
    entering: float
    outside: float

    def language(self, layers: int, checkpointing: str) -> float:
        """Bytes a token of the whole decoder; with checkpointing one block at a time is kept whole, for a moment."""
        each = {"off": self.block, "selective": self.products, "full": self.entering}[checkpointing]
        moment = 0.0 if checkpointing == "off" else self.block
        return layers * each + moment + self.outside


def kept_by(config: Any, learns: bool, precision: str, split: bool, stored: torch.dtype = torch.float32) -> Kept:
    """What the decoder of that config keeps, its weights being stored in that type.

    `split` says that attention runs document by document, whose outputs are then put together in a copy.
    """
    one, two = (_run(shortened(config, layers), learns, precision, split, stored) for layers in (1, 2))
    block, products = two[0] - one[0], two[1] - one[1]
    entering = float(stored.itemsize * config.hidden_size * TOKENS)
    return Kept(block / TOKENS, (products + entering) / TOKENS, entering / TOKENS, (one[0] - block) / TOKENS)


def shortened(config: Any, layers: int) -> Any:
    """A config of fewer layers."""
    config = copy.deepcopy(config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    return config


def _run(config: Any, learns: bool, precision: str, split: bool, stored: torch.dtype) -> tuple[int, int]:
    """Bytes saved, and of these the outputs of matrix products and of attention."""
    with torch.device("meta"), no_init_weights():
        language: Any = AutoModelForCausalLM.from_config(config, dtype=stored)
    language.set_attn_implementation(NAME)
    language.requires_grad_(learns).train()
    body = language.base_model
    entering = torch.zeros(1, TOKENS, config.hidden_size, dtype=stored, device="meta", requires_grad=True)
    weights = {_storage(weight) for weight in language.parameters()}
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            saved[_storage(tensor)] = tensor
        return tensor

    half = precision == "bfloat16"
    products = _Products(half, weights)
    attending = _Attending(half, split)
    with saved_tensors_hooks(keep, lambda tensor: tensor), products:
        body(
            inputs_embeds=entering * 1.0,
            position_ids=torch.zeros(1, TOKENS, dtype=torch.int64, device="meta"),
            use_cache=False,
            attending=attending,
        )
    return sum(map(_bytes, saved.values())), products.bytes + attending.bytes


class _Products(TorchFunctionMode):
    """Casts what enters a linear layer as autocast does, and counts what leaves it."""

    def __init__(self, half: bool, weights: set[int]) -> None:
        super().__init__()
        self.half, self.weights, self.bytes = half, weights, 0
        self._casts: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not nn.functional.linear:
            return func(*args, **(kwargs or {}))
        if self.half:
            args = [one if one is None else self._cast(one) for one in args]
            self.weights.add(_storage(args[1]))  # counted with the weights
        out = func(*args, **(kwargs or {}))
        self.bytes += _bytes(out)
        return out

    def _cast(self, tensor: Tensor) -> Tensor:
        """Once for each tensor: queries, keys and values are made of one copy."""
        if tensor.dtype == torch.bfloat16:
            return tensor
        if id(tensor) not in self._casts:
            self._casts[id(tensor)] = tensor.to(torch.bfloat16)
        return self._casts[id(tensor)]


class _Attending:
    """Stands for a fused kernel."""

    longest = 0  # no family's window is looked at: what is kept does not depend on it

    def __init__(self, half: bool, split: bool) -> None:
        self.half, self.split, self.bytes = half and not split, split, 0

    def attend(
        self, _layer: int, query: Tensor, key: Tensor, value: Tensor, _scale: float | None, _dropout: float, /
    ) -> Tensor:
        """[1, H, T, E], [1, G, T, E] twice -> [1, T, H, E]"""
        kind = torch.bfloat16 if self.half else torch.float32
        out = _Attention.apply(query.to(kind), key.to(kind), value.to(kind)).transpose(1, 2)
        self.bytes += _bytes(out)
        return out.clone() if self.split else out


class _Attention(torch.autograd.Function):
    """Saves what flash attention saves (Dao 2023, arXiv:2307.08691)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[1, H, T, E], [1, G, T, E] twice -> [1, H, T, E]"""
        out = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, out, query.new_empty(query.shape[:3], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise NotImplementedError("what is kept is counted; nothing is computed")


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _bytes(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()
