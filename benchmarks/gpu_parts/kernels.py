"""Every attention kernel on this device against `PerDocument` in float32 on the host, forward and backward.

Documents of unlike lengths, documents that continue another, and a few rows of them; several head widths, with and
without shared key-value heads, in three types. Reported for each: the largest difference by the largest number,
whether the same pass twice gives the same bits (forward and backward apart), and the milliseconds of a pass. A kernel
that raises says why; that is wrong only where its trial let it pass. It begins with what is chosen for the case.

Shapes  T tokens, H heads, G key-value heads, E head width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_parts.notes import Notes, Place
from benchmarks.systems.measure import synchronize
from seetell.model.kernel_choice import CANDIDATES, Case, build_kernel, why_not_kernel
from seetell.model.pieces import Kernel, PerDocument, Pieces, only_rows, whole_documents
from seetell.train.hardware import typical_s

BOUNDS = {torch.float32: 1e-3, torch.bfloat16: 4e-2, torch.float16: 1e-2}
# Head width, width of values, heads, key-value heads, type; the usual ones first.
CASES = (
    (128, 128, 8, 8, torch.bfloat16),
    (64, 64, 14, 2, torch.bfloat16),
    (128, 128, 8, 2, torch.float16),
    (80, 80, 8, 8, torch.bfloat16),
    (128, 128, 8, 8, torch.float32),
    (96, 96, 8, 8, torch.bfloat16),
    (256, 256, 4, 1, torch.bfloat16),
    (20, 20, 4, 4, torch.bfloat16),
    (192, 128, 4, 4, torch.bfloat16),
    (64, 64, 8, 8, torch.float32),
)
NAMES = ("output", "query gradient", "key gradient", "value gradient")


def run(place: Place, notes: Notes) -> None:
    longest = 40 if place.tiny else 1000
    cases = [
        Case(place.device, kind, heads, groups, width, value_width, None, False, True)
        for width, value_width, heads, groups, kind in (CASES[:3] if place.tiny else CASES)
    ]
    for number, case in enumerate(cases):
        if place.left_s < 5:
            notes.skip(f"{len(cases) - number} cases: no time was left")
            return
        notes.put(**{label(case): of_case(case, longest, place, notes)})


def label(case: Case) -> str:
    widths = f"{case.width}" if case.width == case.value_width else f"{case.width}/{case.value_width}"
    return f"width {widths}, heads {case.heads}/{case.groups}, {str(case.dtype).removeprefix('torch.')}"


def of_case(case: Case, longest: int, place: Place, notes: Notes) -> dict[str, Any]:
    """Every kernel that may be meant for such a case, and the one that is chosen."""
    pieces = kinds(longest)
    found: dict[str, Any] = {"chosen": type(build_kernel(pieces["whole"], case)).__name__}
    makers: dict[str, Callable[[Pieces], Kernel]] = {"PerDocument": PerDocument}
    for candidate in CANDIDATES:
        name = getattr(candidate.build, "__name__", candidate.name)
        if not candidate.suits(case):
            continue
        if (why := why_not_kernel(candidate, case)) is not None:
            found[name] = f"left out: {why}"
            continue
        makers[name] = lambda some, candidate=candidate: candidate.build(some, case.device)
    truths = {kind: passed(PerDocument(some), of(some, case, "cpu"), kind) for kind, some in pieces.items()}
    for name, make in makers.items():
        try:
            found[name] = compared(make, case, pieces, truths, place)
        except Exception as error:
            found[name] = f"raises {type(error).__name__}: {str(error).strip().splitlines()[:1]}"
            notes.check(False, f"{label(case)}: {name} passed its trial and {found[name]}")
            continue
        worst = found[name]["apart"]
        notes.check(worst <= BOUNDS[case.dtype], f"{label(case)}: {name} is {worst:.1e} from the host")
    return found


def kinds(longest: int) -> dict[str, Pieces]:
    """Who sees whom: documents apart, documents that continue another, and some rows of the latter."""
    lengths = (longest, longest // 3, 1, longest // 2 + 7, 3)
    joined = whole_documents(lengths, (-1, -1, 0, 1, -1))
    rows = torch.tensor([*range(2, longest // 2), longest, longest + 5, sum(lengths) - 1])
    return {"whole": whole_documents(lengths), "joined": joined, "rows": only_rows(joined, rows)}


def of(pieces: Pieces, case: Case, device: str | torch.device) -> list[Tensor]:
    """Queries, keys and values as the case has them; on the host in float32, holding the same numbers."""
    chance = torch.Generator().manual_seed(0)
    tokens = sum(pieces.lengths)
    sides = ((case.heads, sum(pieces.queries), case.width), (case.groups, tokens, case.width))
    sides = (*sides, (case.groups, tokens, case.value_width))
    held = [torch.randn(1, heads, count, width, generator=chance).to(case.dtype) for heads, count, width in sides]
    on_host = torch.device(device).type == "cpu" and case.device.type != "cpu"
    return [(one.float() if on_host else one).to(device).requires_grad_() for one in held]


def passed(kernel: Kernel, tensors: Sequence[Tensor], _kind: str = "") -> list[Tensor]:
    """The output [1, R, H, E] and the gradients by queries, keys and values."""
    query, key, value = tensors
    out = kernel(query, key, value, None, 0.0)
    weights = torch.linspace(-1.0, 1.0, out.numel()).reshape(out.shape).to(out.device, out.dtype)
    return [out.detach(), *torch.autograd.grad(out, (query, key, value), weights)]


def compared(
    make: Callable[[Pieces], Kernel],
    case: Case,
    pieces: dict[str, Pieces],
    truths: dict[str, list[Tensor]],
    place: Place,
) -> dict[str, Any]:
    """The worst of all kinds of pieces; bits and milliseconds of whole documents."""
    worst, where = 0.0, ""
    for kind, some in pieces.items():
        found = passed(make(some), of(some, case, place.device))
        for name, one, other in zip(NAMES, found, truths[kind], strict=True):
            distance = float((one.float().cpu() - other.float()).abs().max() / other.float().abs().max())
            if not distance <= worst:
                worst, where = math.inf if math.isnan(distance) else distance, f"{kind}, {name}"
    kernel, tensors = make(pieces["whole"]), of(pieces["whole"], case, place.device)
    first, second = passed(kernel, tensors), passed(kernel, tensors)
    synchronize(place.device)
    return {
        "apart": worst,
        "where": where,
        "same_bits_forward": torch.equal(first[0], second[0]),
        "same_bits_backward": all(map(torch.equal, first[1:], second[1:])),
        "ms": 1000 * typical_s(lambda: passed(kernel, tensors), place.device, 5),
    }
