"""On which machines a stage fits, how it is then computed, and how long it takes there.

A rank of a stage that only aligns holds the whole frozen model; where the language model learns, or one device is
too small, weights and averages are sharded over as many as hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from seetell.train.activations import Rehearsal
from seetell.train.estimate import Memory, Setting, arranged, fits, memory
from seetell.train.gpus import Gpu
from seetell.train.hardware import UTILISATION
from seetell.train.shapes import Shapes
from seetell.train.work import Load, flops

SIZES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Fit:
    """How a stage is computed on some machines of one kind: as few as hold it, or 0 and what 64 would need."""

    count: int
    setting: Setting
    memory: Memory
    room_bytes: float


@dataclass(frozen=True, slots=True)
class Offer:
    """A stage on rented GPUs: hours at the assumed utilisation, and what they cost."""

    gpu: str
    fit: Fit
    hours: float
    cost: float


def fit(
    shapes: Shapes,
    rehearsal: Rehearsal,
    loads: Sequence[Load],
    setting: Setting,
    room_bytes: float,
    full: Load,
    count: int | None = None,
) -> Fit:
    """The fewest machines of that memory which hold the stage, or so many. Recomputation that is "auto", and whether
    shards are roomy, is chosen for a `full` micro-batch, as training does."""
    sizes = (count,) if count else SIZES
    ways = [(size, size > 1 and sharded) for size in sizes for sharded in setting.shardings]
    tried = (
        _fit(shapes, rehearsal, loads, replace(setting, ranks=size, sharded=sharded), room_bytes, full)
        for size, sharded in ways
    )
    best = next(tried)
    while not best.count and (other := next(tried, None)):
        best = other
    return best


def _fit(
    shapes: Shapes, rehearsal: Rehearsal, loads: Sequence[Load], setting: Setting, room_bytes: float, full: Load
) -> Fit:
    setting = arranged(shapes, rehearsal, full, setting, room_bytes, setting.checkpointing)
    needed = max((memory(shapes, rehearsal, load, setting) for load in loads), key=lambda one: one.peak)
    return Fit(setting.ranks if fits(needed, room_bytes) else 0, setting, needed, room_bytes)


def offer(
    name: str,
    gpu: Gpu,
    shapes: Shapes,
    rehearsal: Rehearsal,
    loads: Sequence[Load],
    total: Load,
    setting: Setting,
    full: Load,
    count: int | None = None,
) -> Offer:
    """What the stage takes on GPUs of that kind."""
    found = fit(shapes, rehearsal, loads, setting, gpu.memory_bytes, full, count)
    chosen = found.setting
    parts = flops(shapes, total, chosen.learns, chosen.checkpointing, lora_rank=chosen.lora_rank)
    executed = sum(part.executed for part in parts.values())
    device_hours = executed / (gpu.flops_per_s * UTILISATION) / 3600
    return Offer(name, found, device_hours / chosen.ranks, device_hours * gpu.price_per_hour)
