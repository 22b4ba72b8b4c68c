"""Conversations about scenes, one after the other: prompt, teacher, parse.

For teachers that answer at once, such as the built-in rules. What costs money or hours goes through the run, with its
journal.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator, Mapping

from seetell.ask.chat import ChatModel
from seetell.generate.parse import parse
from seetell.generate.prompts import Kind, PromptSet
from seetell.types import Conversation, Rejected, Scene


def write_conversations_of(
    scenes: Iterable[Scene],
    kinds: Mapping[Kind, float],
    teacher: ChatModel,
    seed: int = 0,
    prompts: PromptSet | None = None,
) -> Iterator[Conversation | Rejected]:
    """Conversations in the scenes' order. `kinds` says how many of each kind are wanted of a scene: 1 is one of every
    scene, 0.25 one of every fourth, drawn by `seed`."""
    prompts = prompts or PromptSet.load()
    with asyncio.Runner() as runner:
        for scene in scenes:
            for kind, share in kinds.items():
                if random.Random(f"kinds:{seed}:{kind}:{scene.id}").random() >= share:
                    continue
                if lack := prompts.lacks(kind, scene):
                    yield Rejected(scene.id, lack, f"{kind} cannot be asked for")
                    continue
                completion = runner.run(teacher.complete(prompts.messages(kind, scene)))
                question = prompts.detail_question(scene, seed) if kind == "detail" else None
                result = parse(kind, completion, scene, question=question, seed=seed)
                yield result if isinstance(result, Rejected) else result.conversation
