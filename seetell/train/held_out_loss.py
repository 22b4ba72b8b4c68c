"""The loss on the samples that a stage holds out, measured as it learns, without changing a bit of what it learns.

Its mean is taken as the training loss's is, over all supervised tokens, on all ranks. How often it is measured follows
from the counts alone, so that a resumed run's figures stand at the steps of an undisturbed one: as often as costs about
`SHARE` of the stage's work, a forward pass being a third of a training step, but about `LEAST` to `MOST` times, and
always at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch

from seetell.encode.image import ImageProcessor
from seetell.model.vlm import VLM
from seetell.train.computing import autocast
from seetell.train.data import Samples
from seetell.train.features import Features
from seetell.train.log import RunLog
from seetell.train.loss import token_losses
from seetell.train.pictures import StepFacts, feed
from seetell.train.plan import Plan
from seetell.train.ranks import Ranks
from seetell.train.recipe import Stage
from seetell.train.sharding import Shards

SHARE = 0.04  # of the stage's work
LEAST, MOST = 5, 20  # times
SAMPLES = 1024  # are measured at most: more make the figure no clearer
FORWARD = 1 / 3  # of a training step's work


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What is measured, and every how many steps. `samples` has the held-out ones for its entries."""

    samples: Samples
    plan: Plan
    every: int
    last_step: int
    cost: float  # as a part of the stage's work
    image_processor: ImageProcessor
    features: Features | None = None

    def is_due(self, step: int) -> bool:
        return step % self.every == 0 or step == self.last_step

    def said(self) -> str:
        """For the start of the stage."""
        count = len(self.samples.held_out)
        measured = len(self.samples.entries)
        which = "their loss" if measured == count else f"the loss of {measured:,} of them"
        steps = "after every step" if self.every == 1 else f"every {self.every:,} steps and at the end"
        return (
            f"{count:,} sample{'s' * (count != 1)} held out; {which} is measured {steps}, "
            f"which takes about {self.cost:.1%} of the work."
        )

    def loss(
        self, model: VLM, ranks: Ranks, precision: torch.dtype, shards: Shards | None, log: RunLog
    ) -> float | None:
        """The mean over all supervised tokens; every rank takes its share. None where there is no finite one."""
        total = torch.zeros(2, dtype=torch.float64)
        pin = ranks.device.type == "cuda"
        with _measuring(model, shards):
            share = self.features, 0, ranks.rank, ranks.count
            for step in feed(self.plan, self.samples, self.image_processor, *share, pin=pin):
                for micro in step.micro_batches:
                    here = micro.to(ranks.device)
                    with autocast(ranks.device, precision):
                        losses = token_losses(model, here) if shards is None else shards(here)
                    total += torch.tensor([float(losses.sum()), len(losses)], dtype=torch.float64)
                for row, rejected in StepFacts.of_all(ranks.gather(step.facts)).refused:
                    log.refuse(row, rejected)
        loss, count = ranks.sum(total).tolist()
        return loss / count if count and math.isfinite(loss) else None


@contextmanager
def _measuring(model: VLM, shards: Shards | None) -> Iterator[None]:
    """The model in evaluation and without gradients; of shards each gathers what it computes, and lets go of it."""
    model.eval()
    try:
        with torch.no_grad(), shards.forward_only() if shards is not None else nullcontext():
            yield
    finally:
        model.train()


def held_out_of(
    stage: Stage, samples: Samples, plan: Plan, image_processor: ImageProcessor, features: Features | None
) -> HeldOut | None:
    """Nothing where a stage holds nothing out."""
    if not samples.held_out:
        return None
    apart = -(-len(samples.held_out) // SAMPLES)
    shown = replace(samples, entries=samples.held_out[::apart])
    measured = Plan(shown.lengths, stage.samples_per_step, 1, plan.seed, stage.micro_tokens)
    once = FORWARD * sum(shown.lengths) / (sum(plan.lengths) * plan.epochs)
    times = min(MOST, max(LEAST, int(SHARE / once)))
    every = math.ceil(plan.steps / times)
    cost = once * math.ceil(plan.steps / every)
    return HeldOut(shown, measured, every, plan.steps, cost, image_processor, features)
