"""The vision tower, run only as far as its features are used.

LLaVA reads the patches of an inner layer (the last but one), so the layers behind it, the final norm and
the pooling are never computed. CLIP and SigLIP are run layer by layer; another tower runs whole and the
hidden state is taken out of it. Numbering is transformers' `hidden_states`: 0 is what enters the first
layer, -1 is what leaves the last, before any final norm.

Shapes  N images, H x W pixels, V tower width, P patches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..console import UsageError


def layers_used(vision: nn.Module, feature_layer: int) -> int:
    """How many of the tower's layers lie before the hidden state of that number."""
    depth: int = vision.config.num_hidden_layers
    used = feature_layer if feature_layer >= 0 else depth + 1 + feature_layer
    if not 0 <= used <= depth:
        raise UsageError(f"feature_layer {feature_layer} is outside a tower of {depth} layers: choose from {-depth - 1} to {depth}.")
    return used


def hidden_state(vision: nn.Module, pixels: Tensor, used: int) -> Tensor:
    """[N, 3, H, W] -> [N, tokens, V]: what leaves the first `used` layers, CLS still in front where there is one."""
    encoder = getattr(vision, "encoder", None)
    if not (hasattr(vision, "embeddings") and hasattr(encoder, "layers")):
        return vision(pixel_values=pixels, output_hidden_states=True).hidden_states[used]
    hidden = vision.embeddings(pixels)
    if hasattr(vision, "pre_layrnorm"):  # so spelled in CLIP's own checkpoints
        hidden = vision.pre_layrnorm(hidden)
    for layer in encoder.layers[:used]:
        hidden = layer(hidden, None)
    return hidden


def has_cls(vision: nn.Module) -> bool:
    """Whether the tower puts a CLS token before its patches; a tower with more tokens than that is refused."""
    side_px, patch_px = side_and_patch(vision)
    patches = (side_px // patch_px) ** 2
    table = getattr(vision.embeddings, "position_embedding", None) or getattr(vision.embeddings, "position_embeddings", None)
    positions = patches if table is None else table.weight.shape[0] if isinstance(table, nn.Embedding) else table.shape[1]
    extra = positions - patches + int(getattr(vision.config, "num_register_tokens", 0))
    if extra not in (0, 1):
        raise UsageError(f"{type(vision).__name__} puts {extra} tokens before its patches, LLaVA knows at most one: choose another tower.")
    return extra == 1


def side_and_patch(vision: nn.Module) -> tuple[int, int]:
    """The side of the square picture that the tower takes and of its patches, in pixels."""
    side_px, patch_px = vision.config.image_size, vision.config.patch_size
    if not (isinstance(side_px, int) and isinstance(patch_px, int)):
        raise UsageError(f"{type(vision).__name__} has pictures of {side_px} and patches of {patch_px}: only square ones are known.")
    return side_px, patch_px


def normalized(pixels: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 [N, 3, H, W] -> the tower's numbers; a floating tensor is taken as normalized already."""
    if pixels.dtype == torch.uint8:
        pixels = (pixels.to(mean.dtype) / 255.0 - mean[:, None, None]) / std[:, None, None]
    return pixels.to(dtype)
