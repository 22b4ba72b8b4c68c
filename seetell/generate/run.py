"""The run: every picture and kind is asked about once, over as many runs as it takes.

    plan     scenes -> items.jsonl: the request of each picture and kind, by the key of its content
    ask      what the journal has no answer to, as fast as the endpoint bears
    write    conversations.json, rejected.jsonl, report.json, report.html from the two files

A killed run goes on with the same command: what was answered stands in the journal and is never asked for again. What
was asked for in other runs of the same folder stays in it, and in its report.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from seetell.ask.asking import Ask, Asker, Hearing
from seetell.ask.chat import ChatModel, Completion
from seetell.ask.client import Endpoint
from seetell.ask.journal import Journal
from seetell.ask.limiter import Limiter
from seetell.ask.price import Price
from seetell.ask.request import Request
from seetell.console import progress
from seetell.errors import BadInput, UsageError
from seetell.files import sha256_text, write_atomic, write_json
from seetell.generate.items import Item, ItemFile, Planned, items_of
from seetell.generate.outcome import ITEMS, JOURNAL, SETTINGS, outcome, read_settings, write_results
from seetell.generate.parse import parse
from seetell.generate.prompts import Kind, PromptSet
from seetell.generate.report import write_page
from seetell.types import Image, Rejected, Scene

PAPER_KINDS: tuple[Kind, ...] = ("conversation", "detail", "complex")
COMPLETION_TOKENS: dict[Kind, int] = {"conversation": 350, "detail": 180, "complex": 300, "short": 80}
"""What replies are guessed to take until some are here."""
GUESSED_REPLY_S = 10.0
COST_MARGIN = 1.5  # on the replies under way, whose price is not known yet


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked, and how. `shares` says how many of each kind are wanted of a picture, 1 at most."""

    shares: dict[Kind, float] = field(default_factory=lambda: dict.fromkeys(PAPER_KINDS, 1.0))
    seed: int = 0
    temperature: float | None = 0.7  # None leaves it to the service
    max_tokens: int | None = 2048
    limit: int | None = None  # pictures
    shard: tuple[int, int] = (0, 1)
    concurrency: int = 64
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    price: Price | None = None
    max_cost_usd: float | None = None
    retry_rejected: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What this run would ask."""

    items: int
    answered: int
    prompt_tokens: int
    completion_tokens: int
    by_kind: Counter[Kind]
    skipped: Counter[str]


class Run:
    """One run over one folder. Use as a context manager: it holds the folder's journal open."""

    def __init__(
        self, out: str | Path, teacher: ChatModel, prompts: PromptSet, settings: Settings, images_dir: str | Path = ""
    ) -> None:
        self.out, self.teacher, self.prompts, self.settings = Path(out), teacher, prompts, settings
        self.images_dir = Path(images_dir)
        self.journal: Journal | None = None

    def pictures(self, scenes: Iterable[Scene]) -> Iterator[tuple[int, Scene]]:
        """Those of this run, by limit and shard, with their numbers in the source."""
        seen: set[str] = set()
        shard, shards = self.settings.shard
        for number, scene in enumerate(islice(scenes, self.settings.limit)):
            if (id := sha256_text(scene.id)[:16]) in seen:
                raise BadInput(
                    f"Two pictures have the id {scene.id!r}: each needs one of its own, or an answer would be lost."
                )
            seen.add(id)
            if number % shards == shard % shards:
                yield number, scene

    def plan(self, scenes: Iterable[Scene], items: ItemFile | None, journal: Journal | None) -> Plan:
        """Gives every item its key, and writes it down where there is a file."""
        known: set[bytes] = set()
        by_kind, skipped = Counter[Kind](), Counter[str]()
        prompt_tokens = completion_tokens = answered = 0
        for number, scene in self.pictures(scenes):
            planned, requests = self._planned(number, scene, known)
            by_kind.update(list(planned.keys))
            skipped.update(planned.skipped.values())
            for item in items_of(planned):
                if journal is not None and item.key in journal and not self._asks_again(item, journal):
                    answered += 1
                    continue
                prompt_tokens += requests[item.kind].prompt_tokens
                completion_tokens += COMPLETION_TOKENS[item.kind]
            if items is not None:
                items.add(replace(planned, scene=self._with_file(scene)))
        return Plan(by_kind.total(), answered, prompt_tokens, completion_tokens, by_kind, skipped)

    def request(self, kind: Kind, scene: Scene, again: str = "") -> Request:
        settings = self.settings
        messages = self.prompts.messages(kind, scene)
        return Request(self.teacher.name, messages, settings.temperature, settings.max_tokens, again)

    def go(self, scenes: Iterable[Scene]) -> tuple[dict[str, Any], str]:
        """Plans, asks and writes; returns the report, and the sentence that says why it stopped early, if it did."""
        self.out.mkdir(parents=True, exist_ok=True)
        with Journal(self.out / JOURNAL) as journal, self.planning(scenes, journal) as (plan, items):
            try:
                stopped = self._ask(plan, items, journal)
            finally:
                items.close()
                report = finish(self.out, journal)
        return report, stopped

    @contextmanager
    def planning(self, scenes: Iterable[Scene], journal: Journal) -> Generator[tuple[Plan, ItemFile]]:
        """The plan, written down. Where the scenes prove unfit the folder stays as it was."""
        settings = self._settings()
        items = ItemFile(self.out / ITEMS, self.images_dir)
        try:
            try:
                plan = self.plan(scenes, items, journal)
                if not plan.items and not plan.skipped:
                    raise BadInput("There is no picture to ask about: the source is empty, or this shard is.")
            except BaseException:
                items.undo()
                raise
            write_json(self.out / SETTINGS, settings)
            yield plan, items
        finally:
            items.close()

    def _planned(self, number: int, scene: Scene, known: set[bytes]) -> tuple[Planned, dict[Kind, Request]]:
        requests: dict[Kind, Request] = {}
        lacking: dict[Kind, str] = {}
        for kind in self._kinds_of(number):
            if reason := self.prompts.lacks(kind, scene):
                lacking[kind] = reason
            else:
                requests[kind] = self._distinct(self.request(kind, scene), known)
        keys: dict[Kind, str] = {kind: request.key for kind, request in requests.items()}
        again: dict[Kind, str] = {kind: request.again for kind, request in requests.items() if request.again}
        question = self.prompts.detail_question(scene, self.settings.seed) if "detail" in keys else ""
        return Planned(scene, keys, lacking, again, question, self.settings.seed), requests

    def _asks_again(self, item: Item, journal: Journal) -> bool:
        return self.settings.retry_rejected and isinstance(outcome(item, journal), Rejected)

    def _kinds_of(self, number: int) -> Iterator[Kind]:
        """The kinds asked of the picture with this number, so that every share is met as pictures go by."""
        for kind, share in self.settings.shares.items():
            if int((number + 1) * share + 1e-9) > int(number * share + 1e-9):
                yield kind

    def _distinct(self, request: Request, known: set[bytes]) -> Request:
        """Two pictures with the same words are two requests."""
        copies, first = 0, request
        while (digest := bytes.fromhex(request.key)) in known:
            copies += 1
            request = first.once_more(f"copy {copies}")
        known.add(digest)
        return request

    def _with_file(self, scene: Scene) -> Scene:
        """A picture that is drawn, and has no file yet, gets one among the folder's pictures."""
        if scene.image is None or scene.image.data is None:
            return scene
        path = self.images_dir / scene.image.path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, scene.image.data)
        return replace(scene, image=Image(str(path)))

    def _ask(self, plan: Plan, items: ItemFile, journal: Journal) -> str:
        settings = self.settings
        limiter = Limiter(settings.concurrency, settings.requests_per_minute, settings.tokens_per_minute)
        with progress("asked", plan.items, plan.answered) as bar:
            watch = _Watch(bar.advance, journal, settings, limiter)
            asks = self.asks(items, journal, watch.waiting)
            hearing = Hearing(watch.answered, watch.failed, watch.may_send)

            async def ask_all() -> str:
                try:
                    return await Asker(self.teacher, journal, limiter, hearing).run(asks)
                finally:
                    if isinstance(self.teacher, Endpoint):
                        await self.teacher.close()

            return asyncio.run(ask_all())

    def asks(self, items: ItemFile, journal: Journal, waiting: dict[str, Item]) -> Iterator[Ask]:
        for planned in items.of_this_run():
            for item in items_of(planned):
                before = planned.again.get(item.kind, "")
                if item.key not in journal:
                    waiting[item.key] = item
                    yield Ask(self.request(item.kind, item.scene, before), item.key)
                elif self._asks_again(item, journal):
                    times = journal.times_asked_again(item.key) + 1
                    request = self.request(item.kind, item.scene, f"{before} retry {times}".strip())
                    waiting[item.key] = item
                    yield Ask(request, request.key, of=item.key, again=times)

    def _settings(self) -> dict[str, Any]:
        """What the folder is to say of how it was made; a folder has one place for its pictures."""
        path, settings = self.out / SETTINGS, self.settings
        before = read_settings(self.out)["images_dir"] if path.exists() else self.images_dir
        if Path(before).resolve() != self.images_dir.resolve():
            raise UsageError(
                f"{self.out} was begun with pictures in {before}, not in {self.images_dir}: use the same --images, "
                "or another --out."
            )
        return {
            "images_dir": str(self.images_dir),
            "model": self.teacher.name,
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens,
            "seed": settings.seed,
            "shares": settings.shares,
            "price": None if settings.price is None else asdict(settings.price),
        }


class _Watch:
    """Hears what becomes of every request while the run goes on: shows it, and minds the money."""

    def __init__(self, advance: Callable[..., None], journal: Journal, settings: Settings, limiter: Limiter) -> None:
        self.waiting: dict[str, Item] = {}
        self._advance, self._journal, self._settings, self._limiter = advance, journal, settings, limiter
        self._rejected = self._failed = 0

    def answered(self, ask: Ask, completion: Completion) -> None:
        item = self.waiting.pop(ask.of or ask.key)
        result = parse(item.kind, completion, item.scene, question=item.question, seed=item.seed)
        self._rejected += isinstance(result, Rejected)
        tally = self._journal.tally
        cost = {} if self._settings.price is None else {"cost": f"${self._spent():.2f}"}
        self._advance(
            1,
            rejected=self._rejected,
            failed=self._failed,
            tokens=f"{(tally.prompt_tokens + tally.completion_tokens) / 1e3:.0f}k",
            **cost,
            at_once=int(self._limiter.window),
        )

    def failed(self, ask: Ask, reason: str) -> None:
        del reason
        self.waiting.pop(ask.of or ask.key)
        self._failed += 1
        self._advance(1, failed=self._failed)

    def may_send(self, ask: Ask) -> str:
        """A sentence when this request could go over what the user wants to spend."""
        settings, tally = self._settings, self._journal.tally
        if settings.max_cost_usd is None or settings.price is None:
            return ""
        kind = self.waiting[ask.of or ask.key].kind
        if tally.answered:
            one = self._spent() / tally.answered
        else:
            one = settings.price.of(ask.request.prompt_tokens, COMPLETION_TOKENS[kind])
        if self._spent() + COST_MARGIN * one * (self._limiter.under_way + 1) <= settings.max_cost_usd:
            return ""
        return f"--max-cost {settings.max_cost_usd:g} allows no further request: ${self._spent():.4f} are spent."

    def _spent(self) -> float:
        tally = self._journal.tally
        return (self._settings.price or Price()).of(tally.prompt_tokens, tally.completion_tokens)


def finish(out: Path, journal: Journal) -> dict[str, Any]:
    """Writes everything that is read from the folder's items and journal."""
    counts, sample, report = write_results(out, journal)
    write_page(out, counts, sample, report)
    return report


def reparse(out: Path) -> dict[str, Any]:
    """Reads the replies again as parsing now understands them; nobody is asked."""
    if not (out / JOURNAL).is_file() or not (out / ITEMS).is_file():
        raise BadInput(f"{out} holds no generated data: it has no {JOURNAL} and {ITEMS}.")
    with Journal(out / JOURNAL) as journal:
        return finish(out, journal)
