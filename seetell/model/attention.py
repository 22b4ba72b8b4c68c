"""Attention that never crosses a document, registered with transformers under the name "seetell_packed".

A batch here is one row of documents laid end to end. Every layer of a transformers decoder calls the
function below; it hands queries, keys and values to the *pass* that the VLM put into the call (`attending`):

- `Packed`   documents end to end, each causal in itself: training and scoring
- `Prefill`  the same, and keys and values are kept in a cache (`cache.py`)
- `Decode`   one new token for each running row, over what its row has in the cache (`cache.py`)

No dense mask is ever built: transformers builds none for a name that its mask interface does not know.
What a family asks and this code lacks (soft cap, sinks, a window shorter than a document) is refused by a
sentence, never ignored.

Shapes  T tokens, K documents, R rows wanted, H heads, G key-value heads, E head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from seetell.errors import UsageError
from seetell.model.kernel_choice import Case, build_kernel, case_of
from seetell.model.pieces import Kernel, Pieces, only_rows, whole_documents

NAME = "seetell_packed"
ANOTHER = "choose another language model"


class Attending(Protocol):
    """A pass through the language model: how its tokens see each other."""

    @property
    def longest(self) -> int:
        """The most tokens that a query of this pass looks back on."""
        ...

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float | None, dropout: float, /
    ) -> Tensor:
        """[B, H, T, E], [B, G, T, E] twice -> [B, T, H, E]"""
        ...


class Packed:
    """Documents end to end, each seeing only its own past and, where it continues another, all of that one.

    `rows` [R] are the places whose hidden state is wanted: the last layer may leave out the others. `host_rows` are the
    same on the host; without them, whoever asks waits for the device.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        parents: Sequence[int] = (),
        rows: Tensor | None = None,
        host_rows: Tensor | None = None,
    ) -> None:
        self._whole = whole_documents(lengths, parents)
        self.longest = self._whole.longest
        self.rows = rows
        self._host_rows = host_rows
        self._wanted: Pieces | None = None
        self._kernels: dict[tuple[Case, bool], Kernel] = {}  # layers may differ in what they ask for

    def attend(
        self, _layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float | None, dropout: float, /
    ) -> Tensor:
        """[1, H, T, E], [1, G, T, E] twice -> [1, T, H, E]"""
        case = case_of(query, key, value, scale, dropout)
        if (case, False) not in self._kernels:
            self._kernels[case, False] = build_kernel(self._whole, case)
        return self._kernels[case, False](query, key, value, scale, dropout)

    def attend_rows(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None, dropout: float, /) -> Tensor:
        """The same for the wanted rows alone: [1, H, R, E], [1, G, T, E] twice -> [1, R, H, E]"""
        if self._wanted is None:
            assert self.rows is not None
            rows = self.rows.cpu() if self._host_rows is None else self._host_rows
            self._wanted = only_rows(self._whole, rows)
        case = case_of(query, key, value, scale, dropout)
        if (case, True) not in self._kernels:
            self._kernels[case, True] = build_kernel(self._wanted, case)
        return self._kernels[case, True](query, key, value, scale, dropout)


# Opaque to torch.compile: a pass is another object for every batch, and each would be compiled anew.
@torch.compiler.disable
def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    is_causal: bool | None = None,
    attending: Attending | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """What transformers' attention layers call. [B, H, T, E], [B, G, T, E] twice -> [B, T, H, E]"""
    family = type(module).__name__.removesuffix("Attention")
    if attending is None:
        raise UsageError(
            f"{family} was called without its documents. If its family does not hand them on to its layers, {ANOTHER}; "
            'else go through VLM.forward, or call set_attn_implementation("sdpa") before calling it by itself.'
        )
    asked = {
        "a soft cap on attention": softcap,
        "attention sinks": s_aux,
        "a position bias": position_bias,
        "a mask of its own": attention_mask,
    }
    for what, given in asked.items():
        if given is not None:
            raise UsageError(f"{family} asks for {what}, which packed attention lacks: {ANOTHER}.")
    if not (getattr(module, "is_causal", True) if is_causal is None else is_causal):
        raise UsageError(f"{family} lets tokens see those behind them, which packed attention lacks: {ANOTHER}.")
    if sliding_window is not None and attending.longest > sliding_window:
        raise UsageError(
            f"{family} looks back {sliding_window} tokens at most and a document has {attending.longest}: "
            f"set max_tokens to {sliding_window} or less."
        )
    layer: int = getattr(module, "layer_idx", 0)
    # Contiguous, as transformers' own are: some families view it as they please.
    return attending.attend(layer, query, key, value, scaling, dropout).contiguous(), None


def check_language(language: PreTrainedModel) -> None:
    """Refuses, by name, a language model whose layers cannot run packed or whose head is more than one matrix."""
    config: Any = language.config
    family = type(language).__name__
    if not getattr(language, "_supports_attention_backend", False):
        raise UsageError(f"{family} does not take an attention function from outside: {ANOTHER}.")
    if why := _why_not_one_body(language):
        raise UsageError(f"{family} {why}: {ANOTHER}.")
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if kinds:
        raise UsageError(f"{family} has layers of {', '.join(sorted(kinds))}, which do not keep documents apart.")
    for asked in ("final_logit_softcapping", "attn_logit_softcapping", "logits_scaling", "logit_scale"):
        if getattr(config, asked, None) not in (None, 1.0):
            raise UsageError(f"{family} sets {asked}, for which LLaVA has no place: {ANOTHER}.")


def _why_not_one_body(language: PreTrainedModel) -> str | None:
    """What stands against a table of embeddings, a body and one matrix as the head, all of one width."""
    table, head, width = language.get_input_embeddings(), language.get_output_embeddings(), language.config.hidden_size
    if language.base_model is language:
        return "has no body that runs without its head"
    of_its_own = isinstance(head, nn.Linear) and any(head is part for part in language.children())
    if not (isinstance(table, nn.Embedding) and of_its_own):
        return "does not have one matrix as its table of embeddings and one as its head"
    assert isinstance(head, nn.Linear)
    if (table.embedding_dim, head.in_features) != (width, width):
        return f"embeds tokens {table.embedding_dim} wide, computes {width} wide and has a head of {head.in_features}"
    own = {id(table.weight), id(head.weight)}  # these may be one
    names: dict[int, str] = {}
    for name, weight in language.named_parameters(remove_duplicate=False):
        if id(weight) not in own and names.setdefault(id(weight), name) != name:
            return f"has one weight under two names ({names[id(weight)]} and {name})"
    return None


AttentionInterface.register(NAME, packed_attention)
