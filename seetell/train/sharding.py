"""A model cut into shards: every rank keeps its part of each matrix, and gathers a block only while it runs.

FSDP2 (`fully_shard`) for every decoder block; connector, embeddings, final norm and head form the root's group, where
a head that is the table of embeddings stays one with it. The frozen tower is small and is replicated. Over several
nodes the shards lie within a node and nodes are replicas of each other (HSDP), so that only gradients cross.

FSDP2 takes the mean of the ranks' gradients, while the loss is a mean over the whole step's tokens: losses are
therefore scaled by the number of ranks. (Its own divide factor holds for one module alone and asks gloo for an
operation that it lacks.) Every rank makes as many passes as every other; one that has no picture passes an empty
tensor through the connector, or the others would wait for its gradient for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from seetell.model.casting import place_parameters
from seetell.model.last_layer import blocks
from seetell.model.vlm import VLM
from seetell.train.loss import token_losses
from seetell.train.pictures import MicroBatch
from seetell.train.ranks import Ranks
from seetell.train.recipe import Stage


def is_sharded(stage: Stage, ranks: Ranks) -> bool:
    """Whether a stage's model is cut up: by itself, when the whole language model learns on more than one rank."""
    return ranks.count > 1 and stage.shardings[0]


class Shards(nn.Module):
    """The root of a sharded model: what is called in place of `token_losses`, gathered and let go as it runs."""

    def __init__(
        self,
        model: VLM,
        ranks: Ranks,
        precision: torch.dtype,
        types: Mapping[nn.Parameter, torch.dtype] | None = None,
        roomy: bool = False,
    ) -> None:
        """What learns must be chosen already. The model may lie anywhere and in any type: its shards go to the rank's
        device, each weight in its type of `types`; without them, in float32.

        With room for all of it (`estimate.is_roomy`), what was gathered stays until the backward pass, and whole
        gradients until they meet once a step.
        """
        super().__init__()
        self.model = model
        self.roomy = roomy
        types = types or dict.fromkeys(model.parameters(), torch.float32)
        place_parameters(model.vision, types, ranks.device)
        cast(nn.Module, model.vision).to(ranks.device)
        how: dict[str, Any] = {
            "mesh": _mesh(ranks),
            "ignored_params": set(model.vision.parameters()),
            "mp_policy": _arithmetic(ranks.device, precision),
        }
        for block in blocks(model.language):  # one after the other, so that never two are whole
            place_parameters(block, types, ranks.device)
            fully_shard(block, **how, reshard_after_forward=not self.roomy)
        for part in (model.connector, model.language):
            place_parameters(part, types, ranks.device)
        fully_shard(self, **how, reshard_after_forward=False)

    def forward(self, micro: MicroBatch) -> Tensor:
        """-log p(token) of each of the batch's supervised tokens, [S]."""
        return token_losses(self.model, micro)

    def losses(self, micro: MicroBatch, last: bool) -> Tensor:
        """The same, [S], for the step's last pass or one before it: gradients are summed over the ranks at the last."""
        cast(FSDPModule, self).set_requires_gradient_sync(last or not self.roomy)
        return self(micro)

    @contextmanager
    def forward_only(self) -> Iterator[None]:
        """For passes without a backward pass, which every rank makes: at the end nothing of them stays gathered."""
        try:
            yield
        finally:
            for part in self.modules():
                if isinstance(part, FSDPModule):
                    part.reshard()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Every rank holds the whole model and may run any part of it, without the others.

        FSDP's hooks are taken off meanwhile: they would remember the order in which a rank's blocks ran, and ask for
        shards in that order in the next backward pass, which the other ranks would not.
        """
        parts = [part for part in self.modules() if isinstance(part, FSDPModule)]
        hooks = [(part._forward_pre_hooks, part._forward_hooks) for part in parts]
        for part in parts:
            part.unshard()
            part._forward_pre_hooks, part._forward_hooks = OrderedDict(), OrderedDict()
        try:
            yield
        finally:
            for part, (before, after) in zip(parts, hooks, strict=True):
                part._forward_pre_hooks, part._forward_hooks = before, after
                part.reshard()


def _mesh(ranks: Ranks) -> DeviceMesh:
    within = ranks.count // ranks.nodes
    if ranks.nodes == 1 or within == 1:
        return init_device_mesh(ranks.device.type, (ranks.count,))
    return init_device_mesh(ranks.device.type, (ranks.nodes, within), mesh_dim_names=("nodes", "within"))


def _arithmetic(device: torch.device, precision: torch.dtype) -> MixedPrecisionPolicy:
    """On a GPU bfloat16 is gathered and multiplied, float32 kept and summed; on a CPU autocast alone decides."""
    if device.type != "cuda" or precision != torch.bfloat16:
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
