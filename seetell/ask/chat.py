"""What asking a language model is: messages in, a completion out, text only.

Teacher and judge are roles of a `ChatModel`: an endpoint behind a URL, a journal of what was said before,
canned replies, or the built-in rules. Whoever asks never knows which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from seetell.types import Role


@dataclass(frozen=True, slots=True)
class Message:
    """One speaker's text in a prompt."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply as it arrived. `finish_reason` is the service's word: "stop" when the writer was done, "length" when
    the token limit cut it off or the rest did not arrive, "content_filter" when the service withheld it, "too_long"
    when the request is longer than the service reads, "nothing_certain" when the built-in teacher declines (`text` is
    then their sentence), "repeats itself" when it was cut for that. `estimated` says that it did not count its tokens,
    and we did."""

    text: str
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model: str = ""
    estimated: bool = False


@runtime_checkable
class ChatModel(Protocol):
    """Whoever is asked."""

    @property
    def name(self) -> str: ...

    async def complete(
        self, messages: Sequence[Message], *, temperature: float | None = 0.0, max_tokens: int | None = None
    ) -> Completion: ...
