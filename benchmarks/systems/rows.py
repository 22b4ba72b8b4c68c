"""The samples that are timed: real or modelled lengths, random tokens, random pictures.

Every system gets the same rows and gathers them into steps and micro-batches in its own way. A size whose pictures
take fewer than 576 slots has its texts shortened by the same factor, so that the ratios stay those of LLaVA-1.5:
in stage 1 a caption is a fortieth of a sample, in stage 2 padding at random wastes two fifths.

Shapes  n tokens of a sample, N pictures, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.systems.sizes import MEAN, STD, Size
from seetell.forecast.lengths import SLOTS, Lengths, lengths
from seetell.train.plan import Plan

IGNORED = -100


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One sample: ids [n], which are learnt [n], and its picture (-1: none), in the slots `first_slot` to `prefix`."""

    ids: Tensor
    supervised: Tensor
    picture: int
    first_slot: int
    prefix: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> Tensor:
        """ids where they are learnt, -100 elsewhere: [n]"""
        return self.ids.masked_fill(~self.supervised, IGNORED)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What is trained on: rows, and pictures as uint8 and as the tower's numbers, [N, 3, H, W].

    Both forms are made before the clock starts: reading pictures is timed by `benchmarks/loader.py`.
    """

    rows: list[Row]
    pixels: Tensor
    normalized: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def supervised(self) -> int:
        """Tokens that are learnt."""
        return sum(int(row.supervised.sum()) for row in self.rows)

    def first(self, count: int) -> Rows:
        return Rows(self.rows[:count], self.pixels, self.normalized)


def make_rows(size: Size, stage: int, count: int, seed: int = 0, together: bool = False) -> Rows:
    """`count` rows of a stage, at random; or `together`, those that the first steps of an epoch with `share_images`
    hold, planned over the whole mixture. A picture that is met twice is one picture."""
    chance = torch.Generator().manual_seed(seed)
    found = _first_together(stage, count, seed) if together else lengths(stage, count, seed=seed)
    known: dict[int, int] = {}
    rows: list[Row] = []
    columns = zip(found.tokens, found.supervised, found.pictures, found.prefixes, strict=True)
    for tokens, supervised, picture, prefix in columns:
        seen = picture >= 0
        number = known.setdefault(picture, len(known)) if seen else -1
        text = tokens - SLOTS * seen
        before = max(prefix - SLOTS, 1) if seen else 1
        rows.append(_row(size, text, supervised, before, number, chance))
    shape = (len(known), 3, size.side_px, size.side_px)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=chance)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return Rows(rows, pixels, (pixels.float() / 255.0 - mean) / std)


def _first_together(stage: int, count: int, seed: int) -> Lengths:
    every = lengths(stage, seed=seed)
    plan = Plan(
        every.tokens, count, epochs=1, seed=seed, token_budget=8192, groups=every.pictures, prefixes=every.prefixes
    )
    chosen = plan.entries(0)
    columns = (every.tokens, every.supervised, every.pictures, every.prefixes)
    return Lengths(*([column[entry] for entry in chosen] for column in columns))


def _row(size: Size, text: int, supervised: int, before: int, picture: int, chance: torch.Generator) -> Row:
    """A system prompt, the picture's slots, words, and at the end what is learnt."""
    scale = size.slots / SLOTS
    before = max(1, round(before * scale))
    text = max(before + 1, round(text * scale))
    learnt = min(max(1, round(supervised * scale)), text - before)
    words = torch.randint(3, size.image_id, (text,), generator=chance)
    words[:before] = torch.arange(3, 3 + before)  # the system prompt, the same in every row
    slots = torch.full((size.slots * (picture >= 0),), size.image_id)
    ids = torch.cat([words[:before], slots, words[before:]])
    mask = torch.zeros(len(ids), dtype=torch.bool)
    mask[len(ids) - learnt :] = True
    return Row(ids, mask, picture, before, before + len(slots))
