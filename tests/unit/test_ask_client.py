"""The client: what each kind of reply becomes, and that the key goes nowhere."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from seetell.ask.chat import Completion, Message
from seetell.ask.client import Endpoint, RateLimited, Unanswered, retry_after_s, without_secrets
from seetell.errors import ServiceError, UsageError
from tests.mock_teacher import Behaviour, completion, serving

CANARY = "sk-canary-0123456789"
HELLO = (Message("user", "hello"),)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)


@contextmanager
def answering(status: int, body: object, headers: dict[str, str] | None = None) -> Generator[str]:
    """A server with one reply for everybody."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            for name, value in ({"content-type": "application/json"} | (headers or {})).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()


def ask(url: str, timeout_s: float = 5.0) -> Completion:
    async def once() -> Completion:
        endpoint = Endpoint("tiny", url, timeout_s=timeout_s)
        try:
            return await endpoint.complete(HELLO, temperature=0.5, max_tokens=7)
        finally:
            await endpoint.close()

    return asyncio.run(once())


def test_a_reply_and_what_was_sent() -> None:
    with serving() as teacher:
        said = ask(teacher.url)
        sent = teacher.bodies[0]
    assert said.finish_reason == "stop"
    assert said.prompt_tokens == 1000
    assert sent["messages"] == [{"role": "user", "content": "hello"}]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("tiny", 0.5, 7)


def test_empty_and_refused_replies_are_replies() -> None:
    with answering(200, completion("m", "")) as url:
        assert ask(url).text == ""
    refusal = completion("m", "")
    refusal["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": "No."}
    with answering(200, refusal) as url:
        assert ask(url).text == "No."
    with answering(400, {"error": {"message": "filtered", "code": "content_filter"}}) as url:
        assert ask(url).finish_reason == "content_filter"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<html>Bad Gateway</html>", {"content-type": "text/html"}),
        (b'{"choices": [', {}),
        ({"error": {"message": "overloaded"}}, {}),
        ({"choices": []}, {}),
        ([], {}),
        (b"null", {}),
        ({"choices": [{"message": {"content": ["a"]}}]}, {}),
    ],
)
def test_a_body_that_is_no_completion_is_worth_another_try(body: object, headers: dict[str, str]) -> None:
    with answering(200, body, headers) as url, pytest.raises(Unanswered, match="broken reply"):
        ask(url)


def test_transport_errors_are_told_apart() -> None:
    for fault, reason in (("status 500", "status 500"), ("status 502", "status 502"), ("dropped", "connection lost")):
        with serving(Behaviour(faults={fault: 1.0})) as teacher, pytest.raises(Unanswered) as caught:
            ask(teacher.url)
        assert caught.value.reason == reason
    with serving(Behaviour(faults={"timeout": 1.0})) as teacher, pytest.raises(Unanswered) as caught:
        ask(teacher.url, timeout_s=0.1)
    assert caught.value.reason == "timeout"


def test_429_says_when_to_come_back_and_an_empty_account_stops_the_run() -> None:
    with (
        answering(429, {"error": {"message": "slow"}}, {"retry-after": "3"}) as url,
        pytest.raises(RateLimited) as caught,
    ):
        ask(url)
    assert caught.value.retry_after_s == 3.0
    with (
        answering(429, {"error": {"message": "no", "code": "insufficient_quota"}}) as url,
        pytest.raises(ServiceError, match="no money"),
    ):
        ask(url)


def test_retry_after_in_all_its_forms() -> None:
    assert retry_after_s({"retry-after": "2.5"}) == 2.5
    assert retry_after_s({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0
    for text in ("soon", "inf", "nan", "1e999"):
        assert retry_after_s({"retry-after": text}) is None
    assert retry_after_s({}) is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_no_retry_can_mend_is_one_sentence_without_the_key(status: int) -> None:
    body = {"error": {"message": f"Incorrect API key provided: {CANARY}."}}
    with answering(status, body) as url, pytest.raises(ServiceError) as caught:
        ask(url)
    assert CANARY not in str(caught.value)
    assert str(status) in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_service_that_echoes_the_key_does_not_put_it_into_the_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, completion(f"m-{CANARY}", f"Your key is {CANARY}.", f"stop {CANARY}")) as url:
        assert CANARY not in repr(ask(url))
        monkeypatch.setenv("OPENAI_API_KEY", "key")  # a word, and no secret
        assert ask(url).text == f"Your key is {CANARY}."


def test_a_key_is_stripped_and_one_that_cannot_be_sent_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{CANARY}\n")
    with serving() as teacher:
        ask(teacher.url)
        assert f"Bearer {CANARY}\r\n" in teacher.bodies[0]["headers"]
    for broken in (f"{CANARY}é", f"{CANARY}\n{CANARY}"):
        monkeypatch.setenv("OPENAI_API_KEY", broken)
        with pytest.raises(UsageError, match="OPENAI_API_KEY") as caught:
            Endpoint("tiny")
        assert CANARY not in str(caught.value)


def test_a_base_url_that_is_none_is_refused_before_anybody_is_asked() -> None:
    for url in ("localhost:8000/v1", "http://", "http://host:port/v1", "ftp://host/v1", ""):
        with pytest.raises(UsageError, match="base URL"):
            Endpoint("tiny", url)


def test_tokens_that_are_no_numbers_are_not_counted() -> None:
    odd = completion("m", "hello") | {"usage": {"prompt_tokens": "12", "completion_tokens": 3.5}}
    with answering(200, odd) as url:
        said = ask(url)
    assert (said.prompt_tokens, said.completion_tokens) == (0, 3)


def test_without_key_and_url_there_is_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        Endpoint("tiny")


def test_a_url_is_shown_without_its_secrets() -> None:
    assert without_secrets("https://me:secret@host:8000/v1?key=secret#x") == "https://host:8000/v1"
