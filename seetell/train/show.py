"""What the model is about to learn from, as it sees it: a few samples decoded, supervised tokens in colour.

A mask that is off by one shows here at once, before any hour is spent.
"""

from __future__ import annotations

from itertools import groupby

from seetell.console import console, marked, say
from seetell.encode.processor import Processor
from seetell.train.data import Samples

SHOWN = 3


def show_samples(samples: Samples, processor: Processor, what: str) -> None:
    """Prints the first samples, a run of image slots shortened to its count."""
    say(f"The first samples of {what}, as the model sees them; what it learns to say is marked:")
    for entry in range(min(SHOWN, len(samples.entries))):
        sample = samples.sample(entry)
        pieces: list[tuple[str, bool]] = []
        tokens = zip(sample.ids.tolist(), sample.supervised.tolist(), strict=True)
        image_id = processor.tokenizer.image_id
        for (is_image, supervised), run in groupby(tokens, key=lambda token: (token[0] == image_id, token[1])):
            ids = [token[0] for token in run]
            text = processor.tokenizer.decode(ids, skip_special_tokens=False)
            pieces.append((f"<image × {len(ids)}>" if is_image else text, supervised))
        console.print(marked([(f"{sample.id}: ", False), *pieces]), soft_wrap=True)
