"""Which samples begin alike: about the same pictures, in the same words before them. And so, a stage's plan.

In LLaVA's data several conversations are about one picture, and its hundreds of tokens, the same each time,
come before any word that is learnt. Such samples can stand in one document, their common beginning once.

Shapes  n tokens of a sample.
"""

from __future__ import annotations

import hashlib
from collections import Counter

from torch import Tensor

from seetell.train.data import Samples
from seetell.train.plan import Plan
from seetell.train.recipe import Stage
from seetell.types import Image


def stage_plan(stage: Stage, samples: Samples, seed: int, image_id: int) -> Plan:
    """The plan of a stage, whole."""
    groups, prefixes = shared_prefixes(samples, image_id) if stage.share_images else ((), ())
    return Plan(
        samples.lengths,
        stage.samples_per_step,
        stage.epochs,
        seed,
        stage.micro_tokens,
        packed=stage.steps == "packed",
        groups=groups,
        prefixes=prefixes,
    )


def shared_prefixes(samples: Samples, image_id: int) -> tuple[list[int], list[int]]:
    """For each entry the number of those that begin as it does, and how many tokens that is (0: it shares nothing).

    A sample that an epoch shows several times is not put beside itself: each of its copies is of another group.
    """
    begins = [_beginning(samples, i, image_id) for i in range(len(samples.names))]
    copies: Counter[int] = Counter()
    numbers: dict[tuple[bytes, int], int] = {}
    groups, prefixes = [], []
    for i in samples.entries:
        key, prefix = begins[i]
        groups.append(numbers.setdefault((key, copies[i]), len(numbers)))
        prefixes.append(prefix)
        copies[i] += 1
    return groups, prefixes


def _beginning(samples: Samples, i: int, image_id: int) -> tuple[bytes, int]:
    """A hash of a sample's pictures and of all ids up to their last slot, and how many those are."""
    if not samples.images[i]:
        return b"", 0
    span = slice(samples.starts[i], samples.starts[i + 1])
    ids = samples.ids[span]
    prefix = shareable(ids, samples.supervised[span], image_id)
    if not prefix:
        return b"", 0
    digest = hashlib.sha256(repr([picture_key(image) for image in samples.images[i]]).encode())
    digest.update(ids[:prefix].numpy().tobytes())
    return digest.digest(), prefix


def shareable(ids: Tensor, supervised: Tensor, image_id: int) -> int:
    """ids [n], supervised [n] -> the tokens up to the last picture slot; 0 if one of them or the next is learnt.

    The first token behind the prefix must not be learnt: it would be predicted from the prefix's end, which stands
    in the document once, whatever follows it.
    """
    prefix = int((ids == image_id).nonzero()[-1]) + 1
    return 0 if bool(supervised[: prefix + 1].any()) else prefix


def picture_key(image: Image) -> str:
    """One name for one picture."""
    return image.path if image.data is None else hashlib.sha256(image.data).hexdigest()
