"""The loss: cross-entropy summed over supervised tokens, and nothing else computed.

A row without a label never meets the language model's head: with a question of 600 tokens and an answer
of 20, and a vocabulary of 32,000, that head would be most of the memory.

Shapes  T tokens of a packed batch, S supervised ones, N images, P slots of an image,
        D language width, V vocabulary (of a tower: its width).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seetell.model.vlm import VLM
from seetell.train.hardware import CHUNK_CPU, CHUNK_GPU
from seetell.train.pictures import MicroBatch


def token_losses(model: VLM, micro: MicroBatch) -> Tensor:
    """-log p(token) of each of the batch's supervised tokens, [S].

    A target is predicted from the token before it, which is of the same document, for a document's first
    token is never supervised. Nothing here waits for the device: what the host must know, packing knew.
    """
    batch = micro.batch
    host_targets = batch.targets if batch.host_targets is None else batch.host_targets
    rows, host_rows = (
        targets - 1 if len(targets) else targets.new_zeros(1) for targets in (batch.targets, host_targets)
    )
    tower = model.tower_features(batch.pixels) if micro.tower is None else micro.tower  # [N, P, V]
    features = model.connector(tower)  # [N, P, D]
    hidden = model(
        batch.ids,
        batch.positions,
        batch.lengths,
        features=features,
        parents=batch.parents,
        rows=rows,
        host_rows=host_rows,
        image_rows=batch.image_rows,
    )  # [S, D]
    logits = model.logits(hidden)  # [S, V]
    if not len(batch.targets):  # a pass without labels still goes through every weight: other ranks wait for them
        return (logits.float().sum() * 0.0).expand(0)
    return CrossEntropy.apply(logits, batch.ids[batch.targets])


class CrossEntropy(torch.autograd.Function):
    """-log softmax(logits [S, V]) at targets [S] -> [S] in float32 or wider.

    `torch.nn.functional.cross_entropy` holds two more tensors of [S, V], three under bfloat16. Here the gradient takes
    the place of the logits, a few rows at a time, so nobody else may read them afterwards.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        kind = torch.promote_types(logits.dtype, torch.float32)
        total = torch.cat([some.to(kind).logsumexp(1) for some in logits.split(_rows_at_once(logits))])
        ctx.save_for_backward(logits, targets, total)
        return total - logits.gather(1, targets[:, None])[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        logits, targets, total = ctx.saved_tensors
        parts = (tensor.split(_rows_at_once(logits)) for tensor in (logits, targets, total, gradients[0]))
        for some, target, whole, weight in zip(*parts, strict=True):
            share = some.to(whole.dtype).sub_(whole[:, None]).exp_()
            share[torch.arange(len(target), device=target.device), target] -= 1
            some.copy_(share.mul_(weight[:, None]))
        return logits, None


def _rows_at_once(logits: Tensor) -> int:
    return max(1, (CHUNK_CPU if logits.device.type == "cpu" else CHUNK_GPU) // logits.shape[1])


def supervised_loss(model: VLM, micro: MicroBatch) -> Tensor:
    """The sum, [], of `token_losses`."""
    return token_losses(model, micro).sum()


def sum_by_source(numbers: Tensor, sources: Tensor | None, count: int) -> Tensor:
    """The sum of the tokens' numbers [S] for each of `count` sources, [C]; nobody waits for the device."""
    if sources is None or count == 1:
        return numbers.sum()[None]
    mine = sources == torch.arange(count, device=sources.device)[:, None]  # [C, S]
    return torch.where(mine, numbers, 0.0).sum(1)
