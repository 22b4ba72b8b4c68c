"""Samples and batches: what encoding makes of a conversation, and a row of documents for the model.

A batch is never padded to its longest sample: samples stand one after the other, positions start again at
each, and attention stays inside each (`starts`). What is left to a multiple of 128 is one dead document
without labels, so that shapes repeat.

Supervision: `supervised[t]` says that `ids[t]` is to be predicted, from position t-1 of the same document;
the first position of a document is therefore never supervised.

Shapes: T tokens of a batch, K documents (the dead one included), N pictures, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
class Batch:
    """Packed documents.

    ids, positions, document: int64 [T]; supervised: bool [T]; pixels: uint8 [N, 3, H, W], in the order of their
    slots; sample_ids: the K documents' names, without the dead one if there is one.
    """

    ids: Tensor
    positions: Tensor
    document: Tensor
    supervised: Tensor
    pixels: Tensor
    sample_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = self.ids.shape
        rows = (self.positions, self.document, self.supervised)
        if len(shape) != 1 or any(row.shape != shape for row in rows):
            shapes = ", ".join(str(tuple(row.shape)) for row in (self.ids, *rows))
            raise ValueError(f"a batch's ids, positions, document and supervised must be [T] alike, not {shapes}")
        kinds = [row.dtype for row in (self.ids, *rows)]
        if kinds != [torch.int64, torch.int64, torch.int64, torch.bool]:
            raise ValueError(f"a batch holds int64 ids, positions and document, and bool supervised, not {kinds}")
        if self.pixels.ndim != 4 or self.pixels.shape[1] != 3 or self.pixels.dtype != torch.uint8:
            raise ValueError(f"pixels must be uint8 [N, 3, H, W], not {self.pixels.dtype} {tuple(self.pixels.shape)}")
        if bool((self.supervised & (self.positions == 0)).any()):
            raise ValueError("the first token of a document cannot be supervised: nothing in the document predicts it")

    def __len__(self) -> int:
        return self.ids.shape[0]

    @property
    def starts(self) -> Tensor:
        """Where documents start, and the end of the last: int64 [K + 1]."""
        begins = (self.positions == 0).nonzero().flatten()
        return torch.cat([begins, begins.new_tensor([len(self)])])

    def to(self, device: torch.device | str) -> Batch:
        return Batch(
            self.ids.to(device),
            self.positions.to(device),
            self.document.to(device),
            self.supervised.to(device),
            self.pixels.to(device),
            self.sample_ids,
        )


def pack(samples: Sequence[Sample], pixels: Sequence[Tensor], multiple_of: int = 128, pad_id: int = 0) -> Batch:
    """Lays samples one after the other; `pixels` holds a [3, H, W] for every picture of every sample, in order."""
    if not samples:
        raise ValueError("there is nothing to pack: a batch needs at least one sample")
    wanted = sum(len(sample.images) for sample in samples)
    if len(pixels) != wanted:
        raise ValueError(f"the samples show {wanted} pictures, but the pixels of {len(pixels)} were given")
    lengths = [len(sample) for sample in samples]
    ids = [sample.ids for sample in samples]
    supervised = [sample.supervised for sample in samples]
    dead = -sum(lengths) % multiple_of
    if dead:
        lengths.append(dead)
        ids.append(torch.full((dead,), pad_id, dtype=torch.int64))
        supervised.append(torch.zeros(dead, dtype=torch.bool))
    return Batch(
        ids=torch.cat(ids),
        positions=torch.cat([torch.arange(length) for length in lengths]),
        document=torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)),
        supervised=torch.cat(supervised),
        pixels=torch.stack(list(pixels)) if pixels else torch.empty(0, 3, 0, 0, dtype=torch.uint8),
        sample_ids=tuple(sample.id for sample in samples),
    )
