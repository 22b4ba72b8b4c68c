"""Frozen matrices in 8 bits: forward and input gradient by products of 8-bit matrices, on a device that has them.

A frozen matrix needs no weight gradient, so only two products are left, y = x W' and dx = dy W, and W can be
quantized once for the whole run, for each of them along the sum: by output row and by input column. What enters
is quantized row by row as it comes (e4m3 forward, e5m2 for gradients; Micikevicius et al. 2022,
arXiv:2209.05433). The weights as they were are let go: they lie in the folder that the stage began from.

Shapes  T tokens, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from seetell.errors import UsageError
from seetell.model.computing import why_not_compile

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
MULTIPLE = 16  # both sides of a matrix, for the hardware's products


class FrozenLinear(nn.Module):
    """A linear layer whose weight [O, I] never learns, in 8 bits. It is no parameter, so nothing saves it."""

    def __init__(self, linear: nn.Linear, device: str | torch.device) -> None:
        super().__init__()
        weight = linear.weight.detach().to(device)
        self.in_features, self.out_features, self.bias = linear.in_features, linear.out_features, linear.bias
        self.by_output, self.output_scale = quantized(weight, FORWARD)  # [O, I], [O, 1]
        self.by_input, self.input_scale = quantized(weight.t().contiguous(), FORWARD)  # [I, O], [I, 1]

    def forward(self, features: Tensor) -> Tensor:
        """[..., I] -> [..., O]"""
        device = features.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else features.dtype
        out: Any = _Product.apply(features, self, kind)
        return out if self.bias is None else out + self.bias.to(kind)


class _Product(torch.autograd.Function):
    """x W' with the gradient for x alone."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, layer: FrozenLinear, kind: torch.dtype) -> Tensor:
        ctx.layer, ctx.kind = layer, features.dtype
        rows, scale = entering(features.flatten(0, -2), FORWARD)
        out = _product(rows, scale, layer.by_output, layer.output_scale, kind)
        return out.unflatten(0, features.shape[:-1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        layer: FrozenLinear = ctx.layer
        rows, scale = entering(gradients[0].flatten(0, -2), BACKWARD)
        out = _product(rows, scale, layer.by_input, layer.input_scale, ctx.kind)
        return out.unflatten(0, gradients[0].shape[:-1]), None, None


def quantized(rows: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """[R, C] -> the same in 8 bits and the float32 scale [R, 1] that gives it back."""
    rows = rows.float()
    largest = torch.finfo(kind).max
    scale = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / largest
    return (rows / scale).clamp(-largest, largest).to(kind), scale


def entering(rows: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """As `quantized`, on a GPU compiled: operation by operation it takes longer there than 8-bit products save.

    In a block that is compiled it is traced with the block. A quotient may then round the other way, so compiled and
    not compiled may differ by a step of the 8-bit type; on a CPU, where nothing is compiled here, they do not.
    """
    return quantized(rows, kind) if torch.compiler.is_compiling() else _quantizer(rows.device)(rows, kind)


@cache
def _quantizer(device: torch.device) -> Callable[[Tensor, torch.dtype], tuple[Tensor, Tensor]]:
    compiles = device.type == "cuda" and why_not_compile(device) is None
    return torch.compile(quantized, dynamic=True) if compiles else quantized


def _product(rows: Tensor, scale: Tensor, matrix: Tensor, matrix_scale: Tensor, kind: torch.dtype) -> Tensor:
    """[R, C], [O, C] -> [R, O] in 16 bits, then `kind`."""
    wide = torch.bfloat16  # what the row-scaled product of every device gives
    multiply: Any = torch._scaled_mm  # pyright: ignore[reportPrivateImportUsage]  # older than functional.scaled_mm
    out = multiply(rows, matrix.t(), scale_a=scale, scale_b=matrix_scale.t(), out_dtype=wide)
    return out.to(kind)


def can_multiply(device: torch.device) -> str:
    """ "" where this device multiplies 8-bit matrices with a scale for each row, else why it does not."""
    try:
        matrix, scale = quantized(torch.ones(MULTIPLE, MULTIPLE, device=device), FORWARD)
        for kind in (FORWARD, BACKWARD):
            # Not square: a program compiled for a square would be for squares alone.
            rows, by_row = entering(torch.ones(2 * MULTIPLE, MULTIPLE, device=device), kind)
            product = _product(rows, by_row, matrix, scale, torch.float32)
            if not bool((product == MULTIPLE).all()):
                return "its products of 8-bit matrices are wrong"
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        return str(error).splitlines()[0]
    return ""


def check_fp8(device: torch.device) -> None:
    """Refuses a device that cannot multiply as fp8 needs it."""
    if why := can_multiply(device):
        raise UsageError(f"This device does not multiply 8-bit matrices as fp8 needs it ({why}): set fp8 to false.")


def freeze_in_fp8(module: nn.Module, device: str | torch.device) -> int:
    """Puts frozen linear layers into 8 bits on the device where their sides allow it; returns how many.

    One after the other, from wherever they lie, so that the device never holds more than one as it was.
    """
    frozen = 0
    for parent in list(module.modules()):
        for name, linear in list(parent.named_children()):
            if type(linear) is not nn.Linear or linear.weight.requires_grad:
                continue
            if not linear.in_features % MULTIPLE and not linear.out_features % MULTIPLE:
                setattr(parent, name, FrozenLinear(linear, device))
                frozen += 1
    return frozen
