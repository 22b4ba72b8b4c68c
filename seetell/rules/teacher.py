"""The built-in teacher: a writer of conversations that needs no language model.

It takes a prompt and gives a reply as any teacher does, and knows nothing but the prompt's text: the system message
says what kind of reply is wanted, the last user message what the picture holds. The same prompt always gets the same
reply. Of drawn scenes, whose captions say everything, it writes freely; of photographs it says only what captions and
boxes agree on, and where that is too little it declines and gives the reason.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Sequence
from itertools import islice

from seetell.ask.chat import Completion, Message
from seetell.ask.service import NOTHING_CERTAIN
from seetell.rules.drawn.reason import reasons
from seetell.rules.drawn.short import Pair, Writer, short_pairs
from seetell.rules.drawn.talk import conversation, counts_of
from seetell.rules.drawn.tell import description
from seetell.rules.photos import reason, short, talk, tell
from seetell.rules.photos.evidence import Evidence
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
        rng = random.Random(hashlib.sha256(prompt.encode()).digest())
        kind, facts = read_kind(messages), read_facts(messages)
        finish = "stop"
        if facts.things:
            text = _of_drawn(kind, facts, Writer(rng, self._unspoken))
        else:
            evidence = Evidence.of(facts)
            text = _of_photo(kind, evidence, rng)
            if not text and facts.captions:
                text, finish = _why_not(kind, evidence), NOTHING_CERTAIN
        return Completion(text, finish, len(prompt.split()), len(text.split()), self.name)


def _of_drawn(kind: str, facts: Facts, writer: Writer) -> str:
    """Empty where the prompt says too little for this kind."""
    if kind == "detail":
        return description(facts, writer)
    if kind == "complex":
        pairs = [_with_view(pair, facts, writer) for pair in islice(reasons(facts, writer), 1)]
    else:
        pairs = conversation(facts, writer) if kind == "conversation" else short_pairs(facts, writer)
    return written(pairs)


def _of_photo(kind: str, evidence: Evidence, rng: random.Random) -> str:
    """Empty where too little is certain for this kind."""
    if kind == "detail":
        return tell.description(evidence, rng)
    if kind == "complex":
        return written(list(islice(reason.reasons(evidence, rng), 1)))
    return written(talk.conversation(evidence, rng) if kind == "conversation" else short.short_pairs(evidence, rng))


def _why_not(kind: str, evidence: Evidence) -> str:
    """What stands against saying more, in a sentence."""
    if kind == "complex":
        return "No relation of the table fits what captions and boxes agree on."
    if evidence.disputed:
        return f"Too little is certain: {'; '.join(evidence.disputed.values())}."
    if evidence.depicted:
        return (
            "Too little is certain: captions speak of a picture, a toy, a statue or a mirror image within the picture."
        )
    return "Too little is certain: captions and boxes confirm fewer than three statements."


def _with_view(pair: Pair, facts: Facts, writer: Writer) -> Pair:
    """The answer with a word before it on what there is to see, as one says what one's reasons rest on."""
    question, answer = pair
    if answer.startswith(("Yes", "No")):
        return pair
    return question, f"{sentence(f'{writer.rng.choice(VIEWS)} {counts_of(facts.things)}')} {answer}"


def written(pairs: Sequence[Pair]) -> str:
    """Questions and answers in the format that prompts ask for."""
    return "".join(f"Question:\n{question}\n===\nAnswer:\n{answer}\n===\n" for question, answer in pairs).rstrip("\n")
