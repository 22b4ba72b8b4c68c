"""Which samples make which optimizer step, which rank sees them, and in which micro-batch: a pure function.

First samples become steps, from (seed, epoch) alone and counted in samples, as the papers count them. Then
a step's samples are shared among the ranks, balanced by tokens, and on every rank cut into the same number
of near-equal micro-batches, none over the token budget. Nothing here has state: to resume, on any number of
ranks, is to compute it again. Lengths come from an index; no picture is opened.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

TOKENS_MULTIPLE = 128  # a micro-batch is rounded up to this by one dead document, so few shapes occur


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole stage, not yet unrolled. `lengths` are the tokens of each entry; an entry is one sample."""

    lengths: Sequence[int]
    samples_per_step: int
    epochs: int
    seed: int
    token_budget: int

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.lengths) // self.samples_per_step)

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    def entries(self, step: int) -> list[int]:
        """The entries of an optimizer step; the last step of an epoch may be smaller."""
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} is not among the {self.steps} of this plan")
        epoch, within = divmod(step, self.steps_per_epoch)
        order = epoch_order(len(self.lengths), self.seed, epoch)
        return list(order[within * self.samples_per_step : (within + 1) * self.samples_per_step])

    def micro_batches(self, step: int, ranks: int = 1) -> list[list[list[int]]]:
        """A step's entries as [rank][micro-batch][entry]; every rank has the same number of micro-batches."""
        entries = self.entries(step)
        shares = share_out([self.lengths[entry] for entry in entries], ranks, self.token_budget)
        return [[[entries[i] for i in micro] for micro in rank] for rank in shares]


@lru_cache(maxsize=2)
def epoch_order(count: int, seed: int, epoch: int) -> tuple[int, ...]:
    """A permutation of range(count), a function of its arguments alone."""
    order = list(range(count))
    random.Random(f"{seed}:{epoch}").shuffle(order)
    return tuple(order)


def share_out(lengths: Sequence[int], ranks: int, token_budget: int) -> list[list[list[int]]]:
    """Samples of a step as [rank][micro-batch][index into lengths].

    A sample longer than the budget is a micro-batch of its own. With fewer samples than ranks some
    micro-batches are empty: their rank still makes its pass, so that nobody waits for it for ever.
    """
    by_rank = _even_bins(list(range(len(lengths))), lengths, ranks)
    count = max(1, *(-(-sum(lengths[i] for i in mine) // token_budget) for mine in by_rank))
    while True:
        shared = [_even_bins(mine, lengths, count) for mine in by_rank]
        if all(_fits(micro, lengths, token_budget) for rank in shared for micro in rank):
            return shared
        count += 1


def _fits(indices: Sequence[int], lengths: Sequence[int], token_budget: int) -> bool:
    return len(indices) <= 1 or sum(lengths[i] for i in indices) <= token_budget


def _even_bins(indices: Sequence[int], lengths: Sequence[int], count: int) -> list[list[int]]:
    """Longest first, each into the emptiest bin (the first of equals); inside a bin the given order is kept."""
    bins: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for i in sorted(indices, key=lambda i: (-lengths[i], i)):
        emptiest = filled.index(min(filled))
        bins[emptiest].append(i)
        filled[emptiest] += lengths[i]
    return [sorted(one) for one in bins]
