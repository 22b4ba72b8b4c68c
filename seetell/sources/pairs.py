"""Stage-1 rows: a picture, a request to describe it in brief, and a caption as the answer.

The requests are ours, eleven as in the published sets, and are drawn evenly; the picture stands before or after the
words at random. Source: Liu et al. 2023 (arXiv:2304.08485), appendix on the pre-training data.
"""

from __future__ import annotations

import random

from seetell.types import Conversation, Image, Turn

BRIEF_REQUESTS = (
    "Say in a sentence what this picture shows.",
    "What is in this picture, in short?",
    "Sum up the picture in a few words.",
    "Give the picture a short caption.",
    "Tell me briefly what there is to see here.",
    "In one sentence, what is this?",
    "Write a plain caption for this photo.",
    "What does the picture show? Be brief.",
    "Put what you see into one short sentence.",
    "Name the main thing that this picture shows.",
    "Caption this image in one line.",
)


def pair(id: str, image: Image, caption: str, seed: int = 0) -> Conversation:
    """One row; the same seed and id always give the same request and place."""
    rng = random.Random(f"pair:{seed}:{id}")
    request = rng.choice(BRIEF_REQUESTS)
    parts = (image, request) if rng.random() < 0.5 else (request, image)
    return Conversation(id, (Turn("user", parts), Turn("assistant", (caption.strip(),))), source="pairs")
