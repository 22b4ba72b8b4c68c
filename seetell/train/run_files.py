"""Where a run leaves its models, and the names of what it writes for its readers beside them."""

from __future__ import annotations

from pathlib import Path

from seetell.files import MANIFEST
from seetell.train.recipe import Recipe

METRICS = "metrics.jsonl"
HELD_OUT_LOSS = "held_out_loss"  # a figure of some of its rows
NOT_FINITE = "not_finite.jsonl"
REFUSED = "refused.jsonl"
OBSERVATIONS, OBSERVED = "observations.jsonl", "observed"  # words, and the pictures that they are about
EVENTS = "events.jsonl"
BOARD = "tensorboard"
PAGE = "run.html"


def target_of(recipe: Recipe, out: Path, stage: str) -> Path:
    """Where a stage's model goes: the last one's is the run's."""
    return out / "model" if stage == recipe.last_stage else out / "aligned"


def is_finished(folder: Path) -> bool:
    """Whether a model folder was written to its end; the manifest comes last."""
    return (folder / MANIFEST).is_file()
