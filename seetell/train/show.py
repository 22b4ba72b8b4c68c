"""What the model is about to learn from, as it sees it: a few samples decoded, supervised tokens marked.

A mask that is off by one shows here at once, before any hour is spent.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from seetell.console import console, marked, say
from seetell.encode.processor import Processor
from seetell.encode.sample import Sample
from seetell.text import shortened
from seetell.train.data import Samples

SHOWN = 3


def show_samples(samples: Samples, processor: Processor, what: str) -> None:
    """Prints the first samples of a stage."""
    say(f"The first samples of {what}, as the model sees them; what it learns to say is marked:")
    for entry in range(min(SHOWN, len(samples.entries))):
        sample = samples.sample(entry)
        pieces = [(f"{shortened(sample.id)}: ", False), *sample_pieces(sample, processor)]
        console.print(marked(pieces, console), soft_wrap=True)


def sample_pieces(sample: Sample, processor: Processor) -> Iterator[tuple[str, bool]]:
    """A sample's text in pieces that are supervised or not; a run of image slots is shortened to its count.

    Each piece is what its ids add to all the text before: alone, some tokenizers would swallow its first space.
    """
    image_id = processor.tokenizer.image_id
    ids: list[int] = []
    told = 0
    tokens = zip(sample.ids.tolist(), sample.supervised.tolist(), strict=True)
    for (is_image, supervised), run in groupby(tokens, key=lambda token: (token[0] == image_id, token[1])):
        new = [token for token, _ in run]
        if is_image:
            yield f"<image × {len(new)}>", supervised
            continue
        ids += new
        text = processor.tokenizer.decode(ids, skip_special_tokens=False)
        yield text[told:], supervised
        told = len(text)
