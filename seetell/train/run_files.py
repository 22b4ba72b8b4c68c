"""The names of what a run writes for its readers, beside its models and checkpoints."""

from __future__ import annotations

METRICS = "metrics.jsonl"
HELD_OUT_LOSS = "held_out_loss"  # a figure of some of its rows
NOT_FINITE = "not_finite.jsonl"
REFUSED = "refused.jsonl"
OBSERVATIONS, OBSERVED = "observations.jsonl", "observed"  # words, and the pictures that they are about
EVENTS = "events.jsonl"
BOARD = "tensorboard"
PAGE = "run.html"
