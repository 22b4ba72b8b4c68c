"""The longest document that a language model can read, by its config, and why.

Three things bound it. A sliding window: its layers look back so many tokens, and packed attention has no window within
a document. A table of learned positions: there is no row behind its end. A rotary model computes positions as far as
one likes, but learnt none beyond `max_position_embeddings`; where its frequencies change with the longest document of a
pass (`longrope`, `dynamic`), documents beyond the original context would depend on their neighbours as well.

No tensors are needed: what is read is transformers' config, which has completed what a file leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FAR = 1 << 16


@dataclass(frozen=True, slots=True)
class Limit:
    """The most tokens of a document, and what bounds it, for a sentence."""

    tokens: int
    why: str


def longest_document(config: Any) -> Limit | None:
    """The tightest limit of a language model's config; None where it names none."""
    return min(_limits(config), key=lambda limit: limit.tokens, default=None)


def original_context(config: Any) -> int | None:
    """Up to how many tokens the rotary frequencies are fixed; None where they always are."""
    return min((context for context, _ in _frequency_changes(config)), default=None)


def context_end(config: Any) -> int:
    """How many positions a language model knows; very many for one that does not say."""
    return min(original_context(config) or FAR, getattr(config, "max_position_embeddings", None) or FAR)


def _frequency_changes(config: Any) -> Iterator[tuple[int, str]]:
    """The tokens beyond which a kind of rotary embedding chooses its frequencies by the longest document of a call."""
    for rope in _rope_parameters(config):
        kind = str(rope.get("rope_type"))
        if kind == "longrope":
            yield int(rope.get("original_max_position_embeddings") or config.max_position_embeddings), kind
        elif "dynamic" in kind:
            yield int(config.max_position_embeddings), kind


def _limits(config: Any) -> Iterator[Limit]:
    window = getattr(config, "sliding_window", None)
    if window and _slides(config):
        yield Limit(int(window), f"layers of this {config.model_type} look back {window:,} tokens (sliding_window)")
    for context, kind in _frequency_changes(config):
        why = f"the rotary frequencies of this {config.model_type} change beyond {context:,} tokens ({kind})"
        yield Limit(context, why)
    # Attribute maps make one name of many; MPT's and DBRX's is spelled otherwise.
    for name in ("max_position_embeddings", "max_seq_len"):
        if context := getattr(config, name, None):
            why = f"this {config.model_type} knows positions up to {context:,} ({name})"
            yield Limit(int(context), why)


def _slides(config: Any) -> bool:
    """Whether any layer uses the window that the config names."""
    if kinds := getattr(config, "layer_types", None):
        return "sliding_attention" in kinds
    if not getattr(config, "use_sliding_window", True):
        return False
    # Qwen's first layers, up to this one, see all.
    return getattr(config, "max_window_layers", 0) < config.num_hidden_layers


def _rope_parameters(config: Any) -> Iterator[Mapping[str, Any]]:
    """The rotary settings: one set, or one for each kind of layer."""
    held = getattr(config, "rope_parameters", None) or {}
    if isinstance(held, Mapping):
        yield from [one for one in held.values() if isinstance(one, Mapping)] or [held]
