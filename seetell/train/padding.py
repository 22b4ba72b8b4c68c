"""What padding would have cost: the slots of micro-batches whose every row is as long as their longest.

Two orders are known. At random, as most trainers shuffle; and LLaVA's sampler, which sorts each step's samples by
length and then deals them so that every GPU gets as much in total, long and short alike, pictures apart from text.
The order is written here anew from its description; it counts tokens, LLaVA's counts words.

Source  Liu et al. 2023, arXiv:2310.03744 (one modality a batch).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

MICRO_BATCH = 16  # samples, of LLaVA-1.5's second stage
RANKS = 8


def padded_at_random(lengths: Sequence[int], seed: int) -> int:
    """Slots of an epoch in random order."""
    order = list(range(len(lengths)))
    random.Random(seed).shuffle(order)
    return sum(_padded(lengths, order[i : i + MICRO_BATCH]) for i in range(0, len(order), MICRO_BATCH))


def padded_as_llava(lengths: Sequence[int], shows: Sequence[bool], seed: int) -> int:
    """Slots of an epoch in the order of LLaVA's sampler, on eight GPUs; `shows` says which have a picture."""
    chance = random.Random(seed)
    step = MICRO_BATCH * RANKS
    slots = 0
    left: list[int] = []
    for kind in (True, False):
        order = [i for i in range(len(lengths)) if shows[i] == kind]
        chance.shuffle(order)
        whole = len(order) // step * step
        left += order[whole:]
        slots += sum(_dealt(lengths, order[i : i + step]) for i in range(0, whole, step))
    return slots + sum(_dealt(lengths, left[i : i + step]) for i in range(0, len(left), step))


def _dealt(lengths: Sequence[int], step: Sequence[int]) -> int:
    """A step's slots: longest first, each to the rank with the least so far that has room for another sample."""
    room = -(-len(step) // RANKS)
    hands: list[list[int]] = [[] for _ in range(RANKS)]
    held = [0] * RANKS
    for i in sorted(step, key=lambda i: -lengths[i]):
        rank = min((rank for rank in range(RANKS) if len(hands[rank]) < room), key=held.__getitem__)
        hands[rank].append(i)
        held[rank] += lengths[i]
    return sum(_padded(lengths, hand) for hand in hands)


def _padded(lengths: Sequence[int], rows: Sequence[int]) -> int:
    return len(rows) * max((lengths[i] for i in rows), default=0)
