"""All of distribution, behind one noun: what is summed, clipped, waited for, and who may write.

One process is one rank; the loop is written against this and does not know how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Ranks:
    """The ranks of a run, as one of them sees it."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def main(self) -> bool:
        """Whether this rank writes files and talks to people."""
        return self.rank == 0

    def sum(self, number: Tensor) -> Tensor:
        """The sum over all ranks of a scalar, []."""
        return number

    def clip(self, parameters: Iterable[nn.Parameter], largest_norm: float) -> Tensor:
        """Scales the gradients of the whole model down to the norm; returns the norm before, []."""
        return nn.utils.clip_grad_norm_(parameters, largest_norm)

    def barrier(self) -> None:
        """Waits for every rank."""
