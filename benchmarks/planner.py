"""The planner on the modelled 665K mixture: slots lost, balance of the ranks, tokens saved, seconds on one core.

    python benchmarks/planner.py [--rows 665298] [--micro-tokens 8192] --json planner.json

Every step is planned for 1, 2 and 8 ranks, counted in samples and packed, with and without shared pictures.
`lost` are the slots that rounding up to a multiple of 128 adds, `uneven` what the fullest rank holds above the
mean, over the epoch and in the worst step, `full` how much of the token budget the passes use.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from seetell.forecast.lengths import Lengths, lengths
from seetell.train.plan import TOKENS_MULTIPLE, Plan


@dataclass(frozen=True, slots=True)
class Planned:
    """One way to plan an epoch, in figures; fractions but for counts and seconds."""

    share_images: bool
    steps: str
    ranks: int
    step_count: int
    passes_per_rank: int
    samples_per_step: tuple[int, int]
    lost: float
    uneven_epoch: float
    uneven_step: float
    full: float
    tokens_saved: float
    seconds: float


def measure(rows: Lengths, micro_tokens: int, share_images: bool, packed: bool, ranks: int) -> Planned:
    """Plans all steps of one epoch, 128 samples each."""
    shared = (rows.pictures, rows.prefixes) if share_images else ((), ())
    began_s = time.process_time()
    plan = Plan(rows.tokens, 128, 1, 0, micro_tokens, packed, *shared)
    epoch = [plan.micro_batches(step, ranks) for step in range(plan.steps)]
    seconds = time.process_time() - began_s
    tokens = [
        [[sum(map(plan.tokens, micro)) for micro in rank] for rank in step]
        for step in epoch
    ]  # fmt: skip
    by_rank = [[sum(rank) for rank in step] for step in tokens]
    total = sum(map(sum, by_rank))
    slots = sum(-(-n // TOKENS_MULTIPLE) * TOKENS_MULTIPLE for step in tokens for rank in step for n in rank)
    passes = sum(len(step[0]) for step in tokens)
    counts = [len(plan.entries(step)) for step in range(plan.steps)]
    return Planned(
        share_images=share_images,
        steps="packed" if packed else "samples",
        ranks=ranks,
        step_count=plan.steps,
        passes_per_rank=passes,
        samples_per_step=(min(counts[:-1]), max(counts)),
        lost=(slots - total) / slots,
        uneven_epoch=max(map(sum, zip(*by_rank, strict=True))) * ranks / total - 1,
        uneven_step=max(max(step) * ranks / sum(step) - 1 for step in by_rank),
        full=total / (passes * ranks * micro_tokens),
        tokens_saved=1 - total / sum(rows.tokens),
        seconds=seconds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--micro-tokens", type=int, default=8192)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = lengths(2, options.rows)
    print(f"{len(rows.tokens):,} rows, {sum(rows.tokens) / len(rows.tokens):.1f} tokens in the mean")
    print("shared steps   ranks   steps  passes  samples/step   lost  uneven: epoch   step   full  saved  seconds")
    found = []
    for share_images, packed, ranks in product((False, True), (False, True), (1, 2, 8)):
        one = measure(rows, options.micro_tokens, share_images, packed, ranks)
        found.append(asdict(one))
        least, most = one.samples_per_step
        print(
            f"{'yes' if share_images else 'no':6} {one.steps:7} {ranks:5} {one.step_count:7,} {one.passes_per_rank:7,} "
            f"{least:7}-{most:<4} {one.lost:8.2%} {one.uneven_epoch:14.3%} {one.uneven_step:6.2%} {one.full:6.1%} "
            f"{one.tokens_saved:6.1%} {one.seconds:8.1f}"
        )
    if options.json:
        options.json.write_text(json.dumps({"rows": len(rows.tokens), "planned": found}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
