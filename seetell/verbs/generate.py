"""`seetell generate`: instruction data from captions and boxes, by asking a language model that sees no picture."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from seetell.ask.batch import collect, submit, write_batch
from seetell.ask.chat import ChatModel
from seetell.ask.client import DEFAULT_TIMEOUT_S, Endpoint, endpoint_for, without_secrets
from seetell.ask.journal import Journal
from seetell.ask.replay import Replay
from seetell.ask.rules import RulesTeacher
from seetell.config import nearest
from seetell.console import ServiceError, UsageError, duration, say
from seetell.generate.bench import write_bench
from seetell.generate.items import ItemFile
from seetell.generate.join import join_folders
from seetell.generate.outcome import ITEMS, JOURNAL
from seetell.generate.prompts import Kind, PromptSet
from seetell.generate.report import PAGE
from seetell.generate.run import GUESSED_REPLY_S, Plan, Run, Settings, finish, reparse
from seetell.sources.coco import read_coco
from seetell.sources.drawn.layout import HELD_OUT_PAIRS
from seetell.sources.scenes import read_scenes
from seetell.types import Scene

DRAWN = "drawn:"
BATCH_STEPS = ("write", "submit", "collect")


@dataclass(frozen=True, slots=True)
class Source:
    """Where scenes come from: COCO files, a JSONL file of scenes, or `drawn:N`."""

    captions: Path | None = None
    instances: Path | None = None
    images: Path | None = None
    scenes: str = ""

    def read(self) -> Iterator[Scene]:
        if self.scenes.startswith(DRAWN):
            from seetell.sources.drawn.scenes import drawn_scenes

            return (drawn.scene for drawn in drawn_scenes("train", self._drawn()))
        if self.scenes:
            return read_scenes(self.scenes, self.images_dir())
        if self.captions is None and self.instances is None:
            raise UsageError("There is nothing to ask about: give --captions and --instances, or --scenes.")
        return read_coco(self.captions, self.instances, self.images_dir())

    def images_dir(self, out: Path | None = None) -> Path:
        if self.scenes.startswith(DRAWN):
            return (out or Path()) / "images"
        if self.images is None and self.scenes:
            return Path(self.scenes).parent
        return self.images or Path()

    def _drawn(self) -> int:
        count = self.scenes.removeprefix(DRAWN)
        if not count.isdecimal() or int(count) == 0:
            raise UsageError(f"--scenes {self.scenes} should say how many to draw, as drawn:1000.")
        return int(count)


@dataclass(frozen=True, slots=True)
class Service:
    """Who is asked: `teacher` is `rules`, `replay:FILE`, or empty for the endpoint."""

    teacher: str = ""
    base_url: str | None = None
    model: str = ""
    timeout_s: float = DEFAULT_TIMEOUT_S


def generate(
    source: Source,
    out: Path,
    service: Service,
    settings: Settings,
    *,
    prompts: Path | None = None,
    conversation_boxes: bool = False,
    dry_run: bool = False,
    batch: str = "",
    bench: int = 0,
) -> dict[str, Any]:
    """Asks for what is still missing in `out`; returns the report, or raises when something is failed or pending."""
    if settings.max_cost_usd is not None and settings.price is None:
        raise UsageError(f"--max-cost needs a price, and none is known for {service.model!r}: give --price IN,OUT.")
    prompt_set = PromptSet.load(prompts, conversation_boxes=conversation_boxes)
    for kind in settings.shares:
        if kind not in prompt_set.prompts:
            raise UsageError(f"{prompts} has no prompts for {kind}: leave it out of --kinds.")
    # The held-out pairs of drawn scenes are not spoken of, or a question about them would no longer test anything.
    unspoken = HELD_OUT_PAIRS if source.scenes.startswith(DRAWN) else ()
    teacher = make_teacher(service, settings.concurrency, unspoken)
    run = Run(out, teacher, prompt_set, settings, source.images_dir(out))
    if dry_run:
        _show(_estimate(run, source), settings)
        return {}
    if batch:
        return _batch(run, source, teacher, batch)
    if bench:
        report, stopped = write_bench(run, list(source.read()), bench)
    else:
        report, stopped = run.go(source.read())
    return conclude(out, report, stopped)


def make_teacher(service: Service, concurrency: int, unspoken: Collection[tuple[str, str]] = ()) -> ChatModel:
    if service.teacher == "rules":
        return RulesTeacher(unspoken)
    if service.teacher.startswith("replay:"):
        return Replay.load(service.teacher.removeprefix("replay:"))
    if service.teacher:
        raise UsageError(
            f"--teacher {service.teacher} is not known: {nearest(service.teacher, ['rules', 'replay:FILE'])}"
        )
    return endpoint_for(
        "teacher", service.model, service.base_url, timeout_s=service.timeout_s, concurrency=concurrency
    )


def parse_again(out: Path) -> dict[str, Any]:
    """Reads every reply in `out` again, asking nobody."""
    return conclude(out, reparse(out), "")


def join(folders: Sequence[Path], out: Path) -> dict[str, Any]:
    """One folder out of several that were made by shards."""
    join_folders(folders, out)
    return conclude(out, reparse(out), "")


def conclude(out: Path, report: dict[str, Any], stopped: str) -> dict[str, Any]:
    """Says how it ended; raises when items are failed or pending."""
    kept, rejected = sum(report["kept"].values()), sum(report["rejected"].values())
    failed, pending = sum(report["failed"].values()), report["pending"]
    say(f"{kept} kept and {rejected} rejected of {report['asked']} asked; see {out / PAGE}.")
    if not (stopped or failed or pending):
        return report
    ended = f"{stopped} " if stopped else ""
    raise ServiceError(f"{ended}{failed} failed, {pending} pending; to go on, run: {command_line()}")


def command_line() -> str:
    """The line that was run, without what a URL may hold that is nobody's business."""
    words = [without_secrets(word) if "://" in word else word for word in sys.argv[1:]]
    return shlex.join([Path(sys.argv[0]).name.replace("__main__.py", "seetell"), *words])


def shares_of(kinds: str, mix: str) -> dict[Kind, float]:
    """`--kinds a,b` asks for each of every picture; `--mix a=58,b=23` for as many, in proportion, as pictures allow."""
    shares: dict[Kind, float] = {}
    known: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
    for word in (mix or kinds).split(","):
        name, _, number = word.strip().partition("=")
        if name not in known:
            raise UsageError(f"There is no kind {name!r} to ask for; {nearest(name, known)}")
        try:
            shares[known[name]] = float(number) if mix else 1.0
        except ValueError:
            raise UsageError(
                f"--mix is numbers by kind, as conversation=58,detail=23,complex=77; not {mix!r}."
            ) from None
    if min(shares.values()) <= 0:
        raise UsageError("--mix needs numbers above 0; leave out a kind that is not wanted.")
    most = max(shares.values())
    return {kind: share / most for kind, share in shares.items()}


def shard_of(text: str) -> tuple[int, int]:
    """`2/4` is the second of four; `0/4` is the same as `4/4`."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal()) or not 0 <= int(number) <= int(count) or int(count) == 0:
        raise UsageError(f"--shard is one of 1/n to n/n, not {text!r}.")
    return int(number), int(count)


def _estimate(run: Run, source: Source) -> Plan:
    journal_path = run.out / JOURNAL
    if not journal_path.exists():
        return run.plan(source.read(), None, None)
    with Journal(journal_path) as journal:
        return run.plan(source.read(), None, journal)


def _show(plan: Plan, settings: Settings) -> None:
    """A dry run's result: what would be asked, and about what it would take."""
    asked = plan.items - plan.answered
    tokens = plan.prompt_tokens + plan.completion_tokens
    seconds = [asked * GUESSED_REPLY_S / settings.concurrency]
    seconds += [60 * asked / settings.requests_per_minute] if settings.requests_per_minute else []
    seconds += [60 * tokens / settings.tokens_per_minute] if settings.tokens_per_minute else []
    facts = {
        "items": f"{plan.items} ({', '.join(f'{kind} {count}' for kind, count in plan.by_kind.items()) or 'none'})",
        "skipped": ", ".join(f"{reason} {count}" for reason, count in plan.skipped.items()) or "none",
        "answered before": plan.answered,
        "requests": asked,
        "prompt tokens": f"about {plan.prompt_tokens}",
        "reply tokens": f"about {plan.completion_tokens}",
        "cost": "unknown: give --price IN,OUT"
        if settings.price is None
        else f"about ${settings.price.of(plan.prompt_tokens, plan.completion_tokens):.2f}",
        "time": f"about {duration(max(seconds))}, at {GUESSED_REPLY_S:g} s a reply and {settings.concurrency} at once",
    }
    for name, value in facts.items():
        print(f"{name}: {value}")


def _batch(run: Run, source: Source, teacher: ChatModel, step: str) -> dict[str, Any]:
    """One step of a provider's batch interface: write the files, hand them in, fetch the replies."""
    if step not in BATCH_STEPS:
        raise UsageError(f"--batch {step} is not known: {nearest(step, BATCH_STEPS)}")
    if not isinstance(teacher, Endpoint):
        raise UsageError("--batch asks a provider: leave out --teacher.")
    run.out.mkdir(parents=True, exist_ok=True)
    with Journal(run.out / JOURNAL) as journal:
        if step == "write":
            run.write_settings()
            items = ItemFile(run.out / ITEMS, run.images_dir)
            try:
                run.plan(source.read(), items, journal)
                names = write_batch(run.out, run.asks(items, journal, {}))
            finally:
                items.close()
            say(f"Wrote {', '.join(names) or 'nothing: everything is answered'}; next: --batch submit.")
        elif step == "submit":
            say(f"{submit(run.out, teacher)} batches are with the provider; later: --batch collect.")
        else:
            unfinished = collect(run.out, teacher, journal)
            report = finish(run.out, journal)
            return conclude(run.out, report, f"{unfinished} batches are not finished." if unfinished else "")
    return {}
