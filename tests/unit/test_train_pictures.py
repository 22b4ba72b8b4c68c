"""The feed of steps: in the plan's order whatever the threads do, its waiting told, and gone when nobody asks."""

from __future__ import annotations

import io
import threading
import time

import PIL.Image
import pytest
import torch
from torch import Tensor

from seetell.encode.image import ImageProcessor
from seetell.train.data import Samples
from seetell.train.pictures import StepFacts, feed
from seetell.train.plan import Plan
from seetell.types import Image, Rejected

TOKENS = 5


class Slow(ImageProcessor):
    """Takes longest for the pictures that are asked for first."""

    def pixels(self, image: Image) -> Tensor | Rejected:
        time.sleep(0.02 if image.path < "0004" else 0.0)
        return super().pixels(image)


class Broken(ImageProcessor):
    def pixels(self, image: Image) -> Tensor | Rejected:
        raise MemoryError(image.path)


def picture(level: int) -> Image:
    file = io.BytesIO()
    PIL.Image.new("L", (8, 8), level).save(file, "PNG")
    return Image(f"{level:04}", file.getvalue())


def samples_of(count: int) -> Samples:
    """Sample i shows a picture of the grey level i; number 3 shows none that can be read."""
    images = [(picture(i) if i != 3 else Image("0003", b"nothing"),) for i in range(count)]
    return Samples(
        ids=torch.arange(count * TOKENS, dtype=torch.int32),
        supervised=torch.tensor([False, *[True] * (TOKENS - 1)] * count),
        starts=list(range(0, count * TOKENS + 1, TOKENS)),
        names=[str(i) for i in range(count)],
        images=images,
        entries=list(range(count)),
        rows=list(range(count)),
        rejected=[],
        sources=("one",),
        source_of=[0] * count,
    )


def plan_of(count: int) -> Plan:
    return Plan([TOKENS] * count, samples_per_step=3, epochs=2, seed=0, token_budget=128)


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("pictures", "packing"))]


def test_steps_come_in_the_plans_order_with_their_own_pictures() -> None:
    samples, plan = samples_of(10), plan_of(10)
    fed = list(feed(plan, samples, Slow(8), None, first_step=1))
    assert len(fed) == plan.steps - 1
    for step, data in enumerate(fed, start=1):
        wanted = [samples.names[entry] for entry in plan.entries(step)]
        refused = [rejected.id for _, rejected in data.facts.refused]
        assert sorted(data.facts.sample_ids + refused) == sorted(wanted)
        assert refused == (["3"] if "3" in wanted else [])
        levels = [int(pixels[0, 0, 0]) for micro in data.micro_batches for pixels in micro.batch.pixels]
        assert levels == [int(name) for name in data.facts.sample_ids]
    assert running() == []


def test_what_a_step_was_waited_for_is_told() -> None:
    first, *_ = feed(plan_of(4), samples_of(4), Slow(8), None, first_step=0)
    assert first.facts.waited_s >= 0.02
    shares = [StepFacts(128, [], ["a"], 0.5), StepFacts(128, [], ["b"], 0.25)]
    assert StepFacts.of_all(shares).waited_s == 0.5


def test_whoever_stops_asking_leaves_no_thread_behind() -> None:
    steps = feed(plan_of(10), samples_of(10), ImageProcessor(8), None, first_step=0)
    next(steps)
    assert running()
    steps.close()
    assert running() == []


def test_a_failure_in_a_thread_reaches_whoever_asks() -> None:
    with pytest.raises(MemoryError):
        next(feed(plan_of(4), samples_of(4), Broken(8), None, first_step=0))
    assert running() == []
