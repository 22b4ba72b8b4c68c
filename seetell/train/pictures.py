"""Pictures for the steps to come: decoded and packed ahead by threads, or seen once by the frozen tower and kept.

A picture that cannot be read becomes a `Rejected`; whoever asked leaves its sample out and counts it.

Shapes  N images, H x W pixels, P slots of an image, V tower width.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from seetell.console import progress
from seetell.encode.image import ImageProcessor
from seetell.encode.sample import Batch, Sample, Shared, pack
from seetell.model.vlm import VLM
from seetell.train.data import Samples
from seetell.train.plan import TOKENS_MULTIPLE, Document, Plan
from seetell.types import Image, Rejected

STEPS_AHEAD = 2
CHUNK = 64  # pictures that the tower sees at once when features are kept


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


class Features:
    """What the frozen tower saw, by picture, kept in memory for the whole run."""

    def __init__(self) -> None:
        self._seen: dict[str, Tensor | Rejected] = {}

    def look(
        self, model: VLM, image_processor: ImageProcessor, images: Iterable[Image], precision: torch.dtype
    ) -> None:
        """Sees every picture that is new, in the order given and in equal chunks.

        The order and the chunks must be a function of the data alone: what the tower computes for a picture
        may differ in the last bit with the company it is computed in, and a resumed run must see the same.
        """
        new = {picture_key(image): image for image in images}
        new = {key: image for key, image in new.items() if key not in self._seen}
        with progress("seeing pictures", total=len(new)) as bar, _threads() as pool:
            waiting: list[tuple[str, Tensor]] = []
            for key, pixels in zip(new, _ahead(pool, image_processor, list(new.values())), strict=True):
                bar.advance()
                if isinstance(pixels, Rejected):
                    self._seen[key] = pixels
                    continue
                waiting.append((key, pixels))
                if len(waiting) == CHUNK:
                    self._see(model, waiting, precision)
                    waiting = []
            if waiting:
                self._see(model, waiting, precision)

    def get(self, image: Image) -> Tensor | Rejected:
        """[P, V]"""
        return self._seen[picture_key(image)]

    def _see(self, model: VLM, waiting: list[tuple[str, Tensor]], precision: torch.dtype) -> None:
        pixels = torch.stack([one for _, one in waiting]).to(model.device)
        with autocast(model.device, precision):
            features = model.tower_features(pixels)  # [N, P, V]
        self._seen.update(zip([key for key, _ in waiting], features.unbind(), strict=True))


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Matrix products in bfloat16 where that was chosen, everything in float32 where not."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16)


def picture_key(image: Image) -> str:
    """One name for one picture."""
    return image.path if image.data is None else hashlib.sha256(image.data).hexdigest()


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

    with _threads() as pool, ThreadPoolExecutor(1, thread_name_prefix="packing") as packer:
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
        for document in micro:
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
        micro_batches.append(_micro_batch(kept, pictures, features is not None))
    tokens = sum(len(micro.batch) for micro in micro_batches)
    micro_batches = [micro.pinned() for micro in micro_batches] if pin else micro_batches
    return StepData(micro_batches, StepFacts(tokens, refused, sample_ids))


def _micro_batch(kept: list[Sample | Shared], pictures: list[Tensor], seen: bool) -> MicroBatch:
    """A pass whose samples were all refused is still made, over one dead token."""
    kept = kept or [Sample("", torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.bool))]
    whole = [sample for row in kept for sample in (row.samples if isinstance(row, Shared) else (row,))]
    sources = torch.tensor([sample.source for sample in whole])
    sources = sources.repeat_interleave(torch.stack([sample.supervised.sum() for sample in whole]))  # [S]
    batch = pack(kept, None if seen else pictures, multiple_of=TOKENS_MULTIPLE)
    return MicroBatch(batch, torch.stack(pictures) if seen and pictures else None, sources)


def _ahead(
    pool: ThreadPoolExecutor, image_processor: ImageProcessor, images: Sequence[Image]
) -> Iterator[Tensor | Rejected]:
    """Decodes in order, a bounded number ahead."""
    waiting: deque[Future[Tensor | Rejected]] = deque()
    for image in images:
        waiting.append(pool.submit(image_processor.pixels, image))
        if len(waiting) > 2 * CHUNK:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(16, os.cpu_count() or 1), thread_name_prefix="pictures")
