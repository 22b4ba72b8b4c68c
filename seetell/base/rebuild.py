"""Make the shipped base again: tokenizer, language model and CLIP, one after the other, then both gates.

It takes as long as it is given; the defaults are what the shipped base was given on one CPU core each.
"""

from __future__ import annotations

import time
from pathlib import Path

from seetell.base import gates, language, vision
from seetell.console import say
from seetell.files import write_json

WEIGHTS = Path(__file__).parent / "weights"
LANGUAGE_S = 7200.0
VISION_S = 9000.0


def rebuild(folder: Path = WEIGHTS, language_s: float = LANGUAGE_S, vision_s: float = VISION_S) -> dict[str, object]:
    """Pretrains `folder`/llm and `folder`/clip anew and writes what the gates measured to `folder`/gates.json."""
    started = time.monotonic()
    say(f"Pretraining the tiny base in {folder}: about {(language_s + vision_s) / 60:.0f} minutes.")
    tokenizer = language.train_tokenizer()
    language.pretrain(folder / "llm", tokenizer, language_s)
    vision.pretrain(folder / "clip", tokenizer, vision_s)
    measured: dict[str, object] = {**gates.measure(folder), "seconds": round(time.monotonic() - started)}
    write_json(folder / "gates.json", measured)
    return measured
