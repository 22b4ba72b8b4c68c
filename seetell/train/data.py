"""A stage's samples: every conversation encoded once, its length known, no picture opened.

The ids of all samples lie in one flat array (five bytes a token), so 600,000 samples fit in memory and a
later epoch costs nothing. What cannot be trained on is a `Rejected` with its reason.

Shapes  T tokens of all samples together, S samples.
"""

from __future__ import annotations

import hashlib
import random
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from seetell.console import progress, say
from seetell.encode.processor import Processor
from seetell.encode.sample import Sample
from seetell.errors import BadInput
from seetell.sources.conversations import read_conversations
from seetell.train.held_out import held_out, sample_keys
from seetell.train.recipe import Data, Stage
from seetell.train.sources import SourceIndex
from seetell.types import Conversation, Image, Rejected


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples by number, and `entries`: an epoch in file order, repeated as `times` says, without those held out.

    `rows` are the samples' places among all rows read; the other rows are in `rejected`, with theirs. `sources` are
    the names of where samples come from, `source_of` the place of each sample's among them.
    """

    ids: Tensor  # [T] int32
    supervised: Tensor  # [T] bool
    starts: list[int]  # S + 1 offsets into both
    names: list[str]
    images: list[tuple[Image, ...]]
    entries: list[int]
    rows: list[int]
    rejected: list[tuple[int, Rejected]]
    sources: tuple[str, ...]
    source_of: list[int]
    image_id: int | None = None  # the token that stands in a picture's places
    held_out: list[int] = field(default_factory=list[int])  # samples of no entry: the stage does not learn from them

    @property
    def lengths(self) -> list[int]:
        """Tokens of each entry, image slots included."""
        return [self.starts[i + 1] - self.starts[i] for i in self.entries]

    def sample(self, entry: int) -> Sample:
        """The sample that an entry of the plan names."""
        i = self.entries[entry]
        span = slice(self.starts[i], self.starts[i + 1])
        return Sample(self.names[i], self.ids[span].long(), self.supervised[span], self.images[i], self.source_of[i])

    def all_images(self) -> Iterator[Image]:
        """Every picture of every sample, in order, with repetitions."""
        return (image for images in self.images for image in images)

    def digest(self) -> str:
        """A hash of all that would be learned from: ids, supervision, names and the order of entries."""
        digest = hashlib.sha256(self.ids.numpy().tobytes())
        digest.update(self.supervised.numpy().tobytes())
        digest.update(repr((self.names, self.entries, self.starts)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def read_samples(stage: Stage, processor: Processor, seed: int, what: str) -> Samples:
    """Reads and encodes all the stage's data; complains only when nothing is left."""
    ids, supervised = array("i"), bytearray()
    starts, names, images, entries, rows, rejected = [0], [], [], [], [], []
    sources = SourceIndex()
    with progress(f"reading {what} data", total=None) as bar:
        for data in stage.data:
            for row in _rows(data, seed):
                bar.advance()
                sample = row if isinstance(row, Rejected) else processor.encode(row, max_tokens=stage.max_tokens)
                number = len(names) + len(rejected)
                if isinstance(sample, Rejected):
                    rejected.append((number, sample))
                    continue
                rows.append(number)
                entries += [len(names)] * data.times
                ids.extend(sample.ids.tolist())
                supervised.extend(sample.supervised.byte().tolist())
                starts.append(len(ids))
                names.append(sample.id)
                images.append(sample.images)
                sources.add(data, sample.images)
    reasons = told(Counter(r.reason for _, r in rejected))
    if not names:
        paths = ", ".join(data.path for data in stage.data)
        raise BadInput(f"Nothing in {paths} can be trained on" + (f": {reasons}." if reasons else ": no rows."))
    if rejected:
        say(f"{len(rejected)} of {len(names) + len(rejected)} rows of {what} are rejected: {reasons}.")
    if not any(images):
        say(f"{what} sees no picture: none of its {len(names)} rows has one.")
    flat = torch.frombuffer(ids, dtype=torch.int32), torch.frombuffer(supervised, dtype=torch.bool)
    read = Samples(*flat, starts, names, images, entries, rows, rejected, *sources.close())
    return hold_out(replace(read, image_id=processor.tokenizer.image_id), stage.held_out, seed, what)


def hold_out(samples: Samples, share: float, seed: int, what: str) -> Samples:
    """The same with the entries of a share of the pictures taken out."""
    if not share:
        return samples
    each = zip(samples.images, samples.starts, samples.starts[1:], strict=False)
    keys = [sample_keys(shown, samples.ids[start:end].numpy().tobytes()) for shown, start, end in each]
    chosen = held_out(keys, share, seed)
    if len(chosen) == len(samples.names):
        raise BadInput(
            f"{what}.held_out={share:g} holds out all {len(chosen)} samples, and none is left to learn from: "
            "hold out less, or give more pictures."
        )
    apart = set(chosen)
    return replace(samples, held_out=chosen, entries=[entry for entry in samples.entries if entry not in apart])


def told(reasons: Mapping[str, int]) -> str:
    """Counts of reasons in a sentence, the most frequent first: "2 × damaged picture, 1 × too long"."""
    return ", ".join(f"{count} × {reason}" for reason, count in Counter(reasons).most_common())


def _rows(data: Data, seed: int) -> Iterator[Conversation | Rejected]:
    """The rows of a file, or the share of them that the seed chooses."""
    chance = random.Random(f"{seed}:{data.path}")
    for row in read_conversations(data.path, data.folder, data.format):
        if data.share == 1.0 or chance.random() < data.share:
            yield row
