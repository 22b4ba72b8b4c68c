"""`seetell generate`: instruction data from captions and boxes, by asking a language model that sees no picture."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from seetell.ask.batch import collect, submit, write_batch
from seetell.ask.chat import ChatModel
from seetell.ask.client import DEFAULT_TIMEOUT_S, Endpoint, endpoint_for, without_secrets
from seetell.ask.journal import Journal
from seetell.ask.price import Price
from seetell.ask.replay import Replay
from seetell.config import nearest
from seetell.console import command, duration, say
from seetell.errors import BadInput, Interrupted, ServiceError, UsageError
from seetell.files import as_object, read_json, telling_full_disk
from seetell.generate.bench import bench_run, write_bench
from seetell.generate.join import join_folders
from seetell.generate.outcome import JOURNAL, REPORT
from seetell.generate.prompts import Kind, PromptSet
from seetell.generate.report import PAGE
from seetell.generate.run import GUESSED_REPLY_S, PAPER_KINDS, Plan, Run, Settings, finish, reparse
from seetell.publish import output_folder
from seetell.rules.teacher import RulesTeacher
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
        if self.scenes and (self.captions or self.instances):
            raise UsageError("--scenes stands instead of --captions and --instances: give one of the two.")
        if self.images is not None and not self.images.is_dir():
            raise BadInput(f"--images {self.images} is no folder: give the folder that holds the pictures.")
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
    out = output_folder(out)
    if settings.max_cost_usd is not None and settings.price is None:
        raise UsageError(f"--max-cost needs a price, and none is known for {service.model!r}: give --price IN,OUT.")
    # The rules say of a photograph only what captions and boxes agree on, so they are always shown both.
    of_photos = service.teacher == "rules" and not source.scenes.startswith(DRAWN)
    prompt_set = PromptSet.load(prompts, conversation_boxes=conversation_boxes or of_photos)
    for kind in settings.shares:
        if kind not in prompt_set.prompts:
            raise UsageError(f"{prompts} has no prompts for {kind}: leave it out of --kinds.")
    # The held-out pairs of drawn scenes are not spoken of, or a question about them would no longer test anything.
    unspoken = HELD_OUT_PAIRS if source.scenes.startswith(DRAWN) else ()
    teacher = make_teacher(service, settings.concurrency, unspoken)
    run = Run(out, teacher, prompt_set, settings, source.images_dir(out))
    if batch and not dry_run:
        with telling_full_disk(out):
            return _batch(run, source, batch)
    scenes = source.read()
    if dry_run:
        if bench:
            run, fit = bench_run(run, scenes, bench)
            scenes = iter(fit[:bench])
        _show(_estimate(run, scenes), run)
        return {}
    again = f"run: {command_line('--retry-rejected' if bench else '')}"
    try:
        with telling_full_disk(out):
            report, stopped = write_bench(run, scenes, bench) if bench else run.go(scenes)
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted; {_kept_in(out)}; to resume, {again}") from None
    return conclude(out, report, stopped, f"to resume, {again}")


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
        "teacher",
        service.model,
        service.base_url,
        timeout_s=service.timeout_s,
        concurrency=concurrency,
        cut_loops=True,
    )


def parse_again(out: Path) -> dict[str, Any]:
    """Reads every reply in `out` again, asking nobody."""
    return conclude(out, reparse(out), "", "reading again sends no request: run the line that asks")


def join(folders: Sequence[Path], out: Path) -> dict[str, Any]:
    """One folder out of several that were made by shards."""
    out = output_folder(out)
    with telling_full_disk(out):
        join_folders(folders, out)
    return conclude(out, reparse(out), "", "joining sends no request: run the shards' lines once more, then join again")


def conclude(out: Path, report: dict[str, Any], stopped: str, advice: str) -> dict[str, Any]:
    """Says how it ended; raises, with the advice, when it stopped early or items are failed or pending."""
    kept, rejected, pending = sum(report["kept"].values()), sum(report["rejected"].values()), report["pending"]
    skipped = f"; {_by_reason('skipped', report['skipped'])}" if report["skipped"] else ""
    say(f"{kept} kept and {rejected} rejected of {report['asked']} asked{skipped}; see {out / PAGE}.")
    if not (stopped or report["failed"] or pending):
        return report
    ended = f"{stopped} " if stopped else ""
    raise ServiceError(f"{ended}{_by_reason('failed', report['failed'])}; {pending} pending; {advice}")


def _kept_in(out: Path) -> str:
    """What an interrupted run left, as its report counts it."""
    report = as_object(read_json(out / REPORT)) if (out / REPORT).is_file() else None
    if report is None:
        return f"nothing is asked yet, and nothing is kept in {out}"
    kept, answered = sum(report["kept"].values()), report["asked"] - report["pending"]
    return f"{answered} of {report['asked']} are done and {kept} kept in {out}, and {report['pending']} are pending"


def _by_reason(state: str, counts: dict[str, int]) -> str:
    """`3 failed: 2 timeout, 1 status 500`; one reason needs no number of its own."""
    reasons = ", ".join(counts) if len(counts) == 1 else ", ".join(f"{count} {name}" for name, count in counts.items())
    return f"{sum(counts.values())} {state}{': ' if counts else ''}{reasons}"


def command_line(more: str = "") -> str:
    """The line that was run, without what a URL may hold that is nobody's business, and with one word more."""
    words = [without_secrets(word) if "://" in word else word for word in sys.argv[1:]]
    words += [more] if more and more not in words else []
    return command(*words)


def shares_of(kinds: str, mix: str) -> dict[Kind, float]:
    """`--kinds a,b` asks for each of every picture; `--mix a=58,b=23` for as many, in proportion, as pictures allow."""
    if mix and kinds not in ("", ",".join(PAPER_KINDS)):
        raise UsageError("--mix says the kinds and their shares: leave out --kinds.")
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
    if not all(0 < share < math.inf for share in shares.values()):
        raise UsageError(f"--mix needs numbers above 0, and {mix!r} has others; leave out a kind that is not wanted.")
    most = max(shares.values())
    return {kind: share / most for kind, share in shares.items()}


def shard_of(text: str) -> tuple[int, int]:
    """`2/4` is the second of four; `0/4` is the same as `4/4`."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal()) or not 0 <= int(number) <= int(count) or int(count) == 0:
        raise UsageError(f"--shard is one of 1/n to n/n, not {text!r}.")
    return int(number), int(count)


def _estimate(run: Run, scenes: Iterable[Scene]) -> Plan:
    if not (run.out / JOURNAL).exists():
        return run.plan(scenes, None, None)
    with Journal(run.out / JOURNAL, writing=False) as journal:
        return run.plan(scenes, None, journal)


def _show(plan: Plan, run: Run) -> None:
    """A dry run's result: what would be asked, and about what it would take. Who is no service is quick and free."""
    service, settings = isinstance(run.teacher, Endpoint), run.settings
    price = settings.price if service else Price()
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
        if price is None
        else f"about ${price.of(plan.prompt_tokens, plan.completion_tokens):.2f}",
        "time": f"about {duration(max(seconds))}, at {GUESSED_REPLY_S:g} s a reply and {settings.concurrency} at once"
        if service
        else "seconds",
    }
    for name, value in facts.items():
        print(f"{name}: {value}")


def _batch(run: Run, source: Source, step: str) -> dict[str, Any]:
    """One step of a provider's batch interface: write the files, hand them in, fetch the replies."""
    if step not in BATCH_STEPS:
        raise UsageError(f"--batch {step} is not known: {nearest(step, BATCH_STEPS)}")
    teacher = run.teacher
    if not isinstance(teacher, Endpoint):
        raise UsageError("--batch asks a provider: leave out --teacher.")
    run.out.mkdir(parents=True, exist_ok=True)
    with Journal(run.out / JOURNAL) as journal:
        if step == "write":
            with run.planning(source.read(), journal) as (_, items):
                names = write_batch(run.out, run.asks(items, journal, {}))
            say(f"Wrote {', '.join(names) or 'nothing: everything is answered'}; next: --batch submit.")
        elif step == "submit":
            say(f"{submit(run.out, teacher)} batches are with the provider; later: --batch collect.")
        else:
            unfinished = collect(run.out, teacher, journal)
            report = finish(run.out, journal)
            if unfinished:
                return conclude(run.out, report, f"{unfinished} batches are not finished.", "collect again later")
            return conclude(run.out, report, "", "to resume: --batch write, submit and collect once more")
    return {}
