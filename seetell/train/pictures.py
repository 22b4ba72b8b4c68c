"""Pictures for the steps to come: decoded and packed ahead by threads.

A picture that cannot be read becomes a `Rejected`; whoever asked leaves its sample out and counts it.

Shapes  N images, H x W pixels, P slots of an image, V tower width.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from seetell.encode.image import ImageProcessor
from seetell.encode.sample import Batch, Sample, Shared, pack
from seetell.train.data import Samples
from seetell.train.features import Features
from seetell.train.plan import TOKENS_MULTIPLE, Document, Plan
from seetell.train.threads import threads_beside
from seetell.types import Rejected

STEPS_AHEAD = 2


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """One forward pass: packed documents, what the tower saw [N, P, V] when that is kept, and the number of the source
    of each supervised token, [S]; None where all are of one."""

    batch: Batch
    tower: Tensor | None = None
    sources: Tensor | None = None

    def to(self, device: torch.device) -> MicroBatch:
        tower, sources = (
            None if one is None else one.to(device, non_blocking=True) for one in (self.tower, self.sources)
        )
        return MicroBatch(self.batch.to(device), tower, sources)

    def pinned(self) -> MicroBatch:
        """The same in memory that a GPU fetches by itself, while it computes."""
        held = {field.name: getattr(self.batch, field.name) for field in fields(self.batch)}
        batch = replace(self.batch, **{k: v.pin_memory() for k, v in held.items() if isinstance(v, Tensor)})
        tower, sources = (None if one is None else one.pin_memory() for one in (self.tower, self.sources))
        return MicroBatch(batch, tower, sources)


@dataclass(frozen=True, slots=True)
class StepFacts:
    """What a step held: its tokens, the samples left out with their rows, the ids of the others; and how long it was
    waited for."""

    tokens: int
    refused: list[tuple[int, Rejected]]
    sample_ids: list[str]
    waited_s: float = 0.0

    @staticmethod
    def of_all(shares: Sequence[StepFacts]) -> StepFacts:
        """The whole step's, from its ranks'."""
        refused = [row for share in shares for row in share.refused]
        sample_ids = [name for share in shares for name in share.sample_ids]
        waited_s = max(share.waited_s for share in shares)  # the ranks wait for the slowest
        return StepFacts(sum(share.tokens for share in shares), refused, sample_ids, waited_s)


@dataclass(frozen=True, slots=True)
class StepData:
    """One rank's share of an optimizer step: its passes, and what is told of them."""

    micro_batches: list[MicroBatch]
    facts: StepFacts


def feed(
    plan: Plan,
    samples: Samples,
    image_processor: ImageProcessor,
    features: Features | None,
    first_step: int,
    rank: int = 0,
    ranks: int = 1,
    pin: bool = False,
) -> Generator[StepData]:
    """A rank's share of the plan's steps from `first_step` on.

    While a step is taken, threads decode the pictures of the next ones, and one more thread packs what is decoded; in
    memory that a GPU can fetch by itself when `pin` is set.
    """

    def prepare(step: int) -> Future[StepData]:
        mine = plan.micro_batches(step, ranks)[rank]
        entries = [document[0] for micro in mine for document in micro]  # the others show the same
        decoding = _start(pool, image_processor, samples, entries, features is None)
        return packer.submit(_assemble, plan, samples, features, mine, decoding, pin)

    with threads_beside("pictures") as pool, threads_beside("packing", 1) as packer:
        ahead: deque[Future[StepData]] = deque()
        try:
            asked_s = time.monotonic()
            for step in range(first_step, plan.steps):
                while len(ahead) <= min(STEPS_AHEAD, plan.steps - step - 1):
                    ahead.append(prepare(step + len(ahead)))
                ready = ahead.popleft().result()
                yield replace(ready, facts=replace(ready.facts, waited_s=time.monotonic() - asked_s))
                asked_s = time.monotonic()
        finally:  # whoever asked may have had enough
            pool.shutdown(wait=False, cancel_futures=True)
            packer.shutdown(wait=False, cancel_futures=True)


def _start(
    pool: ThreadPoolExecutor, image_processor: ImageProcessor, samples: Samples, entries: Sequence[int], decode: bool
) -> dict[int, list[Future[Tensor | Rejected]]]:
    if not decode:
        return {}
    images = {entry: samples.images[samples.entries[entry]] for entry in entries}
    return {entry: [pool.submit(image_processor.pixels, one) for one in these] for entry, these in images.items()}


def _assemble(
    plan: Plan,
    samples: Samples,
    features: Features | None,
    mine: list[list[Document]],
    decoding: dict[int, list[Future[Tensor | Rejected]]],
    pin: bool,
) -> StepData:
    """Packs each planned micro-batch, without the samples one of whose pictures was refused."""
    micro_batches, refused, sample_ids = [], [], []
    for micro in mine:
        kept: list[Sample | Shared] = []
        pictures: list[Tensor] = []
        for document in sorted(micro, key=plan.tokens):  # those of one length are attended to together
            whole = [samples.sample(entry) for entry in document]
            if features is None:
                found = [one.result() for one in decoding[document[0]]]
            else:
                found = [features.get(image) for image in whole[0].images]
            bad = next((one for one in found if isinstance(one, Rejected)), None)
            if bad is not None:
                rows = [samples.rows[samples.entries[entry]] for entry in document]
                reasons = [Rejected(sample.id, bad.reason, bad.detail) for sample in whole]
                refused += zip(rows, reasons, strict=True)
                continue
            pictures += [one for one in found if isinstance(one, Tensor)]
            sample_ids += [sample.id for sample in whole]
            kept.append(whole[0] if len(whole) == 1 else Shared(tuple(whole), plan.prefixes[document[0]]))
        micro_batches.append(_micro_batch(kept, pictures, features is not None, samples.image_id))
    tokens = sum(len(micro.batch) for micro in micro_batches)
    micro_batches = [micro.pinned() for micro in micro_batches] if pin else micro_batches
    return StepData(micro_batches, StepFacts(tokens, refused, sample_ids))


def _micro_batch(
    kept: list[Sample | Shared], pictures: list[Tensor], seen: bool, image_id: int | None = None
) -> MicroBatch:
    """A pass whose samples were all refused is still made, over one dead token."""
    kept = kept or [Sample("", torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.bool))]
    whole = [sample for row in kept for sample in (row.samples if isinstance(row, Shared) else (row,))]
    sources = torch.tensor([sample.source for sample in whole])
    sources = sources.repeat_interleave(torch.stack([sample.supervised.sum() for sample in whole]))  # [S]
    batch = pack(kept, None if seen else pictures, multiple_of=TOKENS_MULTIPLE, image_id=image_id)
    return MicroBatch(batch, torch.stack(pictures) if seen and pictures else None, sources)
