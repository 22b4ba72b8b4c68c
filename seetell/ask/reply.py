"""What a service sends back, read into a `Completion`: one body that holds the whole reply, or a stream of pieces.

A stream is server-sent events: lines that begin with `data:`, each with one JSON object, and `[DONE]` at the end, which
some servers leave out. Which of the two arrives is seen from the body, never from its header. Lines end at a line feed
and nowhere else, since a reply may hold U+2028.

Source: OpenAI's reference of chat completions; what vLLM, llama.cpp and transformers serve send of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from seetell.ask.chat import Completion
from seetell.files import as_list, as_object

DONE: dict[str, Any] = {"done": True}
"""Stands for the `[DONE]` of a stream."""
_FIELD = re.compile(rb"(?:event|id|retry)?:")  # what else a stream's lines begin with


@dataclass(slots=True)
class Reply:
    """A reply as it arrives. `finish_reason` is "" until the service says that it is finished."""

    text: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model: str = ""
    begun: bool = False
    streamed: bool = False

    def take(self, body: dict[str, Any]) -> bool:
        """Reads a body, or the next piece of a stream; whether it brought words or thoughts."""
        usage = as_object(body.get("usage")) or {}
        self.prompt_tokens = token_count(usage.get("prompt_tokens")) or self.prompt_tokens
        self.completion_tokens = token_count(usage.get("completion_tokens")) or self.completion_tokens
        self.model = str(body.get("model") or self.model)
        choices = as_list(body.get("choices"))
        choice = as_object(choices[0]) if choices else None
        if choice is None:
            return False
        self.finish_reason = str(choice.get("finish_reason") or self.finish_reason)
        whole, piece = as_object(choice.get("message")), as_object(choice.get("delta"))
        message = whole if whole is not None else piece
        if message is None:
            return False
        text = message.get("content") or message.get("refusal") or ""
        if not isinstance(text, str):
            return False
        self.begun, self.streamed = True, whole is None
        self.text += text
        return any(isinstance(value, str) and value for name, value in message.items() if name != "role")

    def completion(self, otherwise: str = "stop") -> Completion:
        """What is here by now; `otherwise` is the finish reason where the service has said none."""
        reason = self.finish_reason or otherwise
        return Completion(self.text, reason, self.prompt_tokens, self.completion_tokens, self.model)


@dataclass(slots=True)
class Bodies:
    """The JSON objects of a response, in order: those of a stream as they arrive, or the one that is its body."""

    response: Any
    _plain: list[bytes] = field(default_factory=list[bytes])
    _streamed: bool = False

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        rest = b""
        async for piece in self.response.aiter_bytes():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if (body := self._body(line)) is not None:
                    yield body
        if (body := self._body(rest)) is not None:
            yield body
        if self._plain:
            yield _object(b"\n".join(self._plain))

    def _body(self, line: bytes) -> dict[str, Any] | None:
        if self._plain or not (line.startswith(b"data:") or _FIELD.match(line)):
            if not self._streamed and line.strip():
                self._plain.append(line)
            return None
        self._streamed = True
        data = line[len(b"data:") :].strip() if line.startswith(b"data:") else b""
        if not data:
            return None
        return DONE if data == b"[DONE]" else _object(data)


def _object(text: bytes) -> dict[str, Any]:
    body = as_object(json.loads(text))
    if body is None:
        raise ValueError(f"it is no JSON object: {text[:60].decode(errors='replace')}")
    return body


def token_count(value: Any) -> int:
    """What a service says of tokens; 0 when that is no number."""
    return int(value) if isinstance(value, int | float) and isfinite(value) and value > 0 else 0
