"""A chat: a conversation that grows by what is said.

The session holds words and pictures only. That a turn costs no more than its own words is the engine's
doing: it finds the conversation so far in a slot and computes what is new. Saved, a chat is one JSON
object with its turns in order; a picture that came from a file is named, any other is kept inside.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seetell.errors import BadInput
from seetell.files import read_json, write_json
from seetell.infer.engine import Completion, Engine, Stream
from seetell.infer.pictures import Shown, images_of
from seetell.infer.sampling import Sampling
from seetell.types import Conversation, Image, Turn

EMPTY = Conversation("chat", ())


class ChatSession:
    """One person's chat with a model. `conversation` is what has been said, `last` how the last answer ended."""

    def __init__(self, engine: Engine, settings: Sampling | None = None, conversation: Conversation = EMPTY) -> None:
        self.engine = engine
        self.settings = settings or Sampling()
        self.conversation = conversation
        self.last: Completion | None = None

    def say(self, text: str, image: Shown | Sequence[Shown] | None = None) -> str:
        """The answer to one more turn; pictures stand before its words."""
        for _ in self.stream(text, image):
            pass
        return self.conversation.turns[-1].text

    def stream(self, text: str, image: Shown | Sequence[Shown] | None = None) -> Iterator[str]:
        """The answer as it comes. A turn that fails, or is not read to its end, leaves the conversation as it was."""
        images = images_of(image)
        asked = Turn("user", (*images, text) if text else images)
        if not asked.parts:
            raise BadInput("There is nothing to answer: say something, or show a picture.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadInput("These words hold half a character that no encoding can write: type them again.") from None
        turns = (*self.conversation.turns, asked)
        prompt = self.engine.processor.encode_prompt(replace(self.conversation, turns=turns))
        stream = self.engine.submit(prompt, self.settings)
        return self._listen(stream, turns)

    def _listen(self, stream: Stream, turns: tuple[Turn, ...]) -> Iterator[str]:
        try:
            yield from stream
        finally:
            stream.cancel()
        self.last = stream.result()
        self.conversation = replace(self.conversation, turns=(*turns, Turn("assistant", (self.last.text,))))

    def clear(self) -> None:
        """Begins anew."""
        self.conversation, self.last = EMPTY, None

    def save(self, path: str | Path) -> None:
        """Writes the chat; `load` goes on with it."""
        turns = [
            {"role": turn.role, "parts": [_write_part(part) for part in turn.parts]} for turn in self.conversation.turns
        ]
        write_json(path, {"id": self.conversation.id, "turns": turns})

    def load(self, path: str | Path) -> None:
        """Takes up a saved chat."""
        self.conversation, self.last = read_chat(path), None


def read_chat(path: str | Path) -> Conversation:
    """A chat that `ChatSession.save` wrote."""
    try:
        found: Any = read_json(path)
        turns = tuple(Turn(turn["role"], tuple(_read_part(part) for part in turn["parts"])) for turn in found["turns"])
        conversation = Conversation(str(found["id"]), turns)
    except FileNotFoundError:
        raise BadInput(f"There is no saved chat at {path}.") from None
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise BadInput(f"{path} is not a saved chat: it should hold an id and turns, as /save writes them.") from None
    for number, turn in enumerate(turn for turn in turns if turn.role != "system"):
        if turn.role != ("user", "assistant")[number % 2]:
            raise BadInput(f"{path} is not a saved chat: turn {number + 1} is the {turn.role}'s and is out of order.")
    return conversation


def _write_part(part: str | Image) -> dict[str, str]:
    if isinstance(part, str):
        return {"text": part}
    if part.data is None:
        return {"image": str(Path(part.path).absolute())}
    return {"image_base64": base64.b64encode(part.data).decode("ascii")}


def _read_part(part: dict[str, str]) -> str | Image:
    if "text" in part:
        return str(part["text"])
    if "image" in part:
        return Image(path=part["image"])
    return Image(data=base64.b64decode(part["image_base64"], validate=True))
