"""A stage counted before it runs: its samples, its plan, what goes through the model. All of it exact.

The data is read and encoded as training would; weights and pictures stay closed.

Shapes  T tokens of all samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from operator import attrgetter

import torch
from torch import Tensor

from seetell.train.data import Samples
from seetell.train.padding import padded_as_llava, padded_at_random
from seetell.train.plan import Plan
from seetell.train.sharing import picture_key
from seetell.train.work import Load, load_of


@dataclass(frozen=True, slots=True)
class Counts:
    """`samples`, `tokens` and `supervised` are of one epoch, the others of the whole stage on one rank.

    `slots` are the tokens that are computed. `tokens_alone` is `tokens` if no picture were shared, `slots_at_random`
    and `slots_as_llava` what an epoch would take in micro-batches of 16 padded to their longest.
    """

    samples: int
    left_out: Mapping[str, int]
    tokens: int
    tokens_alone: int
    supervised: int
    longest_tokens: int
    epochs: int
    steps: int
    samples_per_step: tuple[int, int]
    passes: int
    slots: int
    pictures: int
    slots_at_random: int
    slots_as_llava: int
    held_out: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """A stage's samples and plan, with what each entry of the plan has to learn and to show.

    `total` is what goes through the model in the whole stage, `largest` the loads of its fullest micro-batches by
    each measure, `accumulates` whether any step is more than one of them.
    """

    samples: Samples
    plan: Plan
    targets: list[int]
    pictures: list[int]
    total: Load
    largest: tuple[Load, ...]
    accumulates: bool
    counts: Counts


def count(samples: Samples, plan: Plan, features_kept: bool = False) -> Counted:
    """Goes through the plan once, for one rank; with its features kept a picture is seen once."""
    learnt = _by_sample(samples.supervised, samples.starts)
    targets = [learnt[i] for i in samples.entries]
    pictures = [len(samples.images[i]) for i in samples.entries]
    loads: list[Load] = []
    passes: list[int] = []
    for step in range(plan.steps):
        (mine,) = plan.micro_batches(step)
        passes.append(len(mine))
        loads += (load_of(plan, micro, targets, pictures) for micro in mine)
    total = Load(*(sum(column) for column in zip(*map(astuple, loads), strict=True)))
    if features_kept:
        total = replace(total, seen=len({picture_key(image) for image in samples.all_images()}))
    sizes = [len(plan.entries(step)) for step in range(plan.steps)]
    reasons = Counter(rejected.reason for _, rejected in samples.rejected)
    counts = Counts(
        samples=len(plan.lengths),
        left_out=dict(reasons.most_common()),
        tokens=total.tokens // plan.epochs,
        tokens_alone=sum(plan.lengths),
        supervised=sum(targets),
        longest_tokens=max(plan.lengths),
        epochs=plan.epochs,
        steps=plan.steps,
        samples_per_step=(min(sizes), max(sizes)),
        passes=sum(passes),
        slots=total.slots,
        pictures=total.seen,
        slots_at_random=padded_at_random(plan.lengths, plan.seed),
        slots_as_llava=padded_as_llava(plan.lengths, [shown > 0 for shown in pictures], plan.seed),
        held_out=len(samples.held_out),
    )
    return Counted(samples, plan, targets, pictures, total, largest(loads), max(passes) > 1, counts)


def largest(loads: Sequence[Load]) -> tuple[Load, ...]:
    """The fullest of these loads, by tokens, by targets and by pictures."""
    keys = ("slots", "targets", "pictures")
    return tuple({max(loads, key=attrgetter(key)): None for key in keys})


def fullest_loads(samples: Samples, plan: Plan, ranks: int) -> tuple[Load, ...]:
    """The fullest micro-batches that any of so many ranks will meet."""
    learnt = _by_sample(samples.supervised, samples.starts)
    targets = [learnt[i] for i in samples.entries]
    pictures = [len(samples.images[i]) for i in samples.entries]
    shares = (rank for step in range(plan.steps) for rank in plan.micro_batches(step, ranks))
    return largest([load_of(plan, micro, targets, pictures) for rank in shares for micro in rank])


def _by_sample(flags: Tensor, starts: list[int]) -> list[int]:
    """bool [T] -> how many are true in each sample"""
    kind = torch.int32 if len(flags) < 2**31 else torch.int64  # half a billion tokens are as many gigabytes
    sums = torch.cat([torch.zeros(1, dtype=kind), flags.cumsum(0, dtype=kind)])
    bounds = torch.tensor(starts)
    return (sums[bounds[1:]] - sums[bounds[:-1]]).tolist()
