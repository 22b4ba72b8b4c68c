"""Samples and batches: what encoding makes of a conversation, and a row of documents for the model.

A batch is never padded to its longest sample: samples stand one after the other, positions start again at
each, and attention stays inside each. Conversations about one picture may share its copy: their common
beginning then stands once, as a document, and each conversation's rest is a document that continues it. What
is left to a multiple of 128 is a dead document without labels, or a few, so that shapes repeat.

Supervision: a target is a place whose token is to be predicted, from the place before it in the same
document; the first token of a document is therefore never one.

Shapes: T tokens of a batch, K documents (the dead ones included), S targets, N pictures, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from seetell.types import Image


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One conversation as ids [n] with its supervised mask [n]; each picture's slots are already in the ids,
    the pictures themselves are not opened yet. `source` numbers where it comes from, for whoever keeps count."""

    id: str
    ids: Tensor
    supervised: Tensor
    images: tuple[Image, ...] = ()
    source: int = 0

    def __len__(self) -> int:
        return self.ids.shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """Samples about the same pictures that attend to one copy of their first `prefix` tokens.

    Same tokens, same positions, same sight: each has the loss it would have alone. The prefix holds all their
    pictures and, with the token behind it, nothing supervised.
    """

    samples: tuple[Sample, ...]
    prefix: int

    def __post_init__(self) -> None:
        first = self.samples[0]
        for sample in self.samples:
            if not 0 < self.prefix < len(sample):
                raise ValueError(f"a shared prefix of {self.prefix} tokens leaves nothing of sample {sample.id!r}")
            if sample.images != first.images or not torch.equal(sample.ids[: self.prefix], first.ids[: self.prefix]):
                raise ValueError(f"samples {first.id!r} and {sample.id!r} do not begin alike for {self.prefix} tokens")
            if bool(sample.supervised[: self.prefix + 1].any()):
                raise ValueError(f"sample {sample.id!r} has a label within the {self.prefix} tokens it would share")

    @property
    def images(self) -> tuple[Image, ...]:
        return self.samples[0].images

    def __len__(self) -> int:
        return self.prefix + sum(len(sample) - self.prefix for sample in self.samples)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Packed documents.

    ids, positions: int64 [T]; targets: int64 [S], ascending places in ids; pixels: uint8 [N, 3, H, W], in the
    order of their slots; lengths: tokens of each of the K documents; parents: for each the earlier document that it
    continues, or -1; sample_ids: the samples' names. image_rows: int64, the places of the image tokens, None where
    nobody said which they are. host_targets: the targets, on the host also when the batch lies on a device.
    """

    ids: Tensor
    positions: Tensor
    targets: Tensor
    pixels: Tensor
    lengths: tuple[int, ...]
    parents: tuple[int, ...]
    sample_ids: tuple[str, ...]
    image_rows: Tensor | None = None
    host_targets: Tensor | None = None

    def __post_init__(self) -> None:
        if self.ids.ndim != 1 or self.positions.shape != self.ids.shape or self.targets.ndim != 1:
            shapes = [tuple(row.shape) for row in (self.ids, self.positions, self.targets)]
            raise ValueError(f"a batch's ids and positions must be [T] alike and targets [S], not {shapes}")
        kinds = [row.dtype for row in (self.ids, self.positions, self.targets)]
        if kinds != [torch.int64] * 3:
            raise ValueError(f"a batch holds int64 ids, positions and targets, not {kinds}")
        if self.pixels.ndim != 4 or self.pixels.shape[1] != 3 or self.pixels.dtype != torch.uint8:
            raise ValueError(f"pixels must be uint8 [N, 3, H, W], not {self.pixels.dtype} {tuple(self.pixels.shape)}")
        if sum(self.lengths) != len(self) or min(self.lengths, default=1) < 1:
            raise ValueError(f"documents of {list(self.lengths)} tokens do not make a batch of {len(self)}")
        if len(self.parents) != len(self.lengths):
            raise ValueError(f"{len(self.lengths)} documents cannot have {len(self.parents)} parents")
        for number, parent in enumerate(self.parents):
            if parent != -1 and not (0 <= parent < number and self.parents[parent] == -1):
                raise ValueError(f"document {number} cannot continue document {parent}")

    def __len__(self) -> int:
        return self.ids.shape[0]

    @property
    def starts(self) -> tuple[int, ...]:
        """Where documents start, and the end of the last: K + 1."""
        return tuple(accumulate(self.lengths, initial=0))

    def to(self, device: torch.device | str) -> Batch:
        held = {name: getattr(self, name) for name in _TENSORS}
        moved = {name: None if one is None else one.to(device, non_blocking=True) for name, one in held.items()}
        host_targets = self.targets if self.host_targets is None else self.host_targets
        return replace(self, **moved, host_targets=host_targets)


_TENSORS = ("ids", "positions", "targets", "pixels", "image_rows")


@dataclass(frozen=True, slots=True, eq=False)
class _Document:
    """A run of tokens that attention treats as one: ids, supervised [n], first position, the document continued."""

    ids: Tensor
    supervised: Tensor
    begins: int = 0
    parent: int = -1


def pack(
    rows: Sequence[Sample | Shared],
    pixels: Sequence[Tensor] | None,
    multiple_of: int = 128,
    pad_id: int = 0,
    image_id: int | None = None,
) -> Batch:
    """Lays samples one after the other; `pixels` holds a [3, H, W] for every picture of every row, in order.

    None: what the tower saw is given to the model beside the batch. With `image_id` the batch says where the image
    tokens stand. What fills the batch up are documents no longer than its longest sample: what a model can look back
    on bounds samples, and so them.
    """
    if not rows:
        raise ValueError("there is nothing to pack: a batch needs at least one sample")
    whole = [sample for row in rows for sample in _samples(row)]
    wanted = sum(len(row.images) for row in rows)
    if pixels is not None and len(pixels) != wanted:
        raise ValueError(f"the samples show {wanted} pictures, but the pixels of {len(pixels)} were given")
    documents: list[_Document] = []
    for row in rows:
        documents += _documents(row, len(documents))
    dead, longest = -sum(len(one.ids) for one in documents) % multiple_of, max(len(sample) for sample in whole)
    for start in range(0, dead, longest):
        tokens = min(longest, dead - start)
        nothing = torch.zeros(tokens, dtype=torch.bool)
        documents.append(_Document(torch.full((tokens,), pad_id, dtype=torch.int64), nothing))
    for one in documents:
        if one.supervised[0]:
            raise ValueError("the first token of a document cannot be supervised: nothing in the document predicts it")
    ids = torch.cat([one.ids for one in documents])
    return Batch(
        ids=ids,
        positions=torch.cat([torch.arange(one.begins, one.begins + len(one.ids)) for one in documents]),
        targets=torch.cat([one.supervised for one in documents]).nonzero().flatten(),
        pixels=torch.stack(list(pixels)) if pixels else torch.empty(0, 3, 0, 0, dtype=torch.uint8),
        lengths=tuple(len(one.ids) for one in documents),
        parents=tuple(one.parent for one in documents),
        sample_ids=tuple(sample.id for sample in whole),
        image_rows=None if image_id is None else (ids == image_id).nonzero().flatten(),
    )


def _documents(row: Sample | Shared, number: int) -> list[_Document]:
    """A row's documents, the first of which will be document `number` of the batch."""
    if isinstance(row, Sample):
        return [_Document(row.ids, row.supervised)]
    cut = row.prefix
    first = row.samples[0]
    prefix = _Document(first.ids[:cut], first.supervised[:cut])
    return [prefix, *(_Document(one.ids[cut:], one.supervised[cut:], cut, number) for one in row.samples)]


def _samples(row: Sample | Shared) -> tuple[Sample, ...]:
    return (row,) if isinstance(row, Sample) else row.samples
