"""`seetell plan`: what a recipe would do, before anything does it: samples, tokens and steps of each stage.

The data is read and encoded as training would, pictures and weights stay closed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seetell.train.data import read_samples, told
from seetell.train.recipe import Recipe, Stage
from seetell.train.sharing import stage_plan
from seetell.train.start import planning_processor
from seetell.verbs.training import resolve


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage in numbers. `samples`, `tokens` and `supervised` are of one epoch, `steps` of all."""

    name: str
    samples: int
    left_out: dict[str, int]
    tokens: int
    supervised: int
    longest_tokens: int
    epochs: int
    steps: int
    passes: int

    @property
    def sentence(self) -> str:
        """For people."""
        lost = sum(self.left_out.values())
        return (
            f"{self.name}: {self.samples:,} samples × {self.epochs} in {self.steps:,} steps ({self.passes:,} forward "
            f"passes); {self.tokens:,} tokens an epoch, {self.supervised:,} of them learnt, the longest sample "
            f"{self.longest_tokens:,}" + (f"; {lost:,} rows left out: {told(self.left_out)}." if lost else ".")
        )


def plan(recipe: str | Path | Recipe, sets: Sequence[str] = ()) -> list[StagePlan]:
    """The plan of every stage of the recipe, in order."""
    resolved = resolve(recipe, sets)
    return [_plan_stage(resolved, name, stage) for name, stage in resolved.stages.items()]


def _plan_stage(recipe: Recipe, name: str, stage: Stage) -> StagePlan:
    processor = planning_processor(recipe.model, stage)
    samples = read_samples(stage, processor, recipe.seed, name)
    lengths = samples.lengths
    planned = stage_plan(stage, samples, recipe.seed, processor.tokenizer.image_id)
    learnt = samples.supervised.long().cumsum(0).tolist()
    bounds = [(samples.starts[i], samples.starts[i + 1]) for i in samples.entries]
    return StagePlan(
        name=name,
        samples=len(lengths),
        left_out=dict(Counter(rejected.reason for _, rejected in samples.rejected).most_common()),
        tokens=sum(lengths),
        supervised=sum(learnt[last - 1] - (learnt[first - 1] if first else 0) for first, last in bounds),
        longest_tokens=max(lengths),
        epochs=stage.epochs,
        steps=planned.steps,
        passes=sum(len(planned.micro_batches(step)[0]) for step in range(planned.steps)),
    )
