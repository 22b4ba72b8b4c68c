"""Which samples begin alike: the same pictures in the same slots, nothing learnt up to there or right behind."""

from __future__ import annotations

import torch
from torch import Tensor

from seetell.train.data import Samples
from seetell.train.sharing import shared_prefixes
from seetell.types import Image

IMAGE_ID = 9


def read(rows: list[tuple[list[int], int, str]], entries: list[int] | None = None) -> Samples:
    """Samples of ids, of which those from a place on are learnt, each about the picture of that path or about none."""
    starts = [0]
    supervised: list[Tensor] = []
    for ids, learnt_from, _ in rows:
        starts.append(starts[-1] + len(ids))
        supervised.append(torch.arange(len(ids)) >= learnt_from)
    return Samples(
        torch.tensor([token for ids, _, _ in rows for token in ids], dtype=torch.int32),
        torch.cat(supervised),
        starts,
        [str(i) for i in range(len(rows))],
        [(Image(path),) if path else () for _, _, path in rows],
        list(range(len(rows))) if entries is None else entries,
        list(range(len(rows))),
        [],
        ("a file",),
        [0] * len(rows),
    )


def test_samples_that_begin_alike_are_one_group() -> None:
    samples = read(
        [
            ([1, 9, 9, 5, 6], 4, "a.jpg"),
            ([1, 9, 9, 7, 8, 8], 4, "a.jpg"),
            ([1, 9, 9, 5, 6], 4, "b.jpg"),  # another picture
            ([1, 2, 9, 9, 5, 6], 5, "a.jpg"),  # another word before it
            ([1, 9, 9, 5, 6], 3, "a.jpg"),  # the word right behind the picture is learnt
            ([1, 9, 5, 9, 6, 7], 2, "a.jpg"),  # something is learnt between its slots
            ([1, 5, 6], 2, ""),
        ]
    )
    groups, prefixes = shared_prefixes(samples, IMAGE_ID)
    assert prefixes == [3, 3, 3, 4, 0, 0, 0]
    assert groups[0] == groups[1]
    assert len({groups[0], groups[2], groups[3]}) == 3


def test_copies_of_a_sample_are_not_put_beside_itself() -> None:
    rows = [([1, 9, 5, 6], 3, "a.jpg"), ([1, 9, 7, 8], 3, "a.jpg")]
    groups, _ = shared_prefixes(read(rows, entries=[0, 0, 1, 1]), IMAGE_ID)
    assert groups[0] == groups[2] != groups[1] == groups[3]
