"""The loss: cross-entropy summed over supervised tokens, and nothing else computed.

A row without a label never meets the language model's head: with a question of 600 tokens and an answer
of 20, and a vocabulary of 32,000, that head would be most of the memory.

Shapes  T tokens of a packed batch, S supervised ones, N images, P slots of an image,
        D language width, V vocabulary (of a tower: its width).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from seetell.model.vlm import VLM
from seetell.train.pictures import MicroBatch


def token_losses(model: VLM, micro: MicroBatch) -> Tensor:
    """-log p(token) of each of the batch's supervised tokens, [S].

    A target is predicted from the token before it, which is of the same document, for a document's first
    token is never supervised.
    """
    batch = micro.batch
    rows = batch.targets - 1 if len(batch.targets) else batch.targets.new_zeros(1)
    tower = model.tower_features(batch.pixels) if micro.tower is None else micro.tower  # [N, P, V]
    features = model.connector(tower)  # [N, P, D]
    hidden = model(
        batch.ids, batch.positions, batch.lengths, features=features, parents=batch.parents, rows=rows
    )  # [S, D]
    logits = model.logits(hidden)  # [S, V]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if not len(batch.targets):  # a pass without labels still goes through every weight: other ranks wait for them
        return (logits.sum() * 0.0).expand(0)
    return functional.cross_entropy(logits, batch.ids[batch.targets], reduction="none")


def supervised_loss(model: VLM, micro: MicroBatch) -> Tensor:
    """The sum, [], of `token_losses`."""
    return token_losses(model, micro).sum()


def sum_by_source(numbers: Tensor, sources: Tensor | None, count: int) -> Tensor:
    """The sum of the tokens' numbers [S] for each of `count` sources, [C]; nobody waits for the device."""
    if sources is None or count == 1:
        return numbers.sum()[None]
    mine = sources == torch.arange(count, device=sources.device)[:, None]  # [C, S]
    return torch.where(mine, numbers, 0.0).sum(1)
