"""Packing: samples in a row, positions per document, a dead document at the end."""

import pytest
import torch

from seetell.encode.sample import Batch, Sample, pack
from seetell.types import Image


def _sample(name: str, length: int, pictures: int = 0) -> Sample:
    supervised = torch.arange(length) > length // 2
    return Sample(name, torch.arange(length) + 5, supervised, (Image(path="a.png"),) * pictures)


def test_documents_stand_in_a_row_and_the_rest_is_dead() -> None:
    pixels = [torch.zeros(3, 8, 8, dtype=torch.uint8)] * 2
    batch = pack([_sample("a", 5, 1), _sample("b", 3), _sample("c", 2, 1)], pixels, multiple_of=16, pad_id=2)
    assert len(batch) == 16
    assert batch.starts.tolist() == [0, 5, 8, 10, 16]
    assert batch.positions[:8].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert batch.document.tolist() == [0] * 5 + [1] * 3 + [2] * 2 + [3] * 6
    assert batch.ids[10:].tolist() == [2] * 6
    assert not batch.supervised[10:].any()
    assert batch.sample_ids == ("a", "b", "c")
    assert batch.pixels.shape == (2, 3, 8, 8)


def test_a_full_row_has_no_dead_document_and_no_picture_is_fine() -> None:
    batch = pack([_sample("a", 8)], [], multiple_of=8)
    assert batch.starts.tolist() == [0, 8]
    assert batch.pixels.shape[0] == 0


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="1 pictures"):
        pack([_sample("a", 4, 1)], [])
    with pytest.raises(ValueError, match="at least one sample"):
        pack([], [])
    row = torch.arange(4)
    none = torch.empty(0, 3, 0, 0, dtype=torch.uint8)
    with pytest.raises(ValueError, match="first token"):
        Batch(row, row, row * 0, row == 0, none, ("a",))
    with pytest.raises(ValueError, match="alike"):
        Batch(row, row[:3], row * 0, row == 1, none, ("a",))
    with pytest.raises(ValueError, match="int64"):
        Batch(row, row, row * 0, row, none, ("a",))
    with pytest.raises(ValueError, match="uint8"):
        Batch(row, row, row * 0, row == 1, none.float(), ("a",))
