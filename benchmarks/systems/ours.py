"""seetell's own step over the rows: planned, packed ahead in the background, and trained by `train_step`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.systems.measure import Gradients, Times, flat, synchronize
from benchmarks.systems.rows import Rows
from benchmarks.systems.trainer import RATE
from seetell.encode.sample import Sample
from seetell.model.adapter import add_lora, lora_parameters
from seetell.model.fp8 import freeze_in_fp8
from seetell.model.vlm import VLM
from seetell.train.computing import arrange, choose_computing
from seetell.train.loop import Learner, train_step
from seetell.train.optimizer import build_optimizer, choose_what_learns, set_lr
from seetell.train.pictures import MicroBatch, feed
from seetell.train.plan import Plan
from seetell.train.ranks import Ranks
from seetell.train.recipe import Data, Stage
from seetell.train.same_bits import SameBits
from seetell.types import Image


class Given:
    """Rows and their pictures in the place of files: what `feed` asks of samples and of an image processor."""

    def __init__(self, rows: Rows, image_id: int) -> None:
        self._rows, self.image_id = rows, image_id
        self.entries = self.rows = range(len(rows))
        self.images = [(Image(str(row.picture)),) if row.picture >= 0 else () for row in rows.rows]

    def sample(self, entry: int) -> Sample:
        row = self._rows.rows[entry]
        return Sample(str(entry), row.ids, row.supervised, self.images[entry])

    def pixels(self, image: Image) -> Tensor:
        """[3, H, W]"""
        return self._rows.pixels[int(image.path)]


def make_stage(stage: int, **changed: Any) -> Stage:
    """LLaVA-1.5's stage as far as a step knows of it."""
    learns = ("connector",) if stage == 1 else ("connector", "language")
    given: dict[str, Any] = {"samples_per_step": 1, "schedule": "constant", "warmup": 0.0, **changed}
    return Stage(data=(Data("given"),), lr=dict.fromkeys(learns, RATE), **given)


class Ours:
    """A model in a stage, whose rows are given instead of read."""

    name = "ours"

    def __init__(self, vlm: VLM, stage: Stage) -> None:
        self.vlm, self.stage = vlm.train(), stage
        self.device = vlm.device
        self.precision = vlm.dtype
        self.chosen = choose_computing(stage, vlm, vlm.device)
        self._arrange()
        if stage.lora is not None:
            add_lora(vlm, rank=stage.lora.rank, alpha=stage.lora.alpha, device=vlm.device)
            choose_what_learns(vlm, stage)
            for matrix in lora_parameters(vlm).values():
                matrix.data = matrix.data.float()
            vlm.train()

    def _arrange(self) -> None:
        """As a run does it."""
        arrange(self.vlm, self.chosen, self.device)
        if self.stage.fp8:
            freeze_in_fp8(self.vlm.language.base_model, self.device)

    @property
    def told(self) -> str:
        """What was chosen, for the table."""
        stage = self.stage
        parts = [f"micro-batches of {stage.micro_tokens} tokens", f"checkpointing {self.chosen['checkpointing']}"]
        parts += ["shared pictures"] * stage.share_images + ["fp8"] * stage.fp8
        return ", ".join([*parts, f"blocks {'' if self.chosen['compile'] == 'on' else 'not '}compiled"])

    def gradients(self, rows: Rows) -> Gradients:
        """One step over all rows, which moves nothing."""
        still = torch.optim.SGD([p for p in self.vlm.parameters() if p.requires_grad], lr=0.0)
        kept: list[Tensor] = []
        still.register_step_pre_hook(lambda *_: kept.append(flat(self.vlm.connector.parameters())))
        learner = Learner(self.vlm, still, self._stage(len(rows), clip=float("inf")), self.precision, self._ranks)
        (micro_batches,) = self._steps(rows, len(rows))
        report = train_step(learner, micro_batches)
        return Gradients(report.loss, kept[0])

    def train(self, rows: Rows, samples_per_step: int) -> Times:
        """Steps over all rows, timed."""
        stage = self._stage(samples_per_step)
        optimizer = build_optimizer(self.vlm, stage)
        learner = Learner(self.vlm, optimizer, stage, self.precision, self._ranks)
        times, steps = Times(), SameBits(self.device)
        began_s = asked_s = time.perf_counter()
        for step, micro_batches in enumerate(self._steps(rows, samples_per_step)):
            times.waited_s += time.perf_counter() - asked_s
            set_lr(optimizer, stage, step, -(-len(rows) // samples_per_step))
            steps.run(partial(train_step, learner, micro_batches))  # as a run takes it
            synchronize(self.device)
            asked_s = time.perf_counter()
            times.steps.append(asked_s - began_s - times.seconds)
            times.seconds = asked_s - began_s
        return times

    def _stage(self, samples_per_step: int, **changed: Any) -> Stage:
        return replace(self.stage, samples_per_step=samples_per_step, **changed)

    def _steps(self, rows: Rows, samples_per_step: int) -> Iterator[list[MicroBatch]]:
        """Each step's passes, packed in the background while the step before is taken."""
        shared = self.stage.share_images
        plan = Plan(
            [len(row) for row in rows.rows],
            samples_per_step,
            epochs=1,
            seed=0,
            token_budget=self.stage.micro_tokens,
            packed=self.stage.steps == "packed",
            groups=[row.picture for row in rows.rows] if shared else (),
            prefixes=[row.prefix * (row.picture >= 0) for row in rows.rows] if shared else (),
        )
        given = cast(Any, Given(rows, self.vlm.image_id))
        for data in feed(plan, given, given, None, 0, pin=self.device.type == "cuda"):
            yield data.micro_batches

    @property
    def _ranks(self) -> Ranks:
        return Ranks(self.device)
