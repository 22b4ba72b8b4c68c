"""A `ChatModel` behind a URL that speaks OpenAI's chat completions: a provider, a vLLM server, a fleet of them.

The `openai` SDK does the talking, its own retries off. What can go wrong has two classes here: `Unanswered` is worth
another try (429, 5xx, a timeout, a broken connection or body), `ServiceError` is not (a wrong key, an account without
money, an address where nobody has answered yet; `Refused`: a request that the service does not take). A reply is
anything that arrived whole, also an empty one, and also that a service withheld it or that the request is too long.

Replies are read as streams where the service streams: `timeout_s` is the longest pause between two words. The first may
take `FIRST_WORD_TIMES` as long, since the request may have to wait for others and a slow server reads the prompt first.
What arrived before a pause that is too long is the reply, with the finish reason "length"; what arrived before the
connection broke goes with the `Unanswered`, for whoever asked twice. `cut_loops` cuts a reply that repeats itself.

Before a request counts as refused, what its refusal names is left out and it is sent again (`service.py`): once for all
that this client asks.

The key comes from the environment, stays in this object, and is blotted out of every text that comes back; of replies
only when it is long enough to be a secret, for a local server's "none" is a word.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from seetell.ask.chat import Completion, Message
from seetell.ask.loops import REPEATS, repeats_itself
from seetell.ask.reply import DONE, Bodies, Reply
from seetell.ask.service import MOST_LESSONS, TOO_LONG, Ways, is_over_length
from seetell.console import say
from seetell.errors import ServiceError, UsageError
from seetell.files import as_object

KEY_VARIABLE = "OPENAI_API_KEY"
SHORTEST_SECRET = 8
DEFAULT_TIMEOUT_S = 120.0  # between two words
FIRST_WORD_TIMES = 5
AFTER_FINISH_S, AFTER_DONE_S = 5.0, 1.0  # for the counts of tokens behind a finished reply; for the end of the body
CONNECT_S, FIRST_CONNECT_S = 10.0, 4.0  # a dead address is reported within 5 s
CHARS_BETWEEN_LOOKS = 200  # for a loop
TIMEOUT, LOST, BROKEN = "timeout", "connection lost", "broken reply"
MAX_DETAIL_CHARS = 200
NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
WITHHELD = ("content_filter", "content_policy_violation")
REFUSED = "refused"  # what the reason of such a request begins with
WORTH_ANOTHER_TRY = (408, 409, 425)
TEACHING = (400, 422, 500, 501)  # llama.cpp says 500 where a chat template has no system role


class Unanswered(Exception):
    """No whole reply this time. `reason` is a short phrase that reports count by; `arrived` is the part of a reply
    that was here before the connection broke."""

    def __init__(
        self, reason: str, detail: str = "", retry_after_s: float | None = None, arrived: Completion | None = None
    ) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.retry_after_s, self.arrived = reason, retry_after_s, arrived


class Refused(ServiceError):
    """The service does not take this request; it may well take others. `reason` is what reports count by."""

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class RateLimited(Unanswered):
    """429: the endpoint is well and wants fewer requests."""


class Endpoint:
    """One model behind one base URL; `close` it within the event loop that used it."""

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        key_variable: str = KEY_VARIABLE,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        concurrency: int = 64,
        cut_loops: bool = False,
    ) -> None:
        self._key = os.environ.get(key_variable, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise UsageError(f"The key in {key_variable} has characters that no key has: set it again, as text alone.")
        if base_url is not None and not _is_url(base_url):
            raise UsageError("The base URL names no server: it should be like --base-url http://localhost:8000/v1.")
        if not self._key and base_url is None:
            raise UsageError(f"There is no key in the environment variable {key_variable}, and no --base-url to ask.")
        self._name, self.base_url, self.timeout_s = model, base_url, timeout_s
        self._concurrency, self._key_variable = concurrency, key_variable
        self._cut_loops = cut_loops
        self._client: Any = None
        self._ways = Ways()
        self._reached = False  # whether a connection was ever made

    @property
    def name(self) -> str:
        return self._name

    async def complete(
        self, messages: Sequence[Message], *, temperature: float | None = 0.0, max_tokens: int | None = None
    ) -> Completion:
        import httpx2
        import openai

        reply = Reply()
        try:
            async with asyncio.timeout(FIRST_WORD_TIMES * self.timeout_s) as patience:
                response = await self._create(messages, temperature, max_tokens)
                try:
                    return await self._read(response, reply, patience)
                finally:
                    await response.aclose()
        except openai.APIStatusError as error:
            return self._status(error)
        except (openai.APIConnectionError, httpx2.TransportError, TimeoutError, EOFError) as error:
            return self._broken_off(error, reply)
        except (openai.OpenAIError, httpx2.HTTPError, ValueError) as error:  # the body is not what its header says
            raise Unanswered(BROKEN, self._clean(str(error))) from None

    async def _create(self, messages: Sequence[Message], temperature: float | None, max_tokens: int | None) -> Any:
        """The service's response, in the ways that it takes: what its refusals teach is tried before one counts."""
        import httpx2
        import openai

        for lessons_left in reversed(range(MOST_LESSONS + 1)):
            ways = self._ways
            body = ways.body(messages, temperature, max_tokens) | ways.streaming()
            connect_s = CONNECT_S if self._reached else FIRST_CONNECT_S
            longest_s = FIRST_WORD_TIMES * self.timeout_s
            timeout = httpx2.Timeout(longest_s, connect=connect_s)
            asking = self.open().chat.completions.with_raw_response
            try:
                response = (await asking.create(model=self._name, timeout=timeout, **body)).http_response
                self._reached = True
                return response
            except openai.APIStatusError as error:
                self._reached = True
                if not (lessons_left and self._learns(ways, body, error)):
                    raise
        raise AssertionError("the last lesson is followed by a raise")

    async def _read(self, response: Any, reply: Reply, patience: asyncio.Timeout) -> Completion:
        """The reply out of the response's body; `reply` holds what arrived, should that break off."""
        looked_at, asked_for_stream = 0, self._ways.stream
        now = asyncio.get_running_loop().time
        async for body in Bodies(response):
            if body is DONE:
                reply.finish_reason = reply.finish_reason or "stop"
                patience.reschedule(now() + AFTER_DONE_S)
                continue
            if body.get("error") and not body.get("choices"):
                raise ValueError(f"an error instead of words: {json.dumps(body['error'], ensure_ascii=False)}")
            if reply.take(body):
                patience.reschedule(now() + self.timeout_s)
            if reply.finish_reason:
                patience.reschedule(now() + min(AFTER_FINISH_S, self.timeout_s))
            if self._cut_loops and len(reply.text) >= looked_at + CHARS_BETWEEN_LOOKS:
                looked_at = len(reply.text)
                if not reply.finish_reason and repeats_itself(reply.text):
                    reply.finish_reason = REPEATS
                    return self._whole(reply)
        if not reply.begun:
            raise ValueError("no message in it")
        if reply.streamed and not reply.finish_reason:
            raise EOFError("the stream ended before the reply was finished")
        if asked_for_stream and not reply.streamed:
            self._learn({"stream": False}, "does not stream: its replies are waited for whole")
        return self._whole(reply)

    def _whole(self, reply: Reply, otherwise: str = "stop") -> Completion:
        completion = reply.completion(otherwise)
        return self.cleaned(completion if completion.model else replace(completion, model=self._name))

    def _broken_off(self, error: Exception, reply: Reply) -> Completion:
        """What became of a request whose reply did not come to its end."""
        import httpx2

        if reply.finish_reason:  # it had; what was waited for was the count of its tokens
            return self._whole(reply)
        arrived = self._whole(reply, "length") if reply.text.strip() else None
        cause = error if isinstance(error, TimeoutError) else error.__cause__ or error
        if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout):
            why = self._clean(str(cause)) or f"no connection within {FIRST_CONNECT_S:g} s"
            if self._reached:
                raise Unanswered(LOST, why) from None
            where = without_secrets(self.base_url) if self.base_url else "the provider"
            raise ServiceError(f"There is no server at {where} ({why}): start it, or check --base-url.") from None
        if isinstance(cause, TimeoutError | httpx2.TimeoutException):
            if arrived is not None:
                return arrived
            raise Unanswered(TIMEOUT, f"no word within {FIRST_WORD_TIMES * self.timeout_s:g} s") from None
        raise Unanswered(LOST, self._clean(str(cause)), arrived=arrived) from None

    def _learns(self, ways: Ways, body: dict[str, Any], error: Any) -> bool:
        """Whether the refusal of a body that was sent in these ways says how to send it instead."""
        sentence = _refusal_text(error)
        if int(error.status_code) not in TEACHING or is_over_length(int(error.status_code), sentence):
            return False
        fields, lesson = ways.lesson(sentence, body)
        self._learn(fields, lesson)
        return bool(fields)

    def _learn(self, fields: dict[str, Any], lesson: str) -> None:
        better = self._ways.after(fields)
        if better != self._ways:  # the first of many that were under way
            self._ways = better
            say(f"{self._name} {lesson}.")

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def open(self) -> Any:
        """The SDK's client, made on first use: importing it takes longer than `--help` may."""
        if self._client is None:
            import httpx2
            import openai

            limits = httpx2.Limits(max_connections=self._concurrency, max_keepalive_connections=self._concurrency)
            self._client = openai.AsyncOpenAI(
                api_key=self._key or "none",  # a local server asks for no key, the SDK does
                base_url=self.base_url,
                max_retries=0,
                timeout=httpx2.Timeout(self.timeout_s, connect=CONNECT_S),
                http_client=openai.DefaultAsyncHttpxClient(limits=limits),
            )
        return self._client

    def _status(self, error: Any) -> Completion:
        """A reply with an error status: a reply that was withheld, or an exception of the right class."""
        status, code = int(error.status_code), str(error.code or error.type or "")
        detail = self._clean(_told(error))
        if status == 400 and any(word in code for word in WITHHELD):
            return Completion("", "content_filter", model=self._name)
        if is_over_length(status, f"{code} {detail}"):
            return Completion(detail, TOO_LONG, model=self._name)
        if status == 429 and not any(word in (code, error.type) for word in NO_MONEY):
            raise RateLimited("rate limited", detail, retry_after_s(error.response.headers)) from None
        if status >= 500 or status in WORTH_ANOTHER_TRY:
            raise Unanswered(f"status {status}", detail, retry_after_s(error.response.headers)) from None
        sentence = self._refusal(status, detail)
        if status in TEACHING:
            raise Refused(sentence, f"{REFUSED} ({status}{f', {detail}' if detail else ''})") from None
        raise ServiceError(sentence) from None

    def _refusal(self, status: int, detail: str) -> str:
        where = without_secrets(self.base_url) if self.base_url else "the provider"
        advice = {
            401: f"check the key in {self._key_variable}",
            403: f"check what the key in {self._key_variable} may do",
            404: "check --base-url and --model",
            402: "the account has no money left",
            429: "the account has no money left",
        }.get(status, "the request is not one that it takes")
        return f"{where} refuses to answer ({status}, {detail or 'no reason given'}): {advice}."

    def _clean(self, text: str) -> str:
        return self.without_key(" ".join(text.split()))[:MAX_DETAIL_CHARS].rstrip(".")

    def cleaned(self, said: Completion) -> Completion:
        """A reply without the key, should the service echo it."""
        if len(self._key) < SHORTEST_SECRET:
            return said
        return replace(
            said,
            text=self.without_key(said.text),
            finish_reason=self.without_key(said.finish_reason),
            model=self.without_key(said.model),
        )

    def without_key(self, text: str) -> str:
        for form in (self._key, repr(self._key)[1:-1]):
            text = text.replace(form, "[key]") if form else text
        return text


def endpoint_for(
    role: str,
    model: str,
    base_url: str | None,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    concurrency: int = 64,
    cut_loops: bool = False,
) -> Endpoint:
    """The endpoint of a role, `teacher` or `judge`: what is not said comes from the environment, where
    SEETELL_TEACHER_MODEL, SEETELL_TEACHER_BASE_URL and SEETELL_TEACHER_API_KEY go before OPENAI_BASE_URL and
    OPENAI_API_KEY, so that the two roles can be played by different services."""
    prefix = f"SEETELL_{role.upper()}_"
    model = model or os.environ.get(prefix + "MODEL", "")
    if not model:
        raise UsageError(f"Nobody is named to play the {role}: give --model (and --base-url), or set {prefix}MODEL.")
    own_key = prefix + "API_KEY"
    return Endpoint(
        model,
        base_url or os.environ.get(prefix + "BASE_URL") or os.environ.get("OPENAI_BASE_URL"),
        key_variable=own_key if own_key in os.environ else KEY_VARIABLE,
        timeout_s=timeout_s,
        concurrency=concurrency,
        cut_loops=cut_loops,
    )


def retry_after_s(headers: Any) -> float | None:
    """What `retry-after-ms` or `Retry-After` (seconds, or a date) says, if that is a time."""
    try:
        if (text := headers.get("retry-after-ms")) is not None:
            seconds = float(text) / 1000
        elif (text := headers.get("retry-after")) is None:
            return None
        else:
            try:
                seconds = float(text)
            except ValueError:
                seconds = parsedate_to_datetime(text).timestamp() - time()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, seconds) if isfinite(seconds) else None


def without_secrets(url: str) -> str:
    """The URL without user, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _told(error: Any) -> str:
    """The service's own sentence, if it sent one."""
    body = as_object(error.body) or {}
    inner = as_object(body.get("error")) or body
    message = inner.get("message") or inner.get("detail")
    if isinstance(message, list | dict):  # as FastAPI's servers tell which fields they do not take
        return json.dumps(message, ensure_ascii=False)
    return message if isinstance(message, str) else str(error.message)


def _refusal_text(error: Any) -> str:
    """Everything in a refusal that may name what is not taken: the parameter, the code and the sentence."""
    return " ".join(map(str, filter(None, (error.code, error.param, _told(error)))))


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
