"""A processor small enough to read in one look, for tests of answering: one id a character, two rules of chat.

Pictures are solid colours named by their bytes; `b"bad"` cannot be opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from seetell.encode.sample import Sample
from seetell.infer.engine import Engine
from seetell.model.vlm import VLM
from seetell.types import Conversation, Image, Rejected
from tests.tiny_models import IMAGE_ID, SIDE_PX, SLOTS, tiny_vlm

if TYPE_CHECKING:
    from seetell.encode.processor import Processor

STOP_ID = 2
USER, ASSISTANT = 3, 4


class TinyTokenizer:
    """Ids 32 to 119 are the characters of those code points; lower ids are control and say nothing."""

    def encode_text(self, text: str) -> list[int]:
        return [min(max(ord(character), 32), 119) for character in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(number) for number in ids if 32 <= number < 120)


class TinyImages:
    """Counts how often a picture is opened."""

    def __init__(self) -> None:
        self.opened = 0

    def pixels(self, image: Image) -> Tensor | Rejected:
        self.opened += 1
        if image.data == b"bad":
            return Rejected("", "not a picture", "no known format")
        seed = int.from_bytes(image.data or b"", "big") % (1 << 30)
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (3, SIDE_PX, SIDE_PX), dtype=torch.uint8, generator=generator)


def tiny_sample(name: str, ids: list[int], images: tuple[Image, ...] = ()) -> Sample:
    """A prompt as the processor makes it: nothing supervised."""
    return Sample(name, torch.tensor(ids), torch.zeros(len(ids), dtype=torch.bool), images)


class TinyProcessor:
    """system? (user parts, assistant words)*: what `Processor` does, in ten lines."""

    slots_per_image = SLOTS
    stop_ids = frozenset((STOP_ID,))

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        self.tokenizer = TinyTokenizer()
        self.stop_strings = stop
        self.image_processor = TinyImages()

    def encode_prompt(self, conversation: Conversation) -> Sample:
        ids = [1]
        for turn in conversation.turns:
            ids.append(USER if turn.role == "user" else ASSISTANT)
            for part in turn.parts:
                ids += [IMAGE_ID] * SLOTS if isinstance(part, Image) else self.tokenizer.encode_text(part)
            if turn.role == "assistant":
                ids.append(STOP_ID)
        return tiny_sample(conversation.id, [*ids, ASSISTANT], conversation.images)


def tiny_engine(slots: int = 4, stop: tuple[str, ...] = (), vlm: VLM | None = None) -> Engine:
    """An engine over a tiny random model and the processor above."""
    return Engine(vlm or tiny_vlm(), cast("Processor", TinyProcessor(stop)), slots=slots)
