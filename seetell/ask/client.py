"""A `ChatModel` behind a URL that speaks OpenAI's chat completions: a provider, a vLLM server, a fleet of them.

The `openai` SDK does the talking, its own retries off. What can go wrong has two classes here: `Unanswered` is worth
another try (429, 5xx, a timeout, a broken connection or body), `ServiceError` is not (a wrong key, an account without
money; `Refused`: a request that the service does not take). A reply is anything that arrived whole, also an empty one,
and also that a service withheld it or that the request is too long for it.

Before a request counts as refused, what its refusal names is left out and it is sent again (`service.py`): once for all
that this client asks.

The key comes from the environment, stays in this object, and is blotted out of every text that comes back; of replies
only when it is long enough to be a secret, for a local server's "none" is a word.
"""

from __future__ import annotations

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
from seetell.ask.service import MOST_LESSONS, TOO_LONG, Ways, is_over_length
from seetell.console import say
from seetell.errors import ServiceError, UsageError
from seetell.files import as_list, as_object

KEY_VARIABLE = "OPENAI_API_KEY"
SHORTEST_SECRET = 8
DEFAULT_TIMEOUT_S = 120.0
MAX_DETAIL_CHARS = 200
NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
WITHHELD = ("content_filter", "content_policy_violation")
REFUSED = "refused"  # what the reason of such a request begins with
WORTH_ANOTHER_TRY = (408, 409, 425)
TEACHING = (400, 422, 500)  # llama.cpp says 500 where a chat template has no system role


class Unanswered(Exception):
    """No whole reply this time. `reason` is a short phrase that reports count by."""

    def __init__(self, reason: str, detail: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.retry_after_s = reason, retry_after_s


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
        self._client: Any = None
        self._ways = Ways()

    @property
    def name(self) -> str:
        return self._name

    async def complete(
        self, messages: Sequence[Message], *, temperature: float | None = 0.0, max_tokens: int | None = None
    ) -> Completion:
        import openai

        try:
            return self._completion(await self._create(messages, temperature, max_tokens))
        except openai.APIStatusError as error:
            return self._status(error)
        except openai.APITimeoutError:
            raise Unanswered("timeout", f"nothing within {self.timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            raise Unanswered("connection lost", self._clean(str(error.__cause__ or error))) from None
        except (openai.OpenAIError, ValueError) as error:  # the body is not what its header says
            raise Unanswered("broken reply", self._clean(str(error))) from None

    async def _create(self, messages: Sequence[Message], temperature: float | None, max_tokens: int | None) -> Any:
        """The service's reply, in the ways that it takes: what its refusals teach is tried before one counts."""
        import openai

        for lessons_left in reversed(range(MOST_LESSONS + 1)):
            ways = self._ways
            body = ways.body(messages, temperature, max_tokens)
            try:
                return await self.open().chat.completions.create(model=self._name, **body)
            except openai.APIStatusError as error:
                if not (lessons_left and self._learns(ways, body, error)):
                    raise
        raise AssertionError("the last lesson is followed by a raise")

    def _learns(self, ways: Ways, body: dict[str, Any], error: Any) -> bool:
        """Whether the refusal of a body that was sent in these ways says how to send it instead."""
        sentence = _refusal_text(error)
        if int(error.status_code) not in TEACHING or is_over_length(int(error.status_code), sentence):
            return False
        fields, lesson = ways.lesson(sentence, body)
        better = self._ways.after(fields)
        if fields and better != self._ways:  # the first of many that were under way
            self._ways = better
            say(f"{self._name} {lesson}.")
        return bool(fields)

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
                timeout=httpx2.Timeout(self.timeout_s, connect=min(10.0, self.timeout_s)),
                http_client=openai.DefaultAsyncHttpxClient(limits=limits),
            )
        return self._client

    def _completion(self, reply: Any) -> Completion:
        """Reads the SDK's object, which is only as well formed as what the service sent."""
        choices = as_list(getattr(reply, "choices", None))
        message = getattr(choices[0], "message", None) if choices else None
        text = getattr(message, "content", None) or getattr(message, "refusal", None) or ""
        if message is None or not isinstance(text, str):
            raise Unanswered("broken reply", f"no message in it: {self._clean(str(reply))}")
        assert choices
        usage = getattr(reply, "usage", None)
        return self.cleaned(
            Completion(
                text,
                str(getattr(choices[0], "finish_reason", None) or "stop"),
                token_count(getattr(usage, "prompt_tokens", None)),
                token_count(getattr(usage, "completion_tokens", None)),
                str(getattr(reply, "model", None) or self._name),
            )
        )

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
    role: str, model: str, base_url: str | None, *, timeout_s: float = DEFAULT_TIMEOUT_S, concurrency: int = 64
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


def token_count(value: Any) -> int:
    """What a service says of tokens; 0 when that is no number."""
    return int(value) if isinstance(value, int | float) and isfinite(value) and value > 0 else 0


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
