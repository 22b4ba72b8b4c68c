"""Who can be measured without tensors: a model behind a URL, with or without eyes, and answers from a file.

    openai:NAME@URL   shown the pictures as data URLs
    text:NAME@URL     told the captions and boxes instead: the paper's text-only GPT-4
    answers:FILE      JSONL of `question_id` and `text`

What a model behind a URL said is in a journal, so that a run that was killed asks nothing twice.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

from seetell.ask.asking import Ask, Asker, Hearing
from seetell.ask.chat import Completion, Message
from seetell.ask.client import REFUSED, Endpoint
from seetell.ask.journal import Journal
from seetell.ask.limiter import Limiter
from seetell.ask.request import Request
from seetell.ask.service import TOO_LONG
from seetell.console import say
from seetell.errors import BadInput, ServiceError, UsageError
from seetell.evals.rows import by_key, named, read_rows
from seetell.pictures import media_type, web_picture
from seetell.types import Answer, Image, Item, Rejected

AT_ONCE = 16
READER = (
    "You are told what is in an image: descriptions of it, and perhaps bounding boxes as [x1, y1, x2, y2] in fractions "
    "of it from 0 to 1. Answer the question as if you saw the image."
)


def endpoint(spec: str, what: str = "--model") -> Endpoint:
    """`NAME@URL`, or a provider's model by its name alone."""
    name, at, url = spec.partition("@")
    if not name or (at and not url.startswith(("http://", "https://"))):
        raise UsageError(f"{what} should be NAME@URL with an http or https address; it is {spec!r}.")
    return Endpoint(name, url or None, concurrency=AT_ONCE)


class AskedAnswerer:
    """A model behind a URL; `eyes` decides whether it is shown pictures or told their captions and boxes."""

    def __init__(self, model: Endpoint, journal: Path, *, eyes: bool, max_new_tokens: int) -> None:
        self.model, self.journal, self.eyes, self.max_new_tokens = model, journal, eyes, max_new_tokens

    @property
    def name(self) -> str:
        return self.model.name

    def answer(self, items: Iterable[Item]) -> Iterator[Answer]:
        """Yields when all were asked; what the service would not answer is an error, and the rest is kept."""
        asked = list(items)
        requests = [self._request(item) for item in asked]
        if rejected := Counter(request.reason for request in requests if isinstance(request, Rejected)):
            reasons = ", ".join(f"{count} × {reason}" for reason, count in rejected.most_common())
            say(f"{self.name} is not asked {rejected.total()} of {len(asked)} questions: {reasons}.")
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        with Journal(self.journal) as journal:
            sent = {request.key: request for request in requests if isinstance(request, Request)}
            stopped = asyncio.run(self._ask(journal, sent))
            silent, first = 0, ""
            for item, request in zip(asked, requests, strict=True):
                if isinstance(request, Rejected):
                    yield Answer(item.id, "", REFUSED)
                    continue
                said, why = journal.answer(request.key), journal.failure(request.key) or ""
                if said is None and not stopped and why.startswith(REFUSED):
                    first = first or why
                    yield Answer(item.id, "", REFUSED)  # run again, it would be refused again
                elif said is None:
                    silent += 1
                    first = first or why
                elif said.finish_reason == TOO_LONG:
                    first = first or said.text
                    yield Answer(item.id, "", REFUSED)
                else:
                    yield Answer(item.id, said.text, said.finish_reason, said.completion_tokens)
        if first:
            say(f"The first question that {self.name} did not answer: {first.rstrip('.')}.")
        if silent:
            raise ServiceError(
                f"{self.name} left {silent} of {len(asked)} questions unanswered"
                f"{f' ({stopped})' if stopped else ''}: run the same command again to ask for those alone."
            )

    async def _ask(self, journal: Journal, requests: dict[str, Request]) -> str:
        def heard(ask: Ask, completion: Completion | str) -> None:
            del ask, completion

        def may_send(ask: Ask) -> str:
            del ask
            return ""

        waiting = [Ask(request, key) for key, request in requests.items() if key not in journal]
        try:
            return await Asker(self.model, journal, Limiter(AT_ONCE), Hearing(heard, heard, may_send)).run(
                iter(waiting)
            )
        finally:
            await self.model.close()

    def _request(self, item: Item) -> Request | Rejected:
        """What is sent; an item whose picture cannot be opened is not asked, as with a model of our own."""
        shown = [data_url(image) for image in item.images] if self.eyes else []
        rejected = next((url for url in shown if isinstance(url, Rejected)), None)
        messages = self._messages(item, [url for url in shown if isinstance(url, str)])
        return rejected or Request(self.model.name, messages, 0.0, self.max_new_tokens)

    def _messages(self, item: Item, urls: Sequence[str]) -> tuple[Message, ...]:
        if self.eyes:
            parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
            # A message with pictures has a list of parts where words alone are text; both go out as they are.
            return (Message("user", cast("str", [*parts, {"type": "text", "text": item.question}])),)
        context = item.facts.get("context")
        if not context:
            raise UsageError(
                "A text: model needs captions or boxes, which this task does not have; openai: shows pictures."
            )
        return (Message("system", READER), Message("user", f"{context}\n\n{item.question}"))


def data_url(image: Image) -> str | Rejected:
    """The picture as an address that holds it."""
    data = web_picture(image)
    return data if isinstance(data, Rejected) else f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"


class FileAnswerer:
    """Answers that someone already has, by question id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = ((named(row, "question_id", path), named(row, "text", path)) for row in read_rows(path))
        self.texts = by_key(rows, path, "the question")

    @property
    def name(self) -> str:
        return self.path.stem

    def answer(self, items: Iterable[Item]) -> Iterator[Answer]:
        for item in items:
            if item.id not in self.texts:
                raise BadInput(f"{self.path} has no answer to question {item.id}.")
            yield Answer(item.id, self.texts[item.id])


def checked(items: Sequence[Item], answers: Iterable[Answer], seen: Callable[[Answer], None]) -> dict[str, Answer]:
    """Answers by item, each told to `seen` as it comes; an answer to nothing, or a second one, is an error."""
    open_ids = {item.id for item in items}
    found: dict[str, Answer] = {}
    for answer in answers:
        if answer.item_id not in open_ids or answer.item_id in found:
            raise BadInput(f"An answer came to {answer.item_id}, which was not asked, or came twice.")
        found[answer.item_id] = answer
        seen(answer)
    return found
