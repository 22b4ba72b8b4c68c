"""Keys and values of running conversations: one row (slot) a conversation, each with its own length.

`Prefill` writes whole documents into their slots, or continues a slot that already holds a beginning;
`Decode` adds one token to each of several slots. Rows are apart: a slot's result does not depend on
its neighbours, beyond the rounding of a float.

Shapes  S slots in use, K documents, T tokens, H heads, G key-value heads, L cached length, E head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional

from seetell.errors import UsageError
from seetell.model.pieces import causal, to_device

ALIGNED = 8  # elements


class KeyValueCache:
    """Room for `slots` rows of at most `max_tokens`; each layer's memory is taken when it is first written."""

    def __init__(self, slots: int, max_tokens: int) -> None:
        self.slots = slots
        self.max_tokens = max_tokens
        self.lengths = [0] * slots
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def clear(self, slot: int) -> None:
        """Frees a slot for another conversation."""
        self.lengths[slot] = 0

    def truncate(self, slot: int, length: int) -> None:
        """Forgets what a slot holds beyond its first `length` tokens."""
        self.lengths[slot] = min(self.lengths[slot], length)

    def layer(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """A layer's keys and values, [slots, G, max_tokens, E] each, in the type of the tensors given."""
        if layer not in self._layers:
            # Zeros, not empty: a masked place weighs nothing, but nothing times NaN is NaN.
            self._layers[layer] = (self._room(key), self._room(value))
        return self._layers[layer]

    def _room(self, like: Tensor) -> Tensor:
        return like.new_zeros(self.slots, like.shape[1], self.max_tokens, like.shape[3])

    def check_room(self, slot: int, tokens: int) -> None:
        """Refuses tokens that the slot has no place for."""
        held = self.lengths[slot]
        if held + tokens > self.max_tokens:
            raise UsageError(
                f"A conversation of {held + tokens} tokens does not fit the cache of {self.max_tokens}: "
                "start a new one, or make the cache longer."
            )


class Prefill:
    """Documents end to end, document i written to slots[i] behind what that slot holds, which it sees too."""

    def __init__(self, lengths: Sequence[int], cache: KeyValueCache, slots: Sequence[int]) -> None:
        if len(slots) != len(lengths) or len(set(slots)) != len(slots):
            raise ValueError(f"{len(lengths)} documents need as many different slots, not {list(slots)}")
        ends = accumulate(lengths)
        self.rows = [(slot, end - n, end) for slot, end, n in zip(slots, ends, lengths, strict=True)]
        self.cache = cache
        for slot, first, last in self.rows:
            cache.check_room(slot, last - first)
        self.longest = max((cache.lengths[slot] + last - first for slot, first, last in self.rows), default=0)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float | None, _dropout: float, /
    ) -> Tensor:
        """[1, H, T, E], [1, G, T, E] twice -> [1, T, H, E]"""
        keys, values = self.cache.layer(layer, key, value)
        out: list[Tensor] = []
        for slot, first, last in self.rows:
            held = self.cache.lengths[slot]
            end = held + last - first
            keys[slot, :, held:end] = key[0, :, first:last]
            values[slot, :, held:end] = value[0, :, first:last]
            asked = query[:, :, first:last]
            seen_key, seen_value = key[:, :, first:last], value[:, :, first:last]
            if held:
                seen_key, seen_value = (kept[slot : slot + 1, :, :end].to(query.dtype) for kept in (keys, values))
            out.append(causal(asked, seen_key, seen_value, scale))
        return torch.cat(out, dim=2).transpose(1, 2)

    def finish(self) -> None:
        """Once every layer is written: the slots are as much longer."""
        for slot, first, last in self.rows:
            self.cache.lengths[slot] += last - first


class Decode:
    """One token more for each of S slots: all of them attend in one call, over a view of the cache."""

    def __init__(self, cache: KeyValueCache, slots: Sequence[int], device: torch.device) -> None:
        if len(set(slots)) != len(slots):
            raise ValueError(f"a slot takes one token at a time, not {list(slots)}")
        for slot in slots:
            cache.check_room(slot, 1)
        self.cache = cache
        self.slots = list(slots)
        self.longest = max((cache.lengths[slot] + 1 for slot in slots), default=0)
        # Attending over rows [0, highest slot] reads the cache in place; picking the rows out would copy it.
        self.height = max(slots, default=-1) + 1
        self.in_order = self.slots == list(range(self.height))  # then queries and results are rows of it as they are
        held = {slot: cache.lengths[slot] for slot in slots}
        last_seen = [held.get(row, 0) for row in range(self.height)]
        told = to_device(torch.tensor([*slots, *held.values(), *last_seen]), device)  # one way to the device
        self.rows, self.positions, last = told.split([len(slots), len(slots), self.height])
        columns = torch.arange(-(-self.longest // ALIGNED) * ALIGNED, device=device)
        self.unseen = columns[None, :] > last[:, None]
        self._masks: dict[tuple[torch.dtype, int], Tensor] = {}

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float | None, _dropout: float, /
    ) -> Tensor:
        """[S, H, 1, E], [S, G, 1, E] twice -> [S, 1, H, E]"""
        keys, values = self.cache.layer(layer, key, value)
        keys[self.rows, :, self.positions] = key[:, :, 0].to(keys.dtype)
        values[self.rows, :, self.positions] = value[:, :, 0].to(values.dtype)
        heads, groups = query.shape[1], key.shape[1]
        # The heads that share a key-value head become queries of it, so that keys are never repeated.
        given = asked = query.reshape(len(self.slots), groups, heads // groups, -1)
        if not self.in_order:
            asked = query.new_zeros(self.height, *given.shape[1:])
            asked[self.rows] = given
        seen = functional.scaled_dot_product_attention(
            asked,
            keys[: self.height, :, : self.longest].to(query.dtype),
            values[: self.height, :, : self.longest].to(query.dtype),
            attn_mask=self._mask(query.dtype, heads // groups),
            scale=scale,
        )
        return (seen if self.in_order else seen[self.rows]).reshape(len(self.slots), 1, heads, -1)

    def _mask(self, kind: torch.dtype, queries: int) -> Tensor:
        """[height, 1, queries, longest]: what is added to the scores, the same for every layer of a type.

        A GPU's kernel wants rows that begin at multiples of eight; it would copy any other mask at every layer.
        """
        if (kind, queries) not in self._masks:
            bias = torch.zeros_like(self.unseen, dtype=kind).masked_fill_(self.unseen, float("-inf"))
            self._masks[kind, queries] = bias[:, None, None, : self.longest].expand(-1, -1, queries, -1)
        return self._masks[kind, queries]

    def finish(self) -> None:
        """Once every layer is written: each slot is one token longer."""
        for slot in self.slots:
            self.cache.lengths[slot] += 1
