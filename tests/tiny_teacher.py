"""A teacher in this process, scenes to ask it about, and a run over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seetell.ask.chat import Completion, Message
from seetell.generate.prompts import PromptSet
from seetell.generate.run import Run, Settings
from seetell.types import Box, Image, Scene
from tests.mock_teacher import well

PROMPTS = PromptSet.load()


class Teacher:
    """Answers at once; what it says can be changed, and it counts."""

    name = "fake"

    def __init__(self, bad: int = 0, tokens: tuple[int, int] = (1000, 100)) -> None:
        self.bad, self.tokens, self.asked = bad, tokens, 0

    async def complete(
        self, messages: Sequence[Message], *, temperature: float | None = 0.0, max_tokens: int | None = None
    ) -> Completion:
        del temperature, max_tokens
        self.asked += 1
        if self.asked <= self.bad:
            return Completion("", "stop", 1000, 0)
        text = well([{"role": message.role, "content": message.content} for message in messages])
        return Completion(text, "stop", *self.tokens)


def scenes(count: int = 4) -> list[Scene]:
    boxes = (Box("dog", 0.1, 0.2, 0.3, 0.4), Box("dog", 0.5, 0.2, 0.9, 0.4, crowd=True))
    return [
        Scene(f"{n:03}", (f"A dog on hill {n}.", "A brown dog."), boxes, Image(f"{n:03}.jpg"), 64, 48)
        for n in range(count)
    ]


def run(out: Path, teacher: Any, **settings: Any) -> Run:
    return Run(out, teacher, PROMPTS, Settings(**settings))
