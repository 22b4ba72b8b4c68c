"""The last decoder layer, computed only where somebody reads it.

Behind the last layer only the rows that predict a label are used. Before it, every place must give its key and
value; but queries, the output projection and the MLP of the other places reach nobody, so they are left out.
Loss and gradients are the same. With one caption of 15 tokens behind a picture of 576 that is nearly a whole
layer saved.

The layer must have Llama's shape (norm, attention, add, norm, MLP, add; rotary positions), as Mistral, Qwen2 and
Qwen3 have; `prune` looks, tries it against the plain layer, and leaves the layer alone when they differ.

Shapes  T tokens, R rows wanted, D width, H heads, E head width.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from seetell.model.attention import Packed
from seetell.model.limits import context_end

AGREEMENT, ROUGH_AGREEMENT = 1e-4, 2e-2  # of two roads to the same numbers in 32 and in 16 bits, by the largest
PARTS = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
OF_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")


class _RowsOnly:
    """Mixed into a decoder layer's own class, so that its weights and their names stay as they are."""

    def forward(self: Any, hidden_states: Tensor, *args: Any, **given: Any) -> Tensor:
        """[1, T, D] -> [1, R, D], or as ever when no rows are asked for."""
        attending = given.get("attending")
        window = getattr(self.self_attn, "sliding_window", None)
        if not isinstance(attending, Packed) or attending.rows is None or attending.longest > (window or math.inf):
            return super().forward(hidden_states, *args, **given)  # pyright: ignore[reportAttributeAccessIssue]
        return _forward_rows(self, hidden_states, attending.rows, attending, given["position_embeddings"])


def prune(language: PreTrainedModel, tries: bool = True) -> str:
    """Makes the last layer leave out what nobody reads; returns "" or, when it is left as it is, why.

    Without `tries` its shape alone decides: on the meta device there are no numbers to compare.
    """
    layer = (blocks(language) or [None])[-1]
    if layer is None or {name for name, _ in layer.named_children()} != set(PARTS):
        return f"the layers of {type(language).__name__} do not have Llama's shape"
    if {name for name, _ in layer.self_attn.named_children()} - set(OF_ATTENTION):
        return f"the attention of {type(language).__name__} does not have Llama's shape"
    plain_class = type(layer)
    if issubclass(plain_class, _RowsOnly):
        return ""
    if getattr(layer.self_attn, "attention_dropout", 0.0):
        return "attention with dropout draws other numbers for fewer rows"
    layer.__class__ = type(f"RowsOnly{plain_class.__name__}", (_RowsOnly, plain_class), {})
    if not tries:
        return ""
    try:
        agreement = AGREEMENT if layer.self_attn.o_proj.weight.dtype == torch.float32 else ROUGH_AGREEMENT
        differs = not _difference(language, layer) <= agreement
    except Exception as error:  # whatever an unknown family does not have
        differs, why = True, f"{type(error).__name__}: {error}"
    else:
        why = f"the last layer of {type(language).__name__} computes something else than Llama's"
    if differs:
        layer.__class__ = plain_class
        return why
    return ""


def is_pruned(block: nn.Module) -> bool:
    """Whether `prune` took hold of this block."""
    return isinstance(block, _RowsOnly)


def blocks(language: PreTrainedModel) -> list[Any]:
    """A decoder's layers in order; none when they are not where Llama's are."""
    layers = getattr(language.base_model, "layers", None)
    return list(layers) if isinstance(layers, nn.ModuleList) else []


def _forward_rows(
    layer: Any, hidden: Tensor, rows: Tensor, attending: Packed, position_embeddings: tuple[Tensor, Tensor]
) -> Tensor:
    """[1, T, D], [R] -> [1, R, D]"""
    attention = layer.self_attn
    cos, sin = position_embeddings  # [1, T, E] each
    normed = layer.input_layernorm(hidden)
    wanted = normed.index_select(1, rows)
    query = _heads(attention, attention.q_proj(wanted), "q_norm")
    key = _heads(attention, attention.k_proj(normed), "k_norm")
    value = _heads(attention, attention.v_proj(normed), "")
    rotate = sys.modules[type(attention).__module__].apply_rotary_pos_emb  # the family's own
    query, _ = rotate(query, query, cos.index_select(1, rows), sin.index_select(1, rows))
    key, _ = rotate(key, key, cos, sin)
    seen = attending.attend_rows(query, key, value, attention.scaling, 0.0)
    out = hidden.index_select(1, rows) + attention.o_proj(seen.flatten(2))
    return out + layer.mlp(layer.post_attention_layernorm(out))


def _heads(attention: Any, flat: Tensor, norm: str) -> Tensor:
    """[1, T, H * E] -> [1, H, T, E]"""
    heads = flat.unflatten(-1, (-1, attention.head_dim))
    if norm and hasattr(attention, norm):
        heads = getattr(attention, norm)(heads)
    return heads.transpose(1, 2)


@torch.no_grad()
def _difference(language: PreTrainedModel, layer: Any) -> float:
    """Between the two roads, over random hidden states of two documents, relative to the largest number.

    One document begins at 0, the other ends where the context does: some families scale queries far out.
    """
    base: Any = language.base_model
    training = layer.training
    weight = layer.input_layernorm.weight  # a projection's may be kept in numbers nobody computes with
    lengths, width = (5, 7), language.config.hidden_size  # pyright: ignore[reportAttributeAccessIssue]
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, sum(lengths), width, generator=generator).to(weight.device, weight.dtype)
    end = max(context_end(language.config), lengths[1])
    positions = torch.cat([torch.arange(lengths[0]), torch.arange(end - lengths[1], end)]).to(weight.device)[None]
    rows = torch.tensor([1, 2, 4, 8, 11], device=weight.device)
    layer.eval()
    try:
        given = {"position_ids": positions, "position_embeddings": base.rotary_emb(hidden, positions)}
        plain = layer(hidden, attention_mask=None, attending=Packed(lengths), **given)[:, rows]
        pruned = layer(hidden, attention_mask=None, attending=Packed(lengths, rows=rows), **given)
    finally:
        layer.train(training)
    return float((plain - pruned).float().abs().max() / plain.float().abs().max())
