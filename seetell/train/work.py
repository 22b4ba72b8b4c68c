"""The work of a stage, in floating-point operations: what the mathematics asks, and what this plan executes.

A multiplication and an addition are two. Useful is every real token once through every layer, forward and back as
far as something learns, attention at its causal half, the head at rows that predict a label, the tower up to the
layer that is read. Executed adds the tokens that fill up micro-batches, what is computed twice by checkpointing
and by attention's backward pass, and takes off what the last layer leaves out.

Source  Kaplan et al. 2020, arXiv:2001.08361 (2 a weight forward, 4 back); Dao 2023, arXiv:2307.08691 (attention's
backward pass computes the scores again: 2.5 times the forward pass).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from seetell.train.plan import TOKENS_MULTIPLE, Document, Plan
from seetell.train.shapes import Shapes

PARTS = ("tower", "connector", "language", "attention", "head")


@dataclass(frozen=True, slots=True)
class Load:
    """What goes through the model: of a micro-batch, or summed over a whole stage.

    `slots` are the tokens rounded up, `pairs` the tokens that tokens see, `target_pairs` those that targets see;
    `pictures` are in the text, `seen` by the tower.
    """

    tokens: int = 0
    slots: int = 0
    pairs: int = 0
    targets: int = 0
    target_pairs: int = 0
    pictures: int = 0
    seen: int = 0


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations of one part."""

    useful: int
    executed: int


def load_of(plan: Plan, micro_batch: Sequence[Document], targets: Sequence[int], pictures: Sequence[int]) -> Load:
    """The load of a micro-batch; `targets` and `pictures` are counted for each entry of the plan."""
    tokens = pairs = rows = row_pairs = shown = 0
    for document in micro_batch:
        first = plan.prefix(document)
        tokens += plan.tokens(document)
        pairs += first * (first + 1) // 2
        shown += max(pictures[entry] for entry in document)  # the same for all
        for entry in document:
            whole = plan.lengths[entry]
            pairs += whole * (whole + 1) // 2 - first * (first + 1) // 2
            rows += targets[entry]
            row_pairs += targets[entry] * whole - targets[entry] ** 2 // 2  # targets stand at the end, or nearly
    slots = -(-max(tokens, 1) // TOKENS_MULTIPLE) * TOKENS_MULTIPLE
    return Load(tokens, slots, pairs, rows, row_pairs, shown, shown)


def flops(
    shapes: Shapes,
    load: Load,
    learns: Collection[str],
    checkpointing: str = "off",
    pruned: bool = True,
    lora_rank: int = 0,
) -> dict[str, Flops]:
    """Operations by part, forward and backward; with a `lora_rank` the decoder's own weights do not learn."""
    passes = 3 if "language" in learns and not lora_rank else 2  # forward, back to what entered, back to the weights
    low_rank = 6 * shapes.layers * shapes.lora_sides * lora_rank
    again = 1 if checkpointing == "full" else 0
    pruned = pruned and shapes.prunes
    whole, rest = shapes.layers - pruned, shapes.block_matrices - shapes.last_matrices
    matrices = whole * shapes.block_matrices * load.slots
    ends = shapes.end_matrix * (whole * load.slots + (load.targets if pruned else 0))
    if pruned:
        matrices += shapes.last_matrices * load.slots + rest * load.targets
    width = shapes.attention_width
    seen = whole * load.pairs + (load.target_pairs if pruned else 0)
    connector = sum(shapes.connector_matrices)
    rows = load.pictures * shapes.slots
    joint = 2 * rows * connector
    if "connector" in learns:
        joint += 2 * rows * (connector + sum(shapes.connector_matrices[1:]))  # nothing learns before its first layer
    tower = 2 * load.seen * shapes.vision_products
    head = 2 * passes * shapes.head * load.targets
    return {
        "tower": Flops(tower, tower),
        "connector": Flops(joint, joint),
        "language": Flops(
            (2 * passes * shapes.layers * shapes.block_matrices + low_rank) * load.tokens,
            2 * passes * matrices + 2 * again * (matrices - ends) + low_rank * load.slots,
        ),
        "attention": Flops(12 * width * shapes.layers * load.pairs, (14 + 4 * again) * width * seen),
        "head": Flops(head, head),
    }
