"""A judge: any chat model, asked once about each answer, and remembered for ever.

What it said is kept in a journal keyed by what it was asked, so that a run that was killed asks nothing twice, and a
journal that is handed on *is* the replay. A judge that fails, or whose verdict cannot be read, leaves an `Unscored`
with the reason: it is never averaged in.

An answer cannot forge the prompt's fences: brackets that could pass for one, and any that opens a line, are rounded off
(`[System]` becomes `(System)`).

Source: the prompt's layout is LLaVA-Bench's (Liu et al. 2023, arXiv:2304.08485).
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seetell.ask.asking import Ask, Asker, Hearing
from seetell.ask.chat import ChatModel, Completion, Message
from seetell.ask.client import Endpoint
from seetell.ask.journal import Journal, completion_of, read_journal
from seetell.ask.limiter import Limiter
from seetell.ask.request import Request
from seetell.ask.service import TOO_LONG
from seetell.errors import BadInput
from seetell.evals.task import Judging, Score
from seetell.types import Answer, Item, Unscored

AT_ONCE = 16
FAILED, NOT_REPLAYED = "the judge failed", "not in the replay"
TOO_LONG_TO_JUDGE, CUT_OFF = "too long for the judge", "the judge was cut off"
MORE_TOKENS = (
    "the token limit ended the reply before a verdict: give --judge-max-tokens, or 0 for the service's own limit"
)
# Other scripts' brackets, which a reader takes for the same.
_BRACKETS = str.maketrans("［］【】〔〕⟦⟧〚〛﹝﹞「」『』", "[]" * 8)
_BRACKETED = re.compile(r"\[([^\[\]\n]{0,80})(\]?)")
_FENCE_WORDS = re.compile(r"context|question|system|(?:the\s+)?end\s+of\b|[^\W\d]+(?:\s+[^\W\d]+)?\W*\d+\W*$")


def without_fences(text: str) -> str:
    """A text in which nothing can be taken for a fence of the judge's prompt: no bracket opens a line, and none holds
    what a fence holds, however it is spelt."""
    text = text.translate(_BRACKETS)
    while (plain := _BRACKETED.sub(_rounded, text)) != text:  # a bracket within another may now open the line
        text = plain
    return text


def fences(text: str) -> list[str]:
    return [found[0] for found in _BRACKETED.finditer(text) if _is_fence(found)]


def _rounded(found: re.Match[str]) -> str:
    return f"({found[1]}{')' if found[2] else ''}" if _is_fence(found) else found[0]


def _is_fence(found: re.Match[str]) -> bool:
    before = found.string[found.string.rfind("\n", 0, found.start()) + 1 : found.start()]
    return not _seen(before) or _FENCE_WORDS.match(_seen(found[1])) is not None


def _seen(text: str) -> str:
    """A text as a reader sees it: nothing invisible, one form of each letter, no case."""
    shown = (
        letter for letter in unicodedata.normalize("NFKC", text) if unicodedata.category(letter) not in ("Cf", "Cc")
    )
    return "".join(shown).strip().casefold()


def pair_prompt(context: str, question: str, answers: tuple[str, str], role: str, rule: str) -> str:
    """The prompt of LLaVA-Bench: context, question, two fenced answers, the rule."""
    one, two = (without_fences(answer) for answer in answers)
    return (
        f"[Context]\n{without_fences(context)}\n\n[Question]\n{without_fences(question)}\n\n"
        f"[{role} 1]\n{one}\n\n[End of {role} 1]\n\n[{role} 2]\n{two}\n\n[End of {role} 2]\n\n[System]\n{rule}\n\n"
    )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of asking about one answer in one order."""

    item: Item
    swapped: bool
    reply: str
    result: Score | Unscored


@dataclass(frozen=True, slots=True)
class Manner:
    """How a judge is asked: None leaves the temperature to the service. The token limit is the task's where it is
    None, and the service's where it is 0; a judge that reasons needs more than the task's."""

    temperature: float | None = 0.0
    max_tokens: int | None = None

    def request(self, judging: Judging, messages: Sequence[Message]) -> Request:
        limit = judging.max_tokens if self.max_tokens is None else self.max_tokens or None
        # The model's name is no part of the key: a journal is one judge's, and its replay needs no name.
        return Request("", tuple(messages), self.temperature, limit)


AS_EVER = Manner()


@dataclass(frozen=True, slots=True)
class _Question:
    item: Item
    swapped: bool
    request: Request


def _readable(completion: Completion) -> Completion | Unscored:
    """A reply, unless it says that the question was too long to be read."""
    return Unscored("", TOO_LONG_TO_JUDGE, completion.text) if completion.finish_reason == TOO_LONG else completion


class Judge:
    """Asks a chat model about answers, several at once. The journal is read first and written as replies arrive;
    without a model there is the journal alone, a replay."""

    def __init__(
        self,
        model: ChatModel | None,
        journal: Path,
        *,
        both_orders: bool = False,
        concurrency: int = AT_ONCE,
        manner: Manner = AS_EVER,
    ) -> None:
        if model is None and not journal.is_file():
            raise BadInput(f"There is no journal {journal} to replay.")
        self.model, self.journal, self.both_orders, self.concurrency = model, journal, both_orders, concurrency
        self.manner = manner
        self.calls = 0  # of this run; what the journal knew is not among them

    @property
    def name(self) -> str:
        return self.model.name if self.model is not None else f"replay of {self.journal.name}"

    def judge(
        self, judging: Judging, pairs: Iterable[tuple[Item, Answer]], done: Callable[[], None] = lambda: None
    ) -> Iterator[Judgement]:
        """A judgement of every answer, in the order given; one for each order when both are asked for."""
        orders = (False, True) if self.both_orders and judging.two_sided else (False,)
        questions = [
            _Question(item, swapped, self.manner.request(judging, judging.prompt(item, answer.text, swapped)))
            for item, answer in pairs
            for swapped in orders
        ]
        replies = self._replies(questions, done)
        for question in questions:
            reply = replies[question.request.key]
            if isinstance(reply, Unscored):
                yield Judgement(
                    question.item, question.swapped, "", Unscored(question.item.id, reply.reason, reply.raw)
                )
            else:
                verdict = judging.verdict(question.item, reply.text, question.swapped)
                if isinstance(verdict, Unscored) and reply.finish_reason == "length":
                    verdict = Unscored(question.item.id, CUT_OFF, reply.text or MORE_TOKENS)
                yield Judgement(question.item, question.swapped, reply.text, verdict)

    def _replies(self, questions: Sequence[_Question], done: Callable[[], None]) -> dict[str, Completion | Unscored]:
        keys = {question.request.key: question.request for question in questions}
        if self.model is None:
            said = {
                str(row.get("of") or row["key"]): completion_of(row)
                for row in read_journal(self.journal)
                if row["event"] == "answer"
            }
            return {key: _readable(said[key]) if key in said else Unscored("", NOT_REPLAYED) for key in keys}
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        with Journal(self.journal) as journal:
            stopped = asyncio.run(self._ask(self.model, journal, keys, done))
            replies: dict[str, Completion | Unscored] = {}
            for key in keys:
                completion = journal.answer(key)
                why = journal.failure(key) or stopped
                replies[key] = Unscored("", FAILED, why) if completion is None else _readable(completion)
            return replies

    async def _ask(self, model: ChatModel, journal: Journal, keys: dict[str, Request], done: Callable[[], None]) -> str:
        def answered(*_: object) -> None:
            self.calls += 1
            done()

        def failed(ask: Ask, reason: str) -> None:
            del ask, reason
            done()

        def may_send(ask: Ask) -> str:
            del ask
            return ""

        waiting = [Ask(request, key) for key, request in keys.items() if key not in journal]
        for _ in range(len(keys) - len(waiting)):
            done()
        asker = Asker(model, journal, Limiter(self.concurrency), Hearing(answered, failed, may_send))
        try:
            return await asker.run(iter(waiting))
        finally:
            if isinstance(model, Endpoint):
                await model.close()
