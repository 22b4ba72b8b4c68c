"""The built-in teacher: a writer of conversations that needs no language model.

It takes a prompt and gives a reply as any teacher does, and knows nothing but the prompt's text: the system
message says what kind of reply is wanted, the last user message what the picture holds. The same prompt always
gets the same reply.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Sequence
from itertools import islice

from seetell.ask.chat import Completion, Message
from seetell.rules.drawn.reason import reasons
from seetell.rules.drawn.short import Pair, Writer, short_pairs
from seetell.rules.drawn.talk import conversation, counts_of
from seetell.rules.drawn.tell import description
from seetell.rules.read import Facts, read_facts, read_kind
from seetell.rules.words import sentence

VIEWS = ("the picture shows", "here we see", "one sees")


class RulesTeacher:
    """`unspoken` are (kind, colour) pairs it never asks about where they are absent: a demonstration that
    tests what was never shown must not teach that it is never there either."""

    name = "rules"

    def __init__(self, unspoken: Collection[tuple[str, str]] = ()) -> None:
        self._unspoken = frozenset(unspoken)

    async def complete(
        self, messages: Sequence[Message], *, temperature: float | None = 0.0, max_tokens: int | None = None
    ) -> Completion:
        """Temperature and token limit are for writers that guess; the rules do not."""
        del temperature, max_tokens
        return self.reply(messages)

    def reply(self, messages: Sequence[Message]) -> Completion:
        """What `complete` answers, for callers that do not wait."""
        prompt = "\0".join(f"{message.role}\0{message.content}" for message in messages)
        writer = Writer(random.Random(hashlib.sha256(prompt.encode()).digest()), self._unspoken)
        text = _reply(read_kind(messages), read_facts(messages), writer)
        return Completion(text, "stop", len(prompt.split()), len(text.split()), self.name)


def _reply(kind: str, facts: Facts, writer: Writer) -> str:
    """Empty where the prompt says too little for this kind."""
    if kind == "detail":
        return description(facts, writer)
    if kind == "complex":
        pairs = [_with_view(pair, facts, writer) for pair in islice(reasons(facts, writer), 1)]
    else:
        pairs = conversation(facts, writer) if kind == "conversation" else short_pairs(facts, writer)
    return written(pairs)


def _with_view(pair: Pair, facts: Facts, writer: Writer) -> Pair:
    """The answer with a word before it on what there is to see, as one says what one's reasons rest on."""
    question, answer = pair
    if not facts.things or answer.startswith(("Yes", "No")):
        return pair
    return question, f"{sentence(f'{writer.rng.choice(VIEWS)} {counts_of(facts.things)}')} {answer}"


def written(pairs: Sequence[Pair]) -> str:
    """Questions and answers in the format that prompts ask for."""
    return "".join(f"Question:\n{question}\n===\nAnswer:\n{answer}\n===\n" for question, answer in pairs).rstrip("\n")
