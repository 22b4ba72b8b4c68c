"""A request to a language model, and the key that its content gives it.

The key is what makes an answer ours for good: a journal finds by it what was already said, whichever run, machine or
batch file asked. It covers what the model is shown and told (model, messages, temperature, token limit), never where
it is reached. `again` tells requests apart that are the same word for word and still two: two pictures with the same
captions, or a reply that is asked for once more on purpose.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import Any

from seetell.ask.chat import Completion, Message
from seetell.ask.service import Ways

CHARS_PER_TOKEN = 4  # of English prose, near enough for an estimate
TOKENS_PER_MESSAGE = 4  # what chat templates put around one


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, once."""

    model: str
    messages: tuple[Message, ...]
    temperature: float | None = 0.0  # None leaves it to the service
    max_tokens: int | None = None
    again: str = ""

    @property
    def key(self) -> str:
        """32 hexadecimal digits of the content's SHA-256."""
        content = json.dumps([self.body(), self.again], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    @property
    def prompt_tokens(self) -> int:
        """An estimate, from the number of characters."""
        chars = sum(len(message.content) for message in self.messages)
        return chars // CHARS_PER_TOKEN + TOKENS_PER_MESSAGE * len(self.messages)

    def body(self) -> dict[str, Any]:
        """The request in the words of the chat completions interface."""
        return {"model": self.model, **Ways().body(self.messages, self.temperature, self.max_tokens)}

    def once_more(self, again: str) -> Request:
        return replace(self, again=again)


def counted(completion: Completion, prompt_tokens: int) -> Completion:
    """The completion with tokens: what the service did not count is estimated, from characters, and marked."""
    tokens = (
        completion.prompt_tokens or prompt_tokens,
        completion.completion_tokens or math.ceil(len(completion.text) / CHARS_PER_TOKEN),
    )
    if tokens == (completion.prompt_tokens, completion.completion_tokens):
        return completion
    return replace(completion, prompt_tokens=tokens[0], completion_tokens=tokens[1], estimated=True)
