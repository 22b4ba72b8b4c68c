"""What a service takes of a request, learned from what it refuses.

Chat completions are spoken in dialects: models that reason take `max_completion_tokens` and no temperature, some chat
templates have no system role. A service says so with status 400 and names what it does not take. `Ways` holds what was
learned; the request itself, and so its key in the journal, stays the same.

Source of the sentences: OpenAI's, Azure's, vLLM's and llama.cpp's errors, as their users report them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from seetell.ask.chat import Message

TOO_LONG = "too_long"
"""The finish reason of a request that is longer than the service reads: an answer of its kind, not asked for again."""
NOTHING_CERTAIN = "nothing_certain"
"""The finish reason of a writer that declines, since it is sure of too little; the text is its reason in a sentence."""
LIMITS = ("max_tokens", "max_completion_tokens")
MOST_LESSONS = 6  # one for each name of the limit, the temperature, the system role, the stream and its options

_OVER_LENGTH = re.compile(
    r"context[ _](?:length|window|size)|max(?:imum)?[ _]model[ _]len|reduce the length|string_above_max_length"
    r"|(?:prompt|input|request|message)s? (?:is|are) too (?:long|large)|too many (?:input |prompt )?tokens"
    r"|exceeds? the (?:model'?s )?(?:max|available|input)",
    re.IGNORECASE,
)
_NOT_TAKEN = re.compile(
    r"not support|unsupported|n't support|unrecognized|unknown|unexpected|only the default|extra (?:input|field)"
    r"|not (?:be )?(?:permitted|allowed|enabled|accepted|implemented|available)|disabled"
    r"|deprecated|no longer|use ['\"`]?max_completion_tokens",
    re.IGNORECASE,
)
_PARAMETER = re.compile(rf"\b(?:({'|'.join(LIMITS)}|temperature|stream_options)|[Ss]tream(?:ing)?)\b")
_SYSTEM = re.compile(
    r"\bsystem['\"`]?\s+(?:role|message|prompt|instruction)|\broles?\b[^.]{0,40}\bsystem\b|['\"`]system['\"`]"
    r"|developer (?:role|message|instruction)",
    re.IGNORECASE,
)
_ALTERNATE = re.compile(r"roles? must alternate|must start with (?:a )?user|first message must", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ways:
    """What is sent: the name of the token limit ("" for none), whether a temperature, whether a system role; whether
    the reply is asked for as a stream, and its tokens counted at the end of it."""

    limit: str = LIMITS[0]
    temperature: bool = True
    system: bool = True
    stream: bool = True
    usage: bool = True

    def body(self, messages: Sequence[Message], temperature: float | None, max_tokens: int | None) -> dict[str, Any]:
        sent = [{"role": message.role, "content": message.content} for message in messages]
        body: dict[str, Any] = {"messages": sent if self.system else _without_system(sent)}
        if self.temperature and temperature is not None:
            body["temperature"] = temperature
        if self.limit and max_tokens is not None:
            body[self.limit] = max_tokens
        return body

    def streaming(self) -> dict[str, Any]:
        """How the reply is to come, which is no part of what is asked."""
        if not self.stream:
            return {}
        return {"stream": True} | ({"stream_options": {"include_usage": True}} if self.usage else {})

    def lesson(self, sentence: str, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """What a refusal of `body`, sent in these ways, teaches: the fields to change and a sentence on it; nothing
        where it names nothing that can be left out."""
        if any(row["role"] == "system" for row in body["messages"]) and (
            (_SYSTEM.search(sentence) and _NOT_TAKEN.search(sentence)) or _ALTERNATE.search(sentence)
        ):
            return {"system": False}, "takes no system role: its text goes before the user's"
        if not _NOT_TAKEN.search(sentence):
            return {}, ""
        if "temperature" in body and _names("temperature", sentence):
            return {"temperature": False}, "takes no such temperature: it is left to the service"
        if "stream_options" in body and _names("stream_options", sentence):
            return {"usage": False}, "takes no stream_options: tokens that it does not count are estimated"
        if "stream" in body and _names("stream", sentence):
            return {"stream": False}, "does not stream: its replies are waited for whole"
        if self.limit in body and _names(self.limit, sentence):
            if self.limit == LIMITS[0]:
                return {"limit": LIMITS[1]}, f"takes no {LIMITS[0]}: the limit is sent as {LIMITS[1]}"
            return {"limit": ""}, "takes no token limit: it is left to the service"
        return {}, ""

    def after(self, fields: dict[str, Any]) -> Ways:
        return replace(self, **fields)


def is_over_length(status: int, sentence: str) -> bool:
    """Whether a request was refused because it is longer than the service reads."""
    return status == 413 or (status in (400, 422) and _OVER_LENGTH.search(sentence) is not None)


def _names(parameter: str, sentence: str) -> bool:
    """Whether a sentence names the parameter first: `Unsupported 'max_tokens', use 'max_completion_tokens'` does."""
    found = _PARAMETER.search(sentence)
    return found is not None and (found[1] or "stream") == parameter


def _without_system(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with every system text at the head of the user's message behind it."""
    folded: list[dict[str, Any]] = []
    waiting: list[str] = []
    for row in sent:
        if row["role"] == "system":
            waiting.append(row["content"])
        elif row["role"] == "user" and waiting:
            head, waiting = "\n\n".join(waiting), []
            parts = row["content"]
            content = (
                f"{head}\n\n{parts}" if isinstance(parts, str) else [{"type": "text", "text": head}, *parts]
            )  # pictures and words
            folded.append({"role": "user", "content": content})
        else:
            folded.append(row)
    return folded + [{"role": "user", "content": text} for text in waiting]
