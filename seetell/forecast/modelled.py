"""A stage's samples by their lengths alone: for a plan before the data is there. No file is read, no text encoded."""

from __future__ import annotations

import numpy as np
import torch

from seetell.forecast.lengths import LLAVA_665K, ROWS, lengths
from seetell.train.data import Samples
from seetell.types import Image


def modelled_samples(
    stage: str, rows: int | None, image_id: int, slots: int, *, seed: int = 0, max_tokens: int = 2048
) -> Samples:
    """As many rows of the stage `align` or `tune` as are asked for, else as many as LLaVA-1.5 was trained on.

    `slots` are the image tokens of a picture. Tokens say nothing: `image_id` where a picture stands, another elsewhere.
    """
    known = lengths(1 if stage == "align" else 2, rows or ROWS[stage], seed=seed, slots=slots, max_tokens=max_tokens)
    ends = np.cumsum(known.tokens)
    ids = np.full(int(ends[-1]), 0 if image_id else 1, dtype=np.int32)
    supervised = np.zeros(len(ids), dtype=bool)
    columns = zip(ends.tolist(), known.tokens, known.supervised, known.pictures, known.prefixes, strict=True)
    for end, tokens, learned, picture, prefix in columns:
        if picture >= 0:
            begins = end - tokens + (prefix - slots if prefix else 1)  # behind the system prompt, or behind BOS
            ids[begins : begins + slots] = image_id
        supervised[end - learned : end] = True
    pictures = {number: (Image(f"{LLAVA_665K}/{number}"),) for number in set(known.pictures) if number >= 0}
    count = len(known.tokens)
    return Samples(
        ids=torch.from_numpy(ids),
        supervised=torch.from_numpy(supervised),
        starts=[0, *ends.tolist()],
        names=[str(number) for number in range(count)],
        images=[pictures.get(number, ()) for number in known.pictures],
        entries=list(range(count)),
        rows=list(range(count)),
        rejected=[],
        sources=(LLAVA_665K,),
        source_of=[0] * count,
        image_id=image_id,
    )
