"""Who sees whom in a row of documents, as runs of queries, and the kernels that compute it.

Every way in which this project attends is a list of runs: queries that stand side by side in one document,
over the keys of that document (behind those of the document that it continues) up to the run's last query.
Whole documents, conversations that share a picture, and the few rows that the last layer needs are all such
lists, so each kernel knows one thing only: causal attention whose last query sees the last key.

- `PerDocument`  scaled_dot_product_attention, run by run: any device, any type, with gradients
- `Varlen`       one call of torch's variable-length flash kernel: CUDA, 16 bits

Which one is chosen stands in `kernel_choice.py`. Flex attention is no third: its compilation took more than 40 s on an
H100, for each number of rows anew (docs/log.md, 2026-11-28). What is known on the host (who sees whom) goes to the
device without waiting for it.

Shapes  T tokens, K documents, R queries, W keys gathered for all runs, H heads, G key-value heads, E head width,
        F width of the values, which is E in most families.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, groupby
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# cuDNN builds a plan for each new shape, tens of milliseconds and more, and shapes here are ever new: a token more in
# decoding, another document, another number of pictures. torch prefers it on sm90 and sm100.
torch.backends.cuda.enable_cudnn_sdp(False)

WIDTHS = 8  # the variable-length kernel's head widths are multiples of this


@dataclass(frozen=True, slots=True)
class Pieces:
    """Runs of queries: how long each is, the document it is of, and how many of that document's keys its last
    query sees, the continued document's first. `lengths` and `parents` describe the K documents."""

    queries: tuple[int, ...]
    documents: tuple[int, ...]
    seen: tuple[int, ...]
    lengths: tuple[int, ...]
    parents: tuple[int, ...]

    @property
    def longest(self) -> int:
        """The most tokens that a query looks back on."""
        return max(self.seen, default=0)

    def key_index(self) -> Tensor:
        """[W] int64: where in the row the keys of all runs lie, run after run."""
        starts = list(accumulate(self.lengths, initial=0))
        spans: list[Tensor] = []
        for document, seen in zip(self.documents, self.seen, strict=True):
            parent = self.parents[document]
            before = 0 if parent < 0 else self.lengths[parent]
            if parent >= 0:
                spans.append(torch.arange(starts[parent], starts[parent] + before))
            spans.append(torch.arange(starts[document], starts[document] + seen - before))
        return torch.cat(spans) if spans else torch.zeros(0, dtype=torch.int64)


def whole_documents(lengths: Sequence[int], parents: Sequence[int] = ()) -> Pieces:
    """Every token is a query."""
    parents = tuple(parents) or (-1,) * len(lengths)
    seen = tuple(n + (lengths[p] if p >= 0 else 0) for n, p in zip(lengths, parents, strict=True))
    return Pieces(tuple(lengths), tuple(range(len(lengths))), seen, tuple(lengths), parents)


def only_rows(whole: Pieces, rows: Tensor) -> Pieces:
    """Only these ascending places [R], a tensor on the host, are queries; they see what they saw before."""
    wanted = rows.numpy()
    starts = np.array(list(accumulate(whole.lengths, initial=0)))
    document = np.searchsorted(starts, wanted, side="right") - 1
    begins = np.flatnonzero(np.r_[True, (np.diff(wanted) != 1) | (np.diff(document) != 0)][: len(wanted)])
    ends = np.r_[begins[1:], len(wanted)]
    before = np.array([whole.lengths[parent] if parent >= 0 else 0 for parent in whole.parents], dtype=np.int64)
    of = document[begins]
    seen = wanted[ends - 1] + 1 - starts[of] + before[of] if len(wanted) else begins
    return Pieces(
        tuple((ends - begins)[: len(begins)].tolist()),
        tuple(of.tolist()),
        tuple(seen.tolist()),
        whole.lengths,
        whole.parents,
    )


class Kernel(Protocol):
    """A way to compute pieces."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None, dropout: float, /) -> Tensor:
        """[1, H, R, E], [1, G, T, E], [1, G, T, F] -> [1, R, H, F]"""
        ...


class Alike(NamedTuple):
    """Documents side by side that see themselves alone, each with one run or none, and equal in all three numbers."""

    documents: int
    asked: int
    seen: int
    length: int


class PerDocument:
    """Run by run through scaled_dot_product_attention; documents that are alike and side by side are one call."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.alike = _alike(pieces)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None, dropout: float, /) -> Tensor:
        if self.alike:
            return self._documents(query, key, value, scale, dropout)
        pieces = self.pieces
        # split, not slices: the gradient of K slices is K tensors of the whole row's size, of a split it is one.
        keys, values = key.split(pieces.lengths, dim=2), value.split(pieces.lengths, dim=2)
        runs = zip(query.split(pieces.queries, dim=2), pieces.documents, pieces.seen, strict=True)
        out = [query.new_zeros(1, 0, query.shape[1], value.shape[3])]
        for asked, document, seen in runs:
            parent = pieces.parents[document]
            k, v = keys[document], values[document]
            if parent >= 0:
                k, v = torch.cat([keys[parent], k], dim=2), torch.cat([values[parent], v], dim=2)
            if seen < k.shape[2]:
                k, v = k[:, :, :seen], v[:, :, :seen]
            out.append(causal(asked, k, v, scale, dropout).transpose(1, 2))
        return torch.cat(out[1:] or out, dim=1)

    def _documents(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None, dropout: float) -> Tensor:
        """As above: m documents of one length are a batch of m, without a copy."""
        queries = query.squeeze(0).split([some.documents * some.asked for some in self.alike], dim=1)
        held = [some.documents * some.length for some in self.alike]
        keys, values = (tensor.squeeze(0).split(held, dim=1) for tensor in (key, value))
        out: list[Tensor] = []
        for some, *parts in zip(self.alike, queries, keys, values, strict=True):
            if not some.asked:
                continue
            # [m, H or G, tokens of each, E]
            q, k, v = (part.unflatten(1, (some.documents, -1)).transpose(0, 1) for part in parts)
            if some.seen < some.length:
                k, v = k[:, :, : some.seen], v[:, :, : some.seen]
            out.append(causal(q, k, v, scale, dropout).transpose(1, 2).flatten(0, 1))
        return torch.cat(out)[None]


def _alike(pieces: Pieces) -> list[Alike]:
    """The documents, in order; none when one of them sees another or has several runs, or when nobody asks."""
    if len(set(pieces.documents)) < len(pieces.documents) or max(pieces.parents, default=-1) >= 0:
        return []
    runs = dict(zip(pieces.documents, zip(pieces.queries, pieces.seen, strict=True), strict=True))
    each = ((*runs.get(document, (0, 0)), length) for document, length in enumerate(pieces.lengths))
    found = [Alike(len(list(same)), *numbers) for numbers, same in groupby(each)]
    return found if any(some.asked for some in found) else []


def causal(query: Tensor, key: Tensor, value: Tensor, scale: float | None, dropout: float = 0.0) -> Tensor:
    """[B, H, R, E], [B, G, T, E] twice -> [B, H, R, E]; the last query sees the last key.

    On a CPU always in float32: there the bfloat16 kernel's backward takes several times as long.
    """
    if query.device.type == "cpu" and (query.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")):
        with torch.autocast("cpu", enabled=False):
            return causal(query.float(), key.float(), value.float(), scale, dropout).to(query.dtype)
    asked, held = query.shape[2], key.shape[2]
    mask = None
    if 1 < asked < held:
        mask = torch.ones(asked, held, dtype=torch.bool, device=query.device).tril(held - asked)
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=asked == held,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )


class Varlen:
    """All runs in one call of torch.nn.attention.varlen, whose causal window ends at the last key."""

    def __init__(self, pieces: Pieces, device: torch.device, attention: Callable[..., Any] | None = None) -> None:
        found = attention or varlen_attention()
        assert found is not None
        self.attention, self.known = found, inspect.signature(found).parameters
        self.queries = _offsets(pieces.queries, device)
        self.keys = _offsets(pieces.seen, device)
        self.longest_query, self.longest_key = max(pieces.queries, default=0), pieces.longest
        in_place = pieces.queries == pieces.seen == pieces.lengths  # every token is a key once, where it stands
        self.index = None if in_place else to_device(pieces.key_index(), device)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None, dropout: float, /) -> Tensor:
        if dropout:
            raise ValueError("the variable-length kernel has no dropout")
        kind = computing_type(query)
        q, k, v = (tensor[0].transpose(0, 1).to(kind) for tensor in (query, key, value))
        if self.index is not None:
            k, v = k[self.index], v[self.index]
        given: dict[str, Any] = {"window_size": (-1, 0)}
        if k.shape[1] != q.shape[1]:
            if "enable_gqa" in self.known:
                given["enable_gqa"] = True
            else:
                k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], dim=1) for t in (k, v))
        # The kernel takes one width, a multiple of 8. Zeros behind the others change no product.
        width = -(-max(q.shape[2], v.shape[2]) // WIDTHS) * WIDTHS
        if scale is None and width != q.shape[2]:
            scale = q.shape[2] ** -0.5
        if scale is not None:
            if "scale" in self.known:
                given["scale"] = scale
            else:  # the kernel scales by 1 / sqrt(its width)
                q = q * (scale * width**0.5)
        q, k, v = (functional.pad(t, (0, width - t.shape[2])) if t.shape[2] < width else t for t in (q, k, v))
        spans = (self.queries, self.keys, self.longest_query, self.longest_key)
        out = self.attention(q.contiguous(), k.contiguous(), v.contiguous(), *spans, **given)
        return out[None, :, :, : value.shape[3]].to(query.dtype)


@cache
def varlen_attention() -> Callable[..., Any] | None:
    """torch's variable-length attention, where this torch has it."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def computing_type(query: Tensor) -> torch.dtype:
    """What a matrix product of this tensor is computed in."""
    device = query.device.type
    casts = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if casts else query.dtype


def _offsets(lengths: Sequence[int], device: torch.device) -> Tensor:
    """[runs + 1] int32"""
    return to_device(torch.tensor(list(accumulate(lengths, initial=0)), dtype=torch.int32), device)


def to_device(host: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on the device. A GPU fetches it from pinned memory, and nobody waits for that."""
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)
