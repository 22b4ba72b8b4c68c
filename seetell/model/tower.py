"""The vision tower, run only as far as its features are used.

LLaVA reads the patches of an inner layer (the last but one), so the layers behind it, the final norm and
the pooling are never computed. CLIP and SigLIP are run layer by layer; another tower runs whole and the
hidden state is taken out of it. Numbering is transformers' `hidden_states`: 0 is what enters the first
layer, -1 is what leaves the last, before any final norm.

Shapes  N images, H x W pixels, V tower width, P patches.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from transformers import (
    AutoModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedConfig,
    PreTrainedModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from transformers.initialization import no_init_weights

from seetell.errors import UsageError


def why_not_square(config: Any) -> str | None:
    """Why a tower's config describes none that takes square pictures of one size, if it does not."""
    for name in ("image_size", "patch_size", "hidden_size", "num_hidden_layers"):
        if not isinstance(getattr(config, name, None), int):
            kind = getattr(config, "model_type", "unknown")
            return (
                f"({kind}) says no single number for {name}: only towers that take square pictures of one size are "
                "built here, such as openai/clip-vit-large-patch14-336 or google/siglip2-so400m-patch14-384"
            )
    return None


def layers_used(vision: PreTrainedConfig, feature_layer: int) -> int:
    """How many of the tower's layers lie before the hidden state of that number."""
    depth: int = cast(Any, vision).num_hidden_layers
    used = feature_layer if feature_layer >= 0 else depth + 1 + feature_layer
    if not 0 <= used <= depth:
        raise UsageError(f"The tower has {depth} layers and no {feature_layer}: choose from {-depth - 1} to {depth}.")
    return used


def width(vision: PreTrainedConfig) -> int:
    """V: how wide the tower's features are."""
    if why := why_not_square(vision):
        raise UsageError(f"The vision tower {why}.")
    return cast(Any, vision).hidden_size


def hidden_state(vision: PreTrainedModel, pixels: Tensor, used: int) -> Tensor:
    """[N, 3, H, W] -> [N, tokens, V]: what leaves the first `used` layers, CLS still in front where there is one."""
    if not isinstance(vision, CLIPVisionModel | SiglipVisionModel):
        return vision(pixel_values=pixels, output_hidden_states=True).hidden_states[used]
    hidden: Any = vision.embeddings(pixels)
    if isinstance(vision, CLIPVisionModel):
        hidden = vision.pre_layrnorm(hidden)
    for layer in vision.encoder.layers[:used]:
        hidden = layer(hidden, None)
    return hidden


def has_cls(vision: PreTrainedConfig, used: int) -> bool:
    """Whether the tower of that config puts a CLS token before its patches, in the hidden state that is read.

    A tower that gives other tokens than that is refused.
    """
    if isinstance(vision, CLIPVisionConfig | SiglipVisionConfig):
        return isinstance(vision, CLIPVisionConfig)
    side_px, patch_px = side_and_patch(vision)
    extra = _tokens(vision.to_json_string(use_diff=False), type(vision), side_px, used) - (side_px // patch_px) ** 2
    if extra not in (0, 1):
        before = f"puts {extra} tokens before its patches" if extra > 0 else "has fewer tokens than patches"
        raise UsageError(f"A {vision.model_type} tower {before}: choose one with CLS or nothing there.")
    return extra == 1


@cache
def _tokens(config: str, kind: type[PreTrainedConfig], side_px: int, used: int) -> int:
    """How many tokens the hidden state has: counted on a tower without weights."""
    vision = kind.from_dict(json.loads(config))
    try:
        try:
            return _count(vision, side_px, used, "meta")
        except (NotImplementedError, RuntimeError):  # towers that look at a value on their way
            return _count(vision, side_px, used, "cpu")
    except Exception as error:  # a module of any family, called as LLaVA calls it
        why = " ".join(str(error).split())[:200]
        raise UsageError(f"A {vision.model_type} tower does not take square pictures as CLIP does ({why}).") from error


@torch.no_grad()
def _count(vision: PreTrainedConfig, side_px: int, used: int, device: str) -> int:
    with torch.device(device), no_init_weights():
        tower = AutoModel.from_config(vision, dtype=torch.float32).eval()
    hidden = hidden_state(tower, torch.zeros(2, 3, side_px, side_px, device=device), used)
    if hidden.dim() != 3 or (hidden.shape[0], hidden.shape[2]) != (2, width(vision)):
        raise ValueError(f"two pictures become features of {'x'.join(map(str, hidden.shape))}")
    return hidden.shape[1]


def side_and_patch(vision: PreTrainedConfig) -> tuple[int, int]:
    """The side of the square picture that the tower takes and of its patches, in pixels."""
    config: Any = vision
    return config.image_size, config.patch_size


def normalized(pixels: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 [N, 3, H, W] -> the tower's numbers; a floating tensor is taken as normalized already."""
    if pixels.dtype == torch.uint8:
        pixels = (pixels.to(mean.dtype) / 255.0 - mean[:, None, None]) / std[:, None, None]
    return pixels.to(dtype)
