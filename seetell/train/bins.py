"""Documents into bins: evenly into a given number, or as few as a size allows. Integers in, indices out.

Even: longest first, each into the emptiest (Graham 1969), and what is still uneven is levelled by exchange.
Few: best fit decreasing, each into the fullest bin that still takes it; the short fill the gaps of the long.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Sequence

EVEN = 0.005  # bins that differ by this fraction of the fullest are even enough


def share_out(lengths: Sequence[int], ranks: int, token_budget: int) -> list[list[list[int]]]:
    """Documents of a step as [rank][micro-batch][index into lengths].

    A document longer than the budget is a micro-batch of its own. With fewer documents than ranks some
    micro-batches are empty: their rank still makes its pass, so that nobody waits for it for ever.
    """
    by_rank = even_bins(range(len(lengths)), lengths, ranks)
    count = max(1, *(-(-sum(lengths[i] for i in mine) // token_budget) for mine in by_rank))
    while True:
        shared = [even_bins(mine, lengths, count) for mine in by_rank]
        if all(_fits(micro, lengths, token_budget) for rank in shared for micro in rank):
            return shared
        count += 1


def even_bins(indices: Sequence[int], lengths: Sequence[int], count: int) -> list[list[int]]:
    """Longest first, each into the emptiest bin (the first of equals), then levelled; each bin is sorted."""
    bins: list[list[int]] = [[] for _ in range(count)]
    filled = [(0, number) for number in range(count)]
    for i in sorted(indices, key=lambda i: (-lengths[i], i)):
        tokens, emptiest = filled[0]
        bins[emptiest].append(i)
        heapq.heapreplace(filled, (tokens + lengths[i], emptiest))
    _level(bins, [tokens for tokens, _ in sorted(filled, key=lambda one: one[1])], lengths)
    return [sorted(one) for one in bins]


def _level(bins: list[list[int]], filled: list[int], lengths: Sequence[int]) -> None:
    """Between the fullest and the emptiest bin one index changes sides, or two their places, while that helps."""
    for _ in range(4 * len(bins)):
        full, empty = filled.index(max(filled)), filled.index(min(filled))
        gap = filled[full] - filled[empty]
        if gap <= EVEN * max(filled):
            return
        back = sorted([(0, -1), *((lengths[i], i) for i in bins[empty])])
        shift, there, here = min(
            (abs(2 * (lengths[i] - tokens) - gap), i, j)
            for i in bins[full]
            for tokens, j in _around(back, lengths[i] - gap / 2)
        )
        if shift >= gap:
            return
        bins[full].remove(there)
        bins[empty].append(there)
        moved = lengths[there]
        if here >= 0:
            bins[empty].remove(here)
            bins[full].append(here)
            moved -= lengths[here]
        filled[full] -= moved
        filled[empty] += moved


def _around(sorted_lengths: list[tuple[int, int]], wanted: float) -> list[tuple[int, int]]:
    """The two that lie around a number."""
    place = bisect_left(sorted_lengths, (wanted, -1))
    return sorted_lengths[max(0, place - 1) : place + 1]


def best_fit(indices: Sequence[int], lengths: Sequence[int], size: int) -> list[list[int]]:
    """Longest first, each into the fullest bin of that size that takes it; a longer one has a bin of its own."""
    bins: list[list[int]] = []
    free: list[tuple[int, int]] = []  # tokens left in a bin, and which, the fullest first
    for i in sorted(indices, key=lambda i: (-lengths[i], i)):
        place = bisect_left(free, (lengths[i], 0))
        if place < len(free):
            left, number = free.pop(place)
        else:
            left, number = size, len(bins)
            bins.append([])
        bins[number].append(i)
        insort(free, (left - lengths[i], number))
    return bins


def _fits(indices: Sequence[int], lengths: Sequence[int], token_budget: int) -> bool:
    return len(indices) <= 1 or sum(lengths[i] for i in indices) <= token_budget
