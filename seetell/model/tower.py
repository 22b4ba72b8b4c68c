"""The vision tower, run only as far as its features are used.

LLaVA reads the patches of an inner layer (the last but one), so the layers behind it, the final norm and
the pooling are never computed. CLIP and SigLIP are run layer by layer; another tower runs whole and the
hidden state is taken out of it. Numbering is transformers' `hidden_states`: 0 is what enters the first
layer, -1 is what leaves the last, before any final norm.

Shapes  N images, H x W pixels, V tower width, P patches.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionModel, PreTrainedModel, SiglipVisionModel

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


def layers_used(vision: PreTrainedModel, feature_layer: int) -> int:
    """How many of the tower's layers lie before the hidden state of that number."""
    config: Any = vision.config
    depth: int = config.num_hidden_layers
    used = feature_layer if feature_layer >= 0 else depth + 1 + feature_layer
    if not 0 <= used <= depth:
        raise UsageError(f"The tower has {depth} layers and no {feature_layer}: choose from {-depth - 1} to {depth}.")
    return used


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


@torch.no_grad()
def has_cls(vision: PreTrainedModel) -> bool:
    """Whether the tower puts a CLS token before its patches; a tower with more tokens than that is refused."""
    if isinstance(vision, CLIPVisionModel | SiglipVisionModel):
        return isinstance(vision, CLIPVisionModel)
    side_px, patch_px = side_and_patch(vision)
    blank = torch.zeros(1, 3, side_px, side_px, dtype=vision.dtype, device=vision.device)
    extra = hidden_state(vision, blank, 0).shape[1] - (side_px // patch_px) ** 2
    if extra not in (0, 1):
        raise UsageError(
            f"{type(vision).__name__} puts {extra} tokens before its patches: choose a tower with one or none."
        )
    return extra == 1


def side_and_patch(vision: PreTrainedModel) -> tuple[int, int]:
    """The side of the square picture that the tower takes and of its patches, in pixels."""
    config: Any = vision.config
    side_px, patch_px = config.image_size, config.patch_size
    if not (isinstance(side_px, int) and isinstance(patch_px, int)):
        raise UsageError(
            f"{type(vision).__name__} takes pictures of {side_px} in patches of {patch_px}: choose square ones."
        )
    return side_px, patch_px


def normalized(pixels: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 [N, 3, H, W] -> the tower's numbers; a floating tensor is taken as normalized already."""
    if pixels.dtype == torch.uint8:
        pixels = (pixels.to(mean.dtype) / 255.0 - mean[:, None, None]) / std[:, None, None]
    return pixels.to(dtype)
