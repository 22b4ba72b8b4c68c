"""Replies as streams, over real HTTP: pauses, breaks, loops, and services that stream in their own way, or do not."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from seetell.ask.asking import Ask, Asker, Hearing
from seetell.ask.chat import ChatModel, Completion, Message
from seetell.ask.client import Endpoint, Unanswered
from seetell.ask.journal import Journal, read_journal
from seetell.ask.limiter import Limiter
from seetell.ask.loops import REPEATS, repeats_itself
from seetell.ask.reply import Bodies, Reply
from seetell.ask.request import Request
from seetell.errors import ServiceError
from tests.mock_teacher import Behaviour, Stream, serving

HELLO = (Message("user", "hello"),)
WORDS = "A brown dog runs over the wet grass behind a red ball."


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def behaviour(stream: Stream, text: str = WORDS, **more: Any) -> Behaviour:
    return Behaviour(stream=stream, answer=lambda _: text, **more)


def ask(url: str, timeout_s: float = 2.0, times: int = 1, cut_loops: bool = False) -> list[Completion]:
    async def all_of_them() -> list[Completion]:
        endpoint = Endpoint("tiny", url, timeout_s=timeout_s, cut_loops=cut_loops)
        try:
            return [await endpoint.complete(HELLO, max_tokens=70) for _ in range(times)]
        finally:
            await endpoint.close()

    return asyncio.run(all_of_them())


class Heard:
    """Runs requests to their end, and remembers what became of them."""

    def __init__(self) -> None:
        self.said: list[Completion] = []
        self.failed: list[str] = []

    def run(self, model: ChatModel, out: Path, asked: int = 1) -> str:
        asks = [Ask(request, request.key) for request in (Request("m", HELLO, again=str(n)) for n in range(asked))]
        hearing = Hearing(
            lambda _, said: self.said.append(said), lambda _, reason: self.failed.append(reason), lambda _: ""
        )

        async def whole() -> str:
            with Journal(out / "journal.jsonl") as journal:
                try:
                    return await Asker(model, journal, Limiter(4, None, None), hearing).run(iter(asks))
                finally:
                    if isinstance(model, Endpoint):
                        await model.close()

        return asyncio.run(whole())


def test_a_stream_is_asked_for_and_read_with_its_tokens() -> None:
    with serving(behaviour(Stream())) as teacher:
        (said,) = ask(teacher.url)
        assert teacher.bodies[0]["stream"] is True
        assert teacher.bodies[0]["stream_options"] == {"include_usage": True}
    assert (said.text, said.finish_reason, said.model) == (WORDS, "stop", "tiny")
    assert (said.prompt_tokens, said.completion_tokens) == (1000, len(WORDS) // 4)


def test_the_key_of_a_request_does_not_say_how_its_reply_comes() -> None:
    request = Request("m", (Message("user", "hello"),), 0.7, 70)
    assert request.key == "f3bae152399dacec3df6315a4a070951"
    assert not {"stream", "stream_options"} & set(request.body())


def test_a_slow_reply_that_goes_on_is_no_timeout() -> None:
    """Twelve words, 0.1 s apart, are 1.2 s in all; 0.8 s are allowed between two, and five times that before them."""
    with serving(behaviour(Stream(first_s=1.0, pause_s=0.1))) as teacher:
        (said,) = ask(teacher.url, timeout_s=0.8)
    assert (said.text, said.finish_reason) == (WORDS, "stop")


def test_what_arrived_before_the_words_stopped_is_the_reply() -> None:
    with serving(behaviour(Stream(words=5, then="stall"), timeout_s=20.0)) as teacher:
        (said,) = ask(teacher.url, timeout_s=0.6)
        assert teacher.counts["received"] == 1
    assert (said.text, said.finish_reason) == ("A brown dog runs over", "length")


def test_comments_are_no_words() -> None:
    """A service that only says that it lives runs out of the time for a first word."""
    with serving(behaviour(Stream(comments_s=1.5))) as teacher, pytest.raises(Unanswered) as caught:
        ask(teacher.url, timeout_s=0.1)
    assert caught.value.reason == "timeout"


@pytest.mark.parametrize("then", ["break", "end"])
def test_a_reply_that_breaks_off_is_asked_for_once_more_and_then_counts(then: str, tmp_path: Path) -> None:
    with serving(behaviour(Stream(words=5, then=then))) as teacher:
        heard = Heard()
        assert not heard.run(Endpoint("tiny", teacher.url), tmp_path)
        assert teacher.counts["received"] == 2
    assert [(said.text, said.finish_reason) for said in heard.said] == [("A brown dog runs over", "length")]
    assert heard.said[0].estimated
    rows = list(read_journal(tmp_path / "journal.jsonl"))
    assert [row["event"] for row in rows] == ["sent", "sent", "answer"]


def test_a_request_that_timed_out_twice_is_not_sent_a_third_time(tmp_path: Path) -> None:
    with serving(Behaviour(faults={"timeout": 1.0}, timeout_s=5.0)) as teacher:
        heard = Heard()
        assert not heard.run(Endpoint("tiny", teacher.url, timeout_s=0.05), tmp_path)
    assert heard.failed == ["timeout"]
    assert [row["event"] for row in read_journal(tmp_path / "journal.jsonl")] == ["sent", "sent", "failed"]


def test_a_reply_that_repeats_itself_is_cut_while_it_arrives() -> None:
    text = "The dog is on the grass. " * 2000
    with serving(behaviour(Stream(pause_s=0.001), text)) as teacher:
        (said,) = ask(teacher.url, cut_loops=True)
    assert said.finish_reason == REPEATS
    assert 100 < len(said.text) < 2000
    with serving(behaviour(Stream(), text)) as teacher:
        (said,) = ask(teacher.url)  # a model that is measured, or judges, is heard out
    assert (said.text, said.finish_reason) == (text, "stop")


def test_streams_without_done_usage_or_line_feeds_alone() -> None:
    for stream in (Stream(done=False), Stream(usage=False), Stream(done=False, usage=False)):
        with serving(behaviour(stream)) as teacher:
            (said,) = ask(teacher.url)
        assert (said.text, said.finish_reason) == (WORDS, "stop")
        assert (said.prompt_tokens > 0) == stream.usage


def test_a_service_that_does_not_stream_is_learned_once(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(behaviour(Stream(ignored=True))) as teacher:
        assert [said.text for said in ask(teacher.url, times=3)] == [WORDS] * 3
        assert ["stream" in body for body in teacher.bodies] == [True, False, False]
    assert capsys.readouterr().err.count("does not stream") == 1


@pytest.mark.parametrize(
    ("field", "error"),
    [
        ("stream", {"message": "Streaming is not supported by this model."}),
        ("stream", {"message": "Your organization must be verified to stream this model.", "param": "stream",
                    "code": "unsupported_value"}),
        ("stream_options", {"message": "Unrecognized request argument supplied: stream_options"}),
        ("stream_options", {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}),
    ],
)  # fmt: skip
def test_what_a_service_refuses_of_streaming_is_left_out(field: str, error: dict[str, Any]) -> None:
    with serving(Behaviour(refuses=lambda body: error if field in body else None, answer=lambda _: WORDS)) as teacher:
        assert [said.text for said in ask(teacher.url, times=2)] == [WORDS] * 2
        assert teacher.counts["refused"] == 1
        assert teacher.bodies[-1].get("stream", False) is (field == "stream_options")


class Pieces:
    """A response whose body comes in these pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces

    async def aiter_bytes(self) -> Any:
        for piece in self.pieces:
            yield piece


def bodies(data: bytes, size: int) -> list[dict[str, Any]]:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]

    async def whole() -> list[dict[str, Any]]:
        return [body async for body in Bodies(Pieces(pieces))]

    return asyncio.run(whole())


def test_a_stream_is_read_wherever_its_bytes_are_cut() -> None:
    piece = {"choices": [{"delta": {"content": "a\u2028b é"}}]}
    data = (
        b": hello\r\nevent: message\r\ndata: " + json.dumps(piece, ensure_ascii=False).encode() + b"\r\n\r\n"
        b'data:{"choices": [{"delta": null, "finish_reason": "length"}]}\n\ndata: [DONE]\n\n'
    )
    for size in (1, 7, 10_000):
        reply = Reply()
        found = bodies(data, size)
        for body in found:
            reply.take(body)
        assert len(found) == 3
        assert (reply.text, reply.finish_reason) == ("a\u2028b é", "length")
    plain = json.dumps({"choices": [{"message": {"content": "x"}}]}, indent=2).encode()
    assert bodies(plain, 9) == [json.loads(plain)]
    for broken in (b"<html>", b"[]", b"data: {]\n", b"null"):
        with pytest.raises(ValueError):
            bodies(broken, 100)


def test_an_address_where_nothing_answers_is_told_at_once_and_one_that_dies_later_is_waited_for(
    tmp_path: Path,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://user:secret@127.0.0.1:{port}/v1"
    heard, before = Heard(), monotonic()
    stopped = heard.run(Endpoint("tiny", url), tmp_path, asked=50)
    assert monotonic() - before < 5
    assert f"There is no server at http://127.0.0.1:{port}/v1" in stopped
    assert "secret" not in stopped
    assert sum(row["event"] == "sent" for row in read_journal(tmp_path / "journal.jsonl")) <= 8

    async def dies() -> None:
        endpoint = Endpoint("tiny", None)
        try:
            with serving() as teacher:
                endpoint.base_url = teacher.url
                await endpoint.complete(HELLO)
            with pytest.raises(Unanswered) as caught:
                await endpoint.complete(HELLO)
            assert caught.value.reason == "connection lost"
        finally:
            await endpoint.close()

    asyncio.run(dies())


def test_an_unknown_host_is_told_with_its_address() -> None:
    with pytest.raises(ServiceError, match=r"no server at http://nowhere\.invalid/v1"):
        ask("http://nowhere.invalid/v1")


def test_loops_are_told_from_what_people_write() -> None:
    for text in (
        "a dog, a cat, " * 12,
        "The dog is on the grass. " * 8,
        "It is a bench. The bench is red. People sit on it, since it is warm. " * 3,
        "\n".join(f"{n}. The man is holding a ball in his hand." for n in range(12)),
        "Question:\nWhat is it?\n===\nAnswer:\nIt is a dog on the grass by a tree.\n===\n" * 4,
        "ha " * 50,
    ):
        assert repeats_itself(text), text
    for text in (
        "",
        "Yes. Yes. Yes.",
        WORDS,
        "It is very, very, very cold.",
        "No, no, no, no.",
        f"{WORDS} A cat sits on the wall. {WORDS}",
        "There is a cup on the left. There is a cup on the right. There is a plate between the two cups. A fork lies "
        "on the left of the plate, and a knife on the right of it.",
        " ".join(str(n) for n in range(40)),
    ):
        assert not repeats_itself(text), text
