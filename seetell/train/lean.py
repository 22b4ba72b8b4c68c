"""AdamW for a model that fills its card: weights in bfloat16, moments in bfloat16 or in 8 bits, rounded by chance.

A step of 2e-5 is less than half the distance between two bfloat16 numbers near most weights, so that rounding to
the nearest would undo it every time; rounded up with the probability that its remainder says, a weight moves by the
right amount on average. The second moment needs it too: it changes by a thousandth a step, its grid is coarser.
In 8 bits that moment is kept as its root, which spans half as many decades: kept itself and rounded to the nearest,
what is small in its block becomes 0, and its weight's step as large as can be.

What is drawn is a function of (seed, parameter, its step), so a resumed run draws the same, and every rank does.
Beside the weights (2 bytes) and their gradients (2) this keeps 4 bytes a weight, or 2 and a 64th.

Source  AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101; moments in blocks of 8-bit numbers on a grid that is
        finer towards 0: Dettmers et al. 2022, arXiv:2110.02861

Shapes  n numbers at once, B blocks of BLOCK numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional

from seetell.train.recipe import SEED_BITS

BLOCK = 256  # numbers that share one scale
SMALL = 4096  # tensors below this keep their moments in bfloat16: there is nothing to save
CHUNK = 1 << 24  # numbers that are float32 at once
DECADES = 7
PRIME = 1_000_003


class LeanAdamW(torch.optim.Optimizer):
    """AdamW whose state is plain tensors: `exp_avg` and `exp_avg_sq`, in 8 bits with `…_scale` beside each."""

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        betas: tuple[float, float],
        eps: float,
        moments: Literal["bfloat16", "8bit"],
        seed: int,
    ) -> None:
        super().__init__(groups, {"betas": betas, "eps": eps})
        self._eight = moments == "8bit"
        self._seed = seed
        self._numbers = {p: i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # noqa: ARG002  the closure is torch's, no loop here gives one
        """Moves every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state[parameter] or self._begin(parameter)
        state["step"] += 1
        step = int(state["step"])
        weights, gradient = _flat(parameter.detach()), _flat(cast(Tensor, parameter.grad).contiguous())  # [n]
        chance = torch.Generator(weights.device)
        chance.manual_seed(((self._seed * PRIME + self._numbers[parameter]) * PRIME + step) % 2**SEED_BITS)
        rate, eps, (beta1, beta2) = group["lr"], group["eps"], group["betas"]
        for start in range(0, len(weights), CHUNK):
            span = slice(start, start + CHUNK)
            g = gradient[span].float()
            m = _read(state, "exp_avg", span, signed=True).lerp_(g, 1 - beta1)
            v = _read(state, "exp_avg_sq", span, signed=False).mul_(beta2).addcmul_(g, g, value=1 - beta2)
            size = (v / (1 - beta2**step)).sqrt_().add_(eps)
            w = weights[span].float()  # a copy, unless it is float32 already, which then moves in place
            w.mul_(1 - rate * group["weight_decay"]).addcdiv_(m, size, value=-rate / (1 - beta1**step))
            if weights.dtype == torch.bfloat16:
                weights[span] = bfloat16_by_chance(w, chance)
            _write(state, "exp_avg", span, m, chance, signed=True)
            _write(state, "exp_avg_sq", span, v, chance, signed=False)

    def _begin(self, parameter: nn.Parameter) -> dict[str, Any]:
        state = self.state[parameter]
        state["step"] = torch.zeros((), dtype=torch.float32)
        for name in ("exp_avg", "exp_avg_sq"):
            if self._eight and parameter.numel() >= SMALL:
                count, device = parameter.numel(), parameter.device
                state[name] = torch.zeros(count, dtype=torch.uint8, device=device)
                state[f"{name}_scale"] = torch.zeros(-(-count // BLOCK), dtype=torch.float32, device=device)
            else:
                state[name] = torch.zeros_like(parameter, dtype=torch.bfloat16, memory_format=torch.contiguous_format)
        return state


def bfloat16_by_chance(numbers: Tensor, chance: torch.Generator) -> Tensor:
    """float32 [n] -> bfloat16 [n]: one of the two neighbours, each as likely as the number is near to it."""
    lower_bits = torch.randint(0, 1 << 16, numbers.shape, dtype=torch.int32, device=numbers.device, generator=chance)
    return ((numbers.view(torch.int32) + lower_bits) & -(1 << 16)).view(torch.float32).bfloat16()


def eight_bits_by_chance(numbers: Tensor, chance: torch.Generator, signed: bool) -> tuple[Tensor, Tensor]:
    """float32 [n] -> codes uint8 [n], scales float32 [B]: neighbours on the grid, rounded by chance.

    Without signs, what is positive never becomes 0: that would make its weight's step as large as can be.
    """
    grid = _grid(signed, numbers.device)  # [G]
    blocks = functional.pad(numbers, (0, -len(numbers) % BLOCK)).view(-1, BLOCK)  # [B, BLOCK]
    scales = blocks.abs().amax(1)  # [B]
    parts = blocks / scales.clamp(min=torch.finfo(torch.float32).tiny)[:, None]
    above = torch.searchsorted(grid, parts, right=True).clamp_(1, len(grid) - 1)
    below, high = grid[above - 1], grid[above]
    lot = torch.rand(parts.shape, device=numbers.device, generator=chance)
    codes = above - 1 + (lot < (parts - below) / (high - below))
    if not signed:
        codes = torch.where(parts > 0, codes.clamp(min=1), codes)
    return codes.flatten()[: len(numbers)].to(torch.uint8), scales


def from_eight_bits(codes: Tensor, scales: Tensor, signed: bool) -> Tensor:
    """codes uint8 [n], scales [B] -> float32 [n]"""
    values = _grid(signed, codes.device)[codes.int()]
    return values * scales.repeat_interleave(BLOCK)[: len(values)]


@lru_cache
def _grid(signed: bool, device: torch.device) -> Tensor:
    """[255] numbers up to 1, twice as many in each decade as in the one below it, so that large ones are exact."""
    doublings = range(DECADES) if signed else range(1, DECADES + 1)
    decades = [torch.linspace(0.1, 1.0, 2**k + 1)[1:] * 10.0**i for i, k in enumerate(doublings, start=1 - DECADES)]
    positive = torch.cat(decades)
    zero = torch.zeros(1)
    return torch.cat([-positive.flip(0), zero, positive] if signed else [zero, positive]).to(device)


def _read(state: dict[str, Any], name: str, span: slice, signed: bool) -> Tensor:
    """A moment's numbers, float32 [n]."""
    held = _flat(state[name])[span]
    if held.dtype != torch.uint8:
        return held.float()
    numbers = from_eight_bits(held, state[f"{name}_scale"][_blocks(span)], signed)
    return numbers if signed else numbers.square_()


def _write(
    state: dict[str, Any], name: str, span: slice, numbers: Tensor, chance: torch.Generator, signed: bool
) -> None:
    held = _flat(state[name])
    if held.dtype != torch.uint8:
        held[span] = bfloat16_by_chance(numbers, chance)
        return
    numbers = numbers if signed else numbers.sqrt()
    held[span], state[f"{name}_scale"][_blocks(span)] = eight_bits_by_chance(numbers, chance, signed)


def _blocks(span: slice) -> slice:
    """The blocks of a stretch of numbers, which begins at a block's beginning."""
    return slice(span.start // BLOCK, span.stop // BLOCK)


def _flat(tensor: Any) -> Tensor:
    """[n]: a tensor's numbers, or of a shard those that are here."""
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).view(-1)
