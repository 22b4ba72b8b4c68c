"""The training loop, the same for both stages: a step, and the steps in order.

What the loop promises: the loss is a mean over every supervised token of a step, so accumulation equals one
big batch; a loss that is not finite moves nothing; and each step is a function of the weights, the moments
and its own number, which is what makes a resumed run equal to an undisturbed one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from seetell.console import progress
from seetell.encode.processor import Processor
from seetell.errors import BadInput, Failed
from seetell.model.vlm import VLM
from seetell.train.best import BestKeeper
from seetell.train.cadence import Cadence
from seetell.train.checkpoint import KEPT, Keeper
from seetell.train.computing import autocast
from seetell.train.held_out_loss import HeldOut
from seetell.train.keeping import Wanted
from seetell.train.log import Progress, RunLog
from seetell.train.loss import sum_by_source, token_losses
from seetell.train.observing import Observer, look
from seetell.train.optimizer import set_lr
from seetell.train.pictures import MicroBatch, StepData, StepFacts
from seetell.train.plan import Plan
from seetell.train.ranks import Ranks
from seetell.train.recipe import SEED_BITS, Stage
from seetell.train.run_files import HELD_OUT_LOSS
from seetell.train.same_bits import SameBits
from seetell.train.sharding import Shards

NOT_FINITE_AT_MOST = 3
EMPTY_AT_MOST = 3  # steps at the very beginning of a stage without a single usable sample


@dataclass(frozen=True, slots=True)
class Learner:
    """A model in a stage: what moves it, by which rules, in which arithmetic."""

    model: VLM
    optimizer: torch.optim.Optimizer
    stage: Stage
    precision: torch.dtype
    ranks: Ranks
    sources: tuple[str, ...] = ("all",)
    shards: Shards | None = None


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step did. `taken` is false when nothing moved: a number was not finite, or nothing was supervised.

    `by_source` holds the mean loss and the number of supervised tokens of each source that the step met, where the
    stage has several.
    """

    loss: float
    grad_norm: float
    supervised: int
    taken: bool
    by_source: Mapping[str, tuple[float, int]] = field(default_factory=dict[str, tuple[float, int]])


@dataclass(frozen=True, slots=True)
class Watch:
    """When the loop looks up from its work: to save, to be observed, to stop."""

    checkpoints: Path
    checkpoint_every_s: float | None  # as the time allows, where none is asked for (`cadence.py`)
    observers: Sequence[Observer]
    observe_every: int
    asked_to_stop: Callable[[], bool]
    keep: int = KEPT
    best: Wanted | None = None


def train_step(learner: Learner, micro_batches: Sequence[MicroBatch]) -> StepReport:
    """One optimizer step; the loss is a mean over every supervised token of the step, on all ranks.

    Dividing each micro-batch by its own count would let short answers weigh more than long ones.
    """
    model, ranks = learner.model, learner.ranks
    known = len(learner.sources)
    counts = [sum_by_source(torch.ones(len(m.batch.targets)), m.sources, known) for m in micro_batches]
    counted: list[int] = ranks.sum(torch.stack(counts).sum(0).long()).tolist()  # [C], summed on the hosts
    supervised = sum(counted)
    if supervised == 0:
        return StepReport(0.0, 0.0, 0, taken=False)
    sums = torch.zeros(known, device=ranks.device)
    shards = learner.shards
    mean_of = 1 if shards is None else ranks.count  # gradients that shards take the mean of, where others are summed
    for number, micro in enumerate(micro_batches, start=1):
        here = micro.to(ranks.device)
        with autocast(ranks.device, learner.precision):
            last = number == len(micro_batches)
            losses = token_losses(model, here) if shards is None else shards.losses(here, last)  # [S]
        (losses.sum() / (supervised / mean_of)).backward()
        sums += sum_by_source(losses.detach(), here.sources, known)
    sums = ranks.sum(sums)  # [C]
    total = sums.sum() / supervised
    learning = [p for p in model.parameters() if p.requires_grad]
    ranks.sum_gradients(learning)
    norm = ranks.clip(learning, learner.stage.clip)
    (broken,) = ranks.any(not bool(torch.isfinite(total) & torch.isfinite(norm)))
    if not broken:
        learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)
    means = zip(learner.sources, sums.tolist(), counted, strict=True)
    by_source = {name: (loss / count, count) for name, loss, count in means if count and known > 1}
    return StepReport(float(total), float(norm), supervised, not broken, by_source)


def fit(
    learner: Learner,
    processor: Processor,
    plan: Plan,
    data: Iterable[StepData],
    state: Progress,
    log: RunLog,
    watch: Watch,
    held_out: HeldOut | None = None,
) -> bool:
    """Trains from `state` to the end of the plan; false when it was asked to stop before, and saved."""
    began_s, seconds_before = time.monotonic(), state.seconds
    ranks, model = learner.ranks, learner.model
    cadence = Cadence(watch.checkpoint_every_s)
    keeper = Keeper(watch.checkpoints, model, learner.optimizer, ranks, learner.shards is not None, watch.keep)
    best = BestKeeper(watch.checkpoints, watch.best, model, ranks) if watch.best else None
    model.train()
    steps = SameBits(ranks.device)
    with progress(log.stage, total=len(plan.lengths) * plan.epochs, done=state.samples) as bar:
        for step_data in data:
            rates = set_lr(learner.optimizer, learner.stage, state.step, plan.steps)
            seed = (plan.seed * 1_000_003 + state.step) % 2**SEED_BITS
            report = steps.run(partial(_seeded_step, learner, step_data.micro_batches, seed))
            state.seconds = seconds_before + time.monotonic() - began_s
            facts = StepFacts.of_all(ranks.gather(step_data.facts))
            _count(state, facts, report)
            _write(log, state, facts, report, rates)
            bar.advance(len(facts.sample_ids) + len(facts.refused), loss=report.loss)
            if state.not_finite_in_a_row >= NOT_FINITE_AT_MOST:
                raise ranks.agreed(Failed(_diverged(log, state)))
            if state.empty_steps == state.step and (state.step >= EMPTY_AT_MOST or state.step == plan.steps):
                raise ranks.agreed(BadInput(_nothing_seen(log, facts)))
            seen = _observe(learner, processor, state.step, plan.steps, log, watch)
            if held_out is not None and held_out.is_due(state.step):
                seen |= steps.run(partial(_held_out_loss, learner, held_out, state.step, log))
            if best is not None:
                best.see(state.step, seen)
            # The main rank's clock decides for all; a wish to stop may have reached any of them.
            asked, due = ranks.any(watch.asked_to_stop(), ranks.main and cadence.due)
            unfinished = state.step < plan.steps
            stopping = unfinished and asked
            if stopping or (unfinished and due and not state.not_finite_in_a_row):
                log.flush()
                cadence.save(partial(keeper.save, state))
            keeper.look()
            log.show()
            if stopping:
                keeper.finish()
                ranks.on_main(keeper.check)
                return False
    if state.not_finite_in_a_row and ranks.any(not _sound(model))[0]:
        raise ranks.agreed(Failed(_diverged(log, state)))
    log.flush()
    keeper.finish()
    return True


def _seeded_step(learner: Learner, micro_batches: Sequence[MicroBatch], seed: int) -> StepReport:
    """A step from its own beginning: what is random in it belongs to it."""
    torch.manual_seed(seed)
    learner.optimizer.zero_grad(set_to_none=True)
    return train_step(learner, micro_batches)


def _observe(
    learner: Learner, processor: Processor, step: int, steps: int, log: RunLog, watch: Watch
) -> dict[str, float]:
    """What the observers see at this step, if it is one of theirs: their numbers, on every rank."""
    if not (watch.observers and watch.observe_every and (step % watch.observe_every == 0 or step == steps)):
        return {}
    ranks = learner.ranks
    with learner.shards.gathered() if learner.shards else nullcontext(), autocast(ranks.device, learner.precision):
        return ranks.on_main(lambda: look(learner.model, processor, step, watch.observers, log))


def _held_out_loss(learner: Learner, held_out: HeldOut, step: int, log: RunLog) -> dict[str, float]:
    """Measured and written down; nothing where there is no such number."""
    loss = held_out.loss(learner.model, learner.ranks, learner.precision, learner.shards, log)
    if loss is None:
        return {}
    log.step(step, {HELD_OUT_LOSS: loss})
    return {HELD_OUT_LOSS: loss}


def _sound(model: VLM) -> bool:
    """Whether all that learns is finite, as far as this rank holds it."""
    learnt = (weight.detach() for weight in model.parameters() if weight.requires_grad)
    held = (weight.to_local() if isinstance(weight, DTensor) else weight for weight in learnt)
    return all(bool(torch.isfinite(weight).all()) for weight in held)


def _count(state: Progress, facts: StepFacts, report: StepReport) -> None:
    state.step += 1
    state.samples += len(facts.sample_ids) + len(facts.refused)
    state.tokens += facts.tokens
    state.data_wait_s += facts.waited_s
    state.supervised += report.supervised
    if report.supervised == 0:
        state.empty_steps += 1
    elif report.taken:
        state.not_finite_in_a_row = 0
        state.first_loss = report.loss if state.first_loss is None else state.first_loss
        state.last_loss = report.loss
    else:
        state.not_finite += 1
        state.not_finite_in_a_row += 1


def _write(log: RunLog, state: Progress, facts: StepFacts, report: StepReport, rates: Mapping[str, float]) -> None:
    for row, rejected in facts.refused:
        log.refuse(row, rejected)
    figures: dict[str, object] = {f"lr_{part}": rate for part, rate in rates.items()}
    figures |= {"supervised": report.supervised, "samples": state.samples, "tokens": state.tokens}
    figures |= {"seconds": round(state.seconds, 3), "data_wait_s": round(facts.waited_s, 4)}
    if report.taken:
        figures |= {"loss": report.loss, "grad_norm": report.grad_norm}
        if report.by_source:
            figures["loss_by_source"] = {name: loss for name, (loss, _) in report.by_source.items()}
            figures["supervised_by_source"] = {name: count for name, (_, count) in report.by_source.items()}
    elif report.supervised:
        said = {"loss": str(report.loss), "grad_norm": str(report.grad_norm), "samples": facts.sample_ids}
        log.not_finite(state.step, said)
    log.step(state.step, figures)


def _nothing_seen(log: RunLog, facts: StepFacts) -> str:
    _, last = facts.refused[-1]
    detail = f" ({last.detail})" if last.detail else ""
    return (
        f"Not one sample of the first steps of {log.stage} can be used; the last one, {last.id!r}, for: {last.reason}"
        f"{detail}. Look whether `images` names the folder of the pictures."
    )


def _diverged(log: RunLog, state: Progress) -> str:
    count = state.not_finite_in_a_row
    steps = f"{count} steps in a row, up to step {state.step}" if count > 1 else f"step {state.step}, the last"
    return (
        f"The loss of {log.stage} was not finite in {steps}: no weight was moved there and the last good checkpoint is "
        f"kept. The samples are named in {log.not_finite_file}; look at them, or begin again in another --out with a "
        "lower lr."
    )
