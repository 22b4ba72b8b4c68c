"""Packing: samples in a row, positions per document, dead documents at the end."""

from dataclasses import replace

import pytest
import torch

from seetell.encode.sample import Batch, Sample, Shared, pack
from seetell.types import Image


def _sample(name: str, length: int, pictures: int = 0) -> Sample:
    supervised = torch.arange(length) > length // 2
    return Sample(name, torch.arange(length) + 5, supervised, (Image(path="a.png"),) * pictures)


def test_documents_stand_in_a_row_and_the_rest_is_dead() -> None:
    pixels = [torch.zeros(3, 8, 8, dtype=torch.uint8)] * 2
    batch = pack([_sample("a", 5, 1), _sample("b", 3), _sample("c", 2, 1)], pixels, multiple_of=16, pad_id=2)
    assert len(batch) == 16
    assert batch.starts == (0, 5, 8, 10, 15, 16)
    assert batch.positions[:8].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert batch.lengths == (5, 3, 2, 5, 1)  # nothing is longer than the longest sample, the dead ones included
    assert batch.parents == (-1,) * 5
    assert batch.ids[10:].tolist() == [2] * 6
    assert batch.targets.tolist() == [3, 4, 7]
    assert batch.sample_ids == ("a", "b", "c")
    assert batch.pixels.shape == (2, 3, 8, 8)


def test_a_full_row_has_no_dead_document_and_no_picture_is_fine() -> None:
    batch = pack([_sample("a", 8)], [], multiple_of=8)
    assert batch.starts == (0, 8)
    assert batch.pixels.shape[0] == 0


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="1 pictures"):
        pack([_sample("a", 4, 1)], [])
    with pytest.raises(ValueError, match="at least one sample"):
        pack([], [])
    row, none = torch.arange(4), torch.empty(0, 3, 0, 0, dtype=torch.uint8)
    with pytest.raises(ValueError, match="first token"):
        pack([Sample("a", row, row == 0)], [])
    with pytest.raises(ValueError, match="alike"):
        Batch(row, row[:3], row[1:], none, (4,), (-1,), ("a",))
    with pytest.raises(ValueError, match="int64"):
        Batch(row, row.float(), row[1:], none, (4,), (-1,), ("a",))
    with pytest.raises(ValueError, match="uint8"):
        Batch(row, row, row[1:], none.float(), (4,), (-1,), ("a",))
    with pytest.raises(ValueError, match="do not make"):
        Batch(row, row, row[1:], none, (3,), (-1,), ("a",))
    with pytest.raises(ValueError, match="cannot continue"):
        Batch(row, row, row[1:], none, (2, 2), (1, -1), ("a",))


def _begun_alike(name: str, length: int, prefix: int) -> Sample:
    """A sample whose prefix is everyone's and whose rest is its own; what lies two behind the prefix is learnt."""
    ids = torch.cat([torch.arange(prefix), torch.full((length - prefix,), ord(name))])
    return Sample(name, ids, torch.arange(length) > prefix, (Image(path="a.png"),))


def test_samples_that_share_a_picture_show_it_once() -> None:
    shared = Shared((_begun_alike("a", 7, 4), _begun_alike("b", 6, 4)), prefix=4)
    assert len(shared) == 9
    batch = pack([_sample("c", 3), shared], [torch.zeros(3, 8, 8, dtype=torch.uint8)], multiple_of=8)
    assert batch.lengths == (3, 4, 3, 2, 4)
    assert batch.parents == (-1, -1, 1, 1, -1)
    assert batch.positions.tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 4, 5, 0, 1, 2, 3]
    assert batch.targets.tolist() == [2, 8, 9, 11]
    assert batch.ids[batch.targets[1:]].tolist() == [ord("a"), ord("a"), ord("b")]
    assert batch.sample_ids == ("c", "a", "b")


def test_what_does_not_begin_alike_is_not_shared() -> None:
    a, b = _begun_alike("a", 7, 4), _begun_alike("b", 6, 4)
    with pytest.raises(ValueError, match="begin alike"):
        Shared((a, replace(b, ids=b.ids + 1)), prefix=4)
    with pytest.raises(ValueError, match="begin alike"):
        Shared((a, replace(b, images=())), prefix=4)
    with pytest.raises(ValueError, match="label"):
        Shared((a, replace(b, supervised=torch.arange(6) > 3)), prefix=4)
    with pytest.raises(ValueError, match="nothing of sample"):
        Shared((b, a), prefix=6)
