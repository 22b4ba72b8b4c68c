"""Which kernel computes a pass of attention: the fastest that was tried on this device and gave the right numbers.

What a kernel can do depends on the card, the type, the widths and the direction: flash attention wants an sm80 card
and widths up to 256, and a torch may be built without it. No list of these stays right, so a kernel is tried: a short
forward and backward pass with the real widths, heads, type and scale, against `PerDocument` in float32 on the host. One
that raises or differs gives way to the next; `PerDocument` is the last and needs no trial. What a trial found holds for
the process.

A trial runs in a thread of its own. Checkpointing's hooks, autocast and dispatch modes belong to the thread whose
pass is under way: what the trial computes must not be recorded there.

Shapes  T tokens, R queries, H heads, G key-value heads, E head width, F width of the values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from seetell.console import say
from seetell.model.pieces import (
    Kernel,
    PerDocument,
    Pieces,
    Varlen,
    computing_type,
    only_rows,
    varlen_attention,
    whole_documents,
)

# The largest difference from the truth, by its largest number; a wrong mask, scale or head differs by far more.
AGREEMENT, ROUGH_AGREEMENT = 1e-2, 4e-2  # in 32 and in 16 bits
HALF = (torch.bfloat16, torch.float16)


class Case(NamedTuple):
    """What decides whether a kernel works."""

    device: torch.device
    dtype: torch.dtype
    heads: int
    groups: int
    width: int
    value_width: int
    scale: float | None
    dropout: bool
    gradients: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel that may be chosen; `suits` says whether it was made for such a case, before it is tried."""

    name: str
    build: Callable[[Pieces, torch.device], Kernel]
    suits: Callable[[Case], bool]


def _suits_varlen(case: Case) -> bool:
    return case.device.type == "cuda" and not case.dropout and case.dtype in HALF and varlen_attention() is not None


CANDIDATES: Sequence[Candidate] = (  # the fastest first
    Candidate("variable-length attention", Varlen, _suits_varlen),
)


def case_of(query: Tensor, key: Tensor, value: Tensor, scale: float | None, dropout: float) -> Case:
    """The case of these tensors, [1, H, R, E], [1, G, T, E] and [1, G, T, F]."""
    gradients = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value))
    return Case(
        query.device,
        computing_type(query),
        query.shape[1],
        key.shape[1],
        query.shape[3],
        value.shape[3],
        scale,
        dropout > 0.0,
        gradients,
    )


def build_kernel(pieces: Pieces, case: Case) -> Kernel:
    """The fastest kernel that computes these pieces in this case."""
    if pieces.queries:
        for candidate in CANDIDATES:
            if candidate.suits(case) and why_not_kernel(candidate, case) is None:
                return candidate.build(pieces, case.device)
    return PerDocument(pieces)


@cache
def why_not_kernel(candidate: Candidate, case: Case) -> str | None:
    """Why a kernel cannot be used in this case, None when it can; told once."""
    try:  # alone, as every thread beside the trainer's computes: helpers of its own would slow that one down
        with ThreadPoolExecutor(1, "kernel-trial", torch.set_num_threads, (1,)) as thread:
            why = thread.submit(_try, candidate, case).result()
    finally:  # torch remembers the last number for threads that are yet to come
        torch.set_num_threads(torch.get_num_threads())
    if why is not None:
        kind = str(case.dtype).removeprefix("torch.")
        widths = " and ".join(map(str, dict.fromkeys((case.width, case.value_width))))
        say(f"Attention does not use {candidate.name} for {kind} heads of width {widths} on {case.device}: {why}.")
    return why


def _try(candidate: Candidate, case: Case) -> str | None:
    """Tries every kind of pieces: whole documents, one that continues another, and a few rows of them."""
    generator = torch.Generator().manual_seed(0)
    sides = ((case.heads, case.width), (case.groups, case.width), (case.groups, case.value_width))
    joined = whole_documents((70, 90, 96), (-1, -1, 1))
    row = [3, 4, 5, 69, 70, 159, 200, 255]
    try:
        with torch.cuda.device(case.device) if case.device.type == "cuda" else nullcontext():
            for pieces, rows in (
                (whole_documents((100, 156)), None),
                (joined, None),
                (only_rows(joined, torch.tensor(row)), row),
            ):
                host = [torch.randn(1, n, 256, width, generator=generator).to(case.dtype) for n, width in sides]
                truth = _computed(PerDocument(pieces), [one.float() for one in host], rows, case)
                found = _computed(
                    candidate.build(pieces, case.device), [one.to(case.device) for one in host], rows, case
                )
                if why := _why_apart(found, truth, case):
                    return why
    except Exception as error:  # whatever a kernel raises on a card that it was not made for
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[0] if lines else 'it failed'}"
    return None


def _computed(kernel: Kernel, tensors: Sequence[Tensor], rows: Sequence[int] | None, case: Case) -> list[Tensor]:
    """What a kernel gives, [1, R, H, F], and its gradients by queries, keys and values where they are wanted."""
    query, key, value = (tensor.requires_grad_(case.gradients) for tensor in tensors)
    asked = query if rows is None else query[:, :, rows]
    with torch.set_grad_enabled(case.gradients):
        out = kernel(asked, key, value, case.scale, 0.0)
    if not case.gradients:
        return [out]
    weights = torch.linspace(-1.0, 1.0, out.numel()).reshape(out.shape).to(out.device, out.dtype)
    return [out.detach(), *torch.autograd.grad(out, (query, key, value), weights)]


def _why_apart(found: Sequence[Tensor], truth: Sequence[Tensor], case: Case) -> str | None:
    agreement = ROUGH_AGREEMENT if case.dtype in HALF else AGREEMENT
    for name, one, other in zip(("output", "query", "key", "value"), found, truth, strict=case.gradients):
        here = one.detach().float().cpu()
        apart = float((here - other).abs().max() / other.abs().max()) if here.shape == other.shape else float("inf")
        if not apart <= agreement:
            what = "output" if name == "output" else f"gradient by the {name}"
            return f"its {what} is {apart:.1%} off"
    return None
