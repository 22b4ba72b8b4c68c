"""Our step from the naive one upwards, one change at a time: what each is worth.

The first two rungs are transformers' model and Trainer, padded, with and without checkpointing. From "packed" on it
is our own step, from which the later changes are taken away here, by overriding the model; the package itself holds
no naive path. FLOPs are counted by torch's counter, so they are the same on every machine.

Shapes  T tokens, S supervised ones, N pictures, P slots of one, V tower width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from benchmarks.systems.huggingface import padded_system
from benchmarks.systems.ours import Ours, make_stage
from benchmarks.systems.sizes import Size, as_vlm
from benchmarks.systems.trainer import TrainerSystem
from seetell.model.computing import can_compile
from seetell.model.tower import normalized
from seetell.model.vlm import VLM
from seetell.train.recipe import Stage


class WithoutPruning(Ours):
    """Ours, whose last layer is computed at every place."""

    def _arrange(self) -> None:
        return


def ladder(
    llava: LlavaForConditionalGeneration, size: Size, stage: int, compile: str = "auto", **changed: Any
) -> Iterator[tuple[str, TrainerSystem | Ours]]:
    """Each rung's name and system, from the naive one to all changes; with `compile` "off" its rung is left out.

    In stage 1 the word behind the picture is learnt, so nothing can be shared.
    """

    def ours(kind: Callable[[VLM, Stage], Ours] = Ours, **flags: Any) -> Ours:
        return kind(as_vlm(llava, size), make_stage(stage, **{"compile": "off", **changed, **flags}))

    yield "padded, checkpointing, tower and head whole", padded_system(llava, checkpointing=True)
    yield "no checkpointing", padded_system(llava, checkpointing=False)
    yield "packed", head_whole(tower_whole(ours(WithoutPruning)))
    yield "supervised rows alone meet the head", tower_whole(ours(WithoutPruning))
    yield "tower to the layer used", ours(WithoutPruning)
    yield "last layer where it is read", ours()
    if stage == 2:
        yield "pictures shared", ours(share_images=True)
    if compile != "off" and can_compile(llava.device):
        yield "blocks compiled", ours(share_images=stage == 2, compile="on")


def head_whole(system: Ours) -> Ours:
    """Gives every row its logits, and throws most of them away."""
    vlm = system.vlm
    forward, head = vlm.forward, vlm.head

    def all_logits(*given: Any, rows: Tensor, **named: Any) -> Tensor:
        """-> the logits [T, vocabulary], of which [S, vocabulary] are kept"""
        return head(forward(*given, **named)).float()[rows]

    overrides: Any = vlm
    overrides.forward = all_logits
    overrides.logits = lambda logits: logits
    return system


def tower_whole(system: Ours) -> Ours:
    """Runs the tower to its end, pooling and all, for the hidden state before the last layer."""
    vlm = system.vlm
    drops = int(vlm.drops_cls)
    before = vlm.tower_features

    @torch.no_grad()
    def whole(pixels: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, P, V]"""
        if pixels.shape[0] == 0:
            return before(pixels)
        numbers = normalized(pixels, vlm.pixel_mean, vlm.pixel_std, vlm.vision.dtype)
        return vlm.vision(numbers, output_hidden_states=True).hidden_states[vlm.feature_layer][:, drops:]

    overrides: Any = vlm
    overrides.tower_features = whole
    return system
