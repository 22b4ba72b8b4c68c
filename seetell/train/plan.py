"""Which samples make which optimizer step, which rank sees them, and in which micro-batch: a pure function.

First samples become steps, from (seed, epoch) alone: counted in samples, as the papers count them, or `packed`,
as many full micro-batches as hold about that many samples. Then a step's samples are shared among the ranks,
balanced by tokens, and on every rank cut into the same number of near-equal micro-batches, none over the token
budget. Nothing here has state: to resume, on any number of ranks, is to compute it again. Lengths come from an
index; no picture is opened.

What is packed is a document: one entry, or a few that begin with the same prefix (a system prompt and a picture),
which then stands there once. Entries that share one are kept together when an epoch is shuffled.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TypeVar

from seetell.train.bins import best_fit, share_out

TOKENS_MULTIPLE = 128  # a micro-batch is rounded up to this by dead documents, so few shapes occur
BRANCHES_AT_MOST = 4  # entries in one document: more about one picture in one step would be a less mixed step
WINDOW = 4096  # documents that are packed together: more fill no better, and an order of lengths would show

Document = tuple[int, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """The whole stage, not yet unrolled. `lengths` are the tokens of each entry; an entry is one sample.

    `prefixes` are the tokens at an entry's start that it shares with those of the same number in `groups`, 0
    where there are none; both stay empty where nothing is to be shared.
    """

    lengths: Sequence[int]
    samples_per_step: int
    epochs: int
    seed: int
    token_budget: int
    packed: bool = False
    groups: Sequence[int] = ()
    prefixes: Sequence[int] = ()

    @property
    def steps(self) -> int:
        return self._first_steps[-1]

    def entries(self, step: int) -> list[int]:
        """The entries of an optimizer step; the last step of an epoch may be smaller."""
        return [entry for document in self.documents(step) for entry in document]

    def documents(self, step: int) -> list[Document]:
        """The same, those that share a prefix together."""
        return [document for some in self._bins(step) for document in some]

    def tokens(self, document: Document) -> int:
        """What a document takes of a micro-batch: its prefix once, and all that follows it."""
        whole = sum(self.lengths[entry] for entry in document)
        return whole if len(document) == 1 else whole - (len(document) - 1) * self.prefix(document)

    def prefix(self, document: Document) -> int:
        """The tokens that all entries of a document share: none when there is but one."""
        return self.prefixes[document[0]] if len(document) > 1 else 0

    def micro_batches(self, step: int, ranks: int = 1) -> list[list[list[Document]]]:
        """A step as [rank][micro-batch][document]; every rank has the same number of micro-batches."""
        bins = self._bins(step)
        if self.packed and len(bins) % ranks == 0:
            return _deal(bins, [sum(map(self.tokens, one)) for one in bins], ranks)
        documents = self.documents(step)
        shares = share_out([self.tokens(document) for document in documents], ranks, self.token_budget)
        return [[[documents[i] for i in micro] for micro in rank] for rank in shares]

    @cached_property
    def _first_steps(self) -> list[int]:
        """The number of each epoch's first step, and of the one that there is not."""
        if self.packed:
            counts = [len(self._packed_steps(epoch)) for epoch in range(self.epochs)]
        else:
            counts = [-(-len(self.lengths) // self.samples_per_step)] * self.epochs
        return list(accumulate(counts, initial=0))

    def _bins(self, step: int) -> list[list[Document]]:
        """The documents of a step in the bins they were packed in; a step that is counted in samples is one."""
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} is not among the {self.steps} of this plan")
        epoch = next(epoch for epoch in range(self.epochs) if step < self._first_steps[epoch + 1])
        within = step - self._first_steps[epoch]
        if self.packed:
            return self._packed_steps(epoch)[within]
        mine = slice(within * self.samples_per_step, (within + 1) * self.samples_per_step)
        return [list(self._joined(self._order(epoch)[mine]))]

    def _order(self, epoch: int) -> Sequence[int]:
        """All entries, shuffled: a function of seed and epoch alone. Entries of a group stand by few together."""
        if epoch not in self._orders:
            chance = random.Random(f"{self.seed}:{epoch}")
            order = list(range(len(self.lengths)))
            chance.shuffle(order)
            if self.groups:
                order = _regrouped(order, self.groups, self.prefixes, chance)
            _remember(self._orders, epoch, order)
        return self._orders[epoch]

    def _joined(self, entries: Sequence[int]) -> Iterator[Document]:
        """Neighbours of one group as one document, unless it grew longer than a micro-batch."""
        if not self.groups:
            yield from ((entry,) for entry in entries)
            return
        open_document: Document = ()
        for entry in entries:
            joined = (*open_document, entry)
            if open_document and (
                not self.prefixes[entry]
                or self.groups[entry] != self.groups[open_document[0]]
                or len(joined) > BRANCHES_AT_MOST
                or self.tokens(joined) > self.token_budget
            ):
                yield open_document
                joined = (entry,)
            open_document = joined
        if open_document:
            yield open_document

    def _packed_steps(self, epoch: int) -> list[list[list[Document]]]:
        """[step][bin][document]: full bins, as many to a step as hold `samples_per_step` in the mean."""
        if epoch not in self._packings:
            documents = list(self._joined(self._order(epoch)))
            bins = pack_windows([self.tokens(document) for document in documents], self.token_budget)
            random.Random(f"{self.seed}:{epoch}:bins").shuffle(bins)
            a_step = max(1, round(len(bins) * self.samples_per_step / len(self.lengths)))
            packed = [[[documents[i] for i in one] for one in step] for step in _slices(bins, a_step)]
            _remember(self._packings, epoch, packed)
        return self._packings[epoch]

    @cached_property
    def _orders(self) -> dict[int, Sequence[int]]:
        return {}

    @cached_property
    def _packings(self) -> dict[int, list[list[list[Document]]]]:
        return {}


def pack_windows(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Bins of indices: window after window by best fit, what lies in the emptiest bin being packed with the next."""
    bins: list[list[int]] = []
    for window in _slices(range(len(lengths)), WINDOW):
        rest = bins.pop() if bins else []
        found = best_fit([*rest, *window], lengths, size)
        emptiest = min(range(len(found)), key=lambda number: sum(lengths[i] for i in found[number]))
        found.append(found.pop(emptiest))
        bins += found
    return bins


def _regrouped(order: list[int], groups: Sequence[int], prefixes: Sequence[int], chance: random.Random) -> list[int]:
    """The shuffled entries with up to BRANCHES_AT_MOST of a group side by side, and these bunches shuffled again."""
    bunches: list[list[int]] = []
    open_bunches: dict[int, list[int]] = {}
    for entry in order:
        bunch = open_bunches.get(groups[entry], []) if prefixes[entry] else []
        if not 0 < len(bunch) < BRANCHES_AT_MOST:
            bunch = []
            bunches.append(bunch)
            if prefixes[entry]:
                open_bunches[groups[entry]] = bunch
        bunch.append(entry)
    chance.shuffle(bunches)
    return [entry for bunch in bunches for entry in bunch]


def _deal(bins: list[list[Document]], tokens: list[int], ranks: int) -> list[list[list[Document]]]:
    """Whole bins to ranks, as many to each: the fullest to the emptiest rank, round by round."""
    hands: list[list[list[Document]]] = [[] for _ in range(ranks)]
    held = [0] * ranks
    fullest_first = sorted(range(len(bins)), key=lambda number: (-tokens[number], number))
    for dealt in _slices(fullest_first, ranks):
        emptiest_first = sorted(range(ranks), key=lambda rank: (held[rank], rank))
        for rank, number in zip(emptiest_first, dealt, strict=True):
            hands[rank].append(bins[number])
            held[rank] += tokens[number]
    return hands


def _slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """One after the other, each of that size, the last of what is left."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _remember(kept: dict[int, T], epoch: int, made: T) -> None:
    """Two epochs at most: at a border both are asked for."""
    if len(kept) > 1:
        del kept[min(kept)]
    kept[epoch] = made
