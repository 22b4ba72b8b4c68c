"""The tiny base's own loops, short: what they read, and that what they write is loaded as any other part is."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, CLIPModel, CLIPVisionModel, PreTrainedTokenizerFast

from seetell.base import language, vision
from seetell.base.text import RECALLED, documents
from seetell.base.wordings import TERSE, WIDER
from seetell.sources.drawn.questions import HELD_OUT, WORDINGS

SHIPPED = Path(language.__file__).parent / "weights"


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    for loop in (language, vision):
        monkeypatch.setattr(loop, "compiled", lambda function: function)


def test_the_language_model_never_reads_a_held_out_wording() -> None:
    held_out = {text for texts in HELD_OUT.values() for text in texts}
    for wordings in (WORDINGS, WIDER, TERSE):
        assert wordings.keys() == HELD_OUT.keys()
        assert not held_out & {text for texts in wordings.values() for text in texts}


@pytest.mark.parametrize("grown", [0.0, 0.5, 1.0])
def test_its_reading_is_a_function_of_the_seed_and_always_has_something_to_learn(grown: float) -> None:
    first = list(itertools.islice(documents(3, lambda: grown), 60))
    assert first == list(itertools.islice(documents(3, lambda: grown), 60))
    assert first != list(itertools.islice(documents(4, lambda: grown), 60))
    assert sum(any(piece.weight >= RECALLED for piece in pieces) for pieces in first) > 45
    assert all(piece.text for pieces in first for piece in pieces)


def test_batches_have_few_shapes_and_pad_what_has_no_weight() -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(SHIPPED / "llm")
    shapes = set()
    for ids, weights in itertools.islice(language.batches(tokenizer, 0, 1024), 40):
        assert ids.shape == weights.shape
        assert not weights[ids == 0].any()
        shapes.add(ids.shape)
    assert len(shapes) <= language.LONGEST // language.WIDTHS_OF


@pytest.mark.usefixtures("uncompiled")
def test_both_parts_are_written_as_transformers_reads_them(tmp_path: Path) -> None:
    tokenizer = language.train_tokenizer(documents_read=200)
    language.pretrain(tmp_path / "llm", tokenizer, 1.0, tokens=512)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "llm")
    assert model.config.vocab_size == len(tokenizer)
    vision.pretrain(tmp_path / "clip", tokenizer, 1.0, batch_size=4, pool_size=16)
    tower = CLIPVisionModel.from_pretrained(tmp_path / "clip", dtype=torch.float32)
    assert tower.config.image_size == vision.SIDE_PX
    again = tmp_path / "again"
    vision.pretrain(again, tokenizer, 1e-9, start=tmp_path / "clip", batch_size=4)  # no time: as it was
    before, after = (CLIPModel.from_pretrained(folder).state_dict() for folder in (tmp_path / "clip", again))
    assert all(torch.equal(before[name], after[name]) for name in before)
