"""Ids and masks of hostile conversations; `benchmarks/masks.py` does the same with thousands."""

from collections import Counter

import pytest
import torch

from benchmarks.masks import FAULTS, Judge, conversations, prove
from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor
from seetell.encode.sample import Sample
from seetell.encode.templates import TEMPLATES
from seetell.types import Conversation, Rejected
from tests import tiny_tokenizers


@pytest.mark.parametrize("family", tiny_tokenizers.FAMILIES)
def test_every_character_has_its_mask_and_nobody_forges_a_control_token(family: str) -> None:
    found = prove(tiny_tokenizers.FAMILIES[family](), count=300)
    assert {fault: sum(counts[fault] for counts in found.values()) for fault in FAULTS} == dict.fromkeys(FAULTS, 0)
    total = sum(found.values(), Counter())
    assert total["rejected"] < 3  # a caption that is nothing but its line break, at the very start
    assert total["whole prompts compared"] > 90
    assert len(found) >= 5


class _Faulty(Processor):
    """Learns one token too late, and believes that `</s>` in a question is the control token."""

    def encode(self, conversation: Conversation, max_tokens: int = 2048) -> Sample | Rejected:
        sample = super().encode(conversation, max_tokens)
        assert isinstance(sample, Sample)
        ids = torch.cat([sample.ids[:3], torch.tensor(self.tokenizer.control("</s>")), sample.ids[3:]])
        mask = torch.cat([sample.supervised[:4], sample.supervised[3:].roll(1)])
        return Sample(sample.id, ids, mask)


def test_the_proof_sees_faults() -> None:
    judge = Judge(_Faulty(tiny_tokenizers.llama(), TEMPLATES["vicuna-v1"], ImageProcessor(32), 1))
    for conversation in conversations(20):
        judge.compare(conversation)
        sample = judge.processor.encode(conversation)
        assert isinstance(sample, Sample)
    assert judge.found["control tokens forged"] == 20
    assert judge.found["texts that differ"] == 20
    assert judge.found["prompts that do not begin what is learnt"] == 20
    marked = [("a", False, False), ("b", True, False)]
    judge._compare_bytes(["<s>", "▁a", "b"], [False, True, False], marked)
    assert judge.found["supervised lost"] == 1
    assert judge.found["others supervised"] == 2  # the letter and the space before it
