"""A chat grows turn by turn, remembers its pictures, and comes back from a file as it was."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pytest

from seetell.errors import BadInput
from seetell.infer.sampling import Sampling
from seetell.infer.session import ChatSession
from seetell.types import Conversation, Image, Turn
from tests.tiny_chat import tiny_engine

SHORT = Sampling(max_new_tokens=5)


def test_a_chat_answers_as_a_fresh_prompt_of_all_its_turns_would() -> None:
    engine = tiny_engine()
    chat = ChatSession(engine, SHORT)
    first = chat.say("What is it?", b"cat")
    second = chat.say("Sure?")
    turns = chat.conversation.turns
    assert [turn.role for turn in turns] == ["user", "assistant", "user", "assistant"]
    assert (turns[0].parts, turns[1].text, turns[3].text) == ((Image(data=b"cat"), "What is it?"), first, second)
    fresh = tiny_engine().generate([engine.processor.encode_prompt(Conversation("x", turns[:3]))], SHORT)
    assert [chat.last] == fresh


def test_a_picture_may_be_a_path_bytes_or_pil() -> None:
    chat = ChatSession(tiny_engine(), SHORT)
    picture = PIL.Image.new("RGB", (4, 4), "red")
    for shown in (
        "cat.jpg",
        Path("cat.jpg"),
        b"cat",
        picture,
        picture.convert("CMYK"),
        [b"cat", b"dog"],
        Image(path="cat.jpg"),
    ):
        chat.clear()
        chat.say("?", shown)
        assert chat.conversation.images
    chat.clear()
    chat.say("just words")
    assert not chat.conversation.images
    with pytest.raises(BadInput, match="nothing to answer"):
        chat.say("")


def test_a_turn_that_fails_or_is_left_changes_nothing() -> None:
    chat = ChatSession(tiny_engine(), SHORT)
    chat.say("Hello")
    before = chat.conversation
    with pytest.raises(BadInput):
        chat.say("What is it?", b"bad")
    pieces = chat.stream("And you?")
    next(pieces)
    pieces.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert chat.conversation == before
    assert chat.say("And you?")


def test_a_chat_comes_back_from_its_file(tmp_path: Path) -> None:
    chat = ChatSession(tiny_engine(), SHORT)
    chat.say("One & <image> ☂", [b"cat", tmp_path / "dog.png"])
    chat.say("Two")
    chat.save(tmp_path / "chat.json")
    other = ChatSession(tiny_engine(), SHORT)
    other.load(tmp_path / "chat.json")
    assert other.conversation == chat.conversation
    assert other.say("Three") == chat.say("Three")


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"id": "x"}', '{"id": "x", "turns": [{"role": "user", "parts": [{"image_base64": "?"}]}]}',
     json.dumps({"id": "x", "turns": [{"role": "assistant", "parts": [{"text": "a"}]}]})],
)  # fmt: skip
def test_what_is_no_saved_chat_is_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "chat.json"
    path.write_text(text)
    chat = ChatSession(tiny_engine(), SHORT, Conversation("kept", (Turn("user", ("a",)), Turn("assistant", ("b",)))))
    with pytest.raises(BadInput, match="is not a saved chat"):
        chat.load(path)
    with pytest.raises(BadInput, match="no saved chat"):
        chat.load(tmp_path / "nowhere.json")
    assert chat.conversation.id == "kept"
