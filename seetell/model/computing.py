"""How a language model's blocks are computed while they learn: kept or recomputed, as written or compiled.

None of it changes a number beyond rounding. Activation checkpointing forgets what a block computed and computes
it again for the gradients (Chen et al. 2016, arXiv:1604.06174): `full` keeps only what enters the block,
`selective` keeps the matrix products and the attention as well, which are nearly all the work, and computes norms,
activations and rotations again, which are much of the memory. Compiling is by block, for all blocks share their
code: one compilation instead of one for each. A compiled block recomputes what is cheap by itself, so
`selective` asks nothing more of it.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from transformers import PreTrainedModel

from seetell.errors import UsageError
from seetell.model.last_layer import blocks, is_pruned
from seetell.model.pieces import varlen_attention

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
# What is kept under "selective", by the libraries that have it.
_KEPT = {
    "aten": (
        "mm", "addmm", "bmm", "_scaled_mm",
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_fused_attention_overrideable",
    ),
    "torch_attn": ("_varlen_attn",),
}  # fmt: skip


@cache
def kept_ops() -> frozenset[Any]:
    """The operations whose outputs are kept under "selective": products and attention, as far as this torch has them.

    Asked for when a block first runs: some are registered by an import that only a kernel's first use makes.
    """
    varlen_attention()
    libraries = ((getattr(torch.ops, library), names) for library, names in _KEPT.items())
    return frozenset(getattr(ops, name).default for ops, names in libraries for name in names if hasattr(ops, name))


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile works for this device."""
    return why_not_compile(device) is None


@cache
def why_not_compile(device: torch.device) -> str | None:
    """What torch.compile lacks: a C++ compiler for a CPU, Triton for a GPU, which then has to compile something.

    Triton that is installed may yet find no C compiler, or a card that is too old for it.
    """
    if device.type == "cpu":
        found = any(shutil.which(name) for name in ("g++", "clang++"))
        return None if found else "torch.compile finds no C++ compiler here"
    if device.type != "cuda":
        return f"torch.compile is not used on {device.type}"
    if importlib.util.find_spec("triton") is None:
        return "torch.compile finds no Triton here"
    try:
        compiled: Any = torch.compile(torch.sin)
        compiled(torch.ones(8, device=device, requires_grad=True)).sum().backward()
    except Exception as error:  # whatever a compiler for another machine raises
        lines = str(error).strip().splitlines()
        return f"torch.compile fails on {device} ({type(error).__name__}: {lines[0] if lines else 'it failed'})"
    return None


def check_compile(language: PreTrainedModel, device: torch.device) -> None:
    """Refuses a device or a family that cannot be compiled block by block."""
    if why := why_not_compile(device):
        raise UsageError(f"{why}: install what it needs, or set compile to off.")
    check_blocks(language)


def check_blocks(language: PreTrainedModel) -> None:
    """Refuses a family whose blocks cannot be recomputed or compiled one by one."""
    if not blocks(language):
        family = type(language).__name__
        raise UsageError(f"The blocks of {family} are not found: set checkpointing and compile to off.")


def keep_freed_memory() -> None:
    """Asks the C library, where it is glibc's, to keep what this process frees.

    It would give every piece above 32 MiB back to the system, which hands it out again page by page, zeroed: a sixth
    of the time of a step on a CPU (mallopt(3): M_MMAP_MAX, M_TRIM_THRESHOLD).
    """
    with suppress(OSError, AttributeError):
        glibc = ctypes.CDLL("libc.so.6")
        glibc.mallopt(_M_MMAP_MAX, 0)
        glibc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def set_computing(language: PreTrainedModel, checkpointing: str = "off", compiled: bool = False) -> None:
    """Every block of the decoder, while it trains, checkpointed `off`, `selective` or `full`, and compiled or not.

    The blocks' weights and names stay as they are, and in evaluation they compute as ever.
    """
    if checkpointing != "off" or compiled:
        check_blocks(language)
    classes: dict[type[Any], type[Any]] = {}
    for block in blocks(language):
        plain = next(kind for kind in type(block).__mro__ if not issubclass(kind, _Computed))
        # The pruned last block meets another number of rows each time, and each would be compiled anew.
        if plain not in classes:
            classes[plain] = _computed(plain, checkpointing, compiled and not is_pruned(block))
        block.__class__ = classes[plain]


class _Computed:
    """Mixed into a block's own class: while it trains it computes by another road.

    A class and not an attribute of the block, which would hold itself: a model that nothing needs any more must give
    its memory back at once.
    """

    train_forward: Callable[..., Tensor]

    def forward(self: Any, *args: Any, **given: Any) -> Tensor:
        if self.training:
            return self.train_forward(self, *args, **given)
        return super().forward(*args, **given)  # pyright: ignore[reportAttributeAccessIssue]


def _computed(plain: type[Any], checkpointing: str, compiled: bool) -> type[Any]:
    """A block's class, computed so; one for all blocks, as is what is compiled."""
    train: Callable[..., Tensor] = plain.forward
    if compiled:
        train = torch.compile(train, dynamic=True)
    if checkpointing == "full":
        train = partial(checkpoint, train, use_reentrant=False)
    elif checkpointing == "selective" and not compiled:
        contexts = partial(create_selective_checkpoint_contexts, _policy)
        train = partial(checkpoint, train, use_reentrant=False, context_fn=contexts)
    if train is plain.forward:
        return plain
    return type(
        plain.__name__, (_Computed, plain), {"train_forward": staticmethod(train), "__module__": plain.__module__}
    )


def fuse_with_liger(language: PreTrainedModel) -> bool:
    """Norms and gated activations as Liger's fused kernels, where it is installed and knows the family.

    Rotations stay transformers' own, for the pruned last layer calls them too, and so does the loss.
    """
    if importlib.util.find_spec("liger_kernel") is None:
        return False
    monkey_patch: Any = importlib.import_module("liger_kernel.transformers.monkey_patch")
    if getattr(language.config, "model_type", "") not in monkey_patch.MODEL_TYPE_TO_APPLY_LIGER_FN:
        return False
    left_alone = dict.fromkeys(("rope", "cross_entropy", "fused_linear_cross_entropy"), False)
    monkey_patch._apply_liger_kernel_to_instance(language, rms_norm=True, swiglu=True, **left_alone)
    return True


def _policy(_context: Any, op: Any, *_args: Any, **_given: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if op in kept_ops() else CheckpointPolicy.PREFER_RECOMPUTE
