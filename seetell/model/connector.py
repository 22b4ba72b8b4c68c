"""The connector: a small network that turns what the tower saw into embeddings the language model can read.

LLaVA's first version is one linear layer, 1.5 is Linear-GELU-Linear (the exact erf GELU), and any depth
`mlpN` works. Layers are named as the hub names them (`linear_1`, `linear_2`, ...), so that a checkpoint
needs no renaming. Initialized as PyTorch initializes a linear layer, which is what LLaVA does.

Source  Liu et al. 2023, arXiv:2304.08485 (linear) and arXiv:2310.03744 (MLP).

Shapes  N images, P slots of one image, V tower width, D language width.
"""

from __future__ import annotations

import difflib
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from seetell.errors import UsageError
from seetell.model.layouts import CONNECTORS


class LinearStack(nn.Module):
    """`depth` linear layers with a GELU between each two: V -> D -> ... -> D."""

    def __init__(self, name: str, depth: int, vision_width: int, language_width: int) -> None:
        super().__init__()
        self.name = name
        for layer in range(1, depth + 1):
            width_in = vision_width if layer == 1 else language_width
            self.add_module(f"linear_{layer}", nn.Linear(width_in, language_width))

    def forward(self, features: Tensor) -> Tensor:
        """[N, P, V] -> [N, P, D]"""
        layers = [cast(nn.Linear, layer) for layer in self.children()]
        # A tower is often stored in another type than the rest.
        features = layers[0](features.to(layers[0].weight.dtype))
        for layer in layers[1:]:
            features = layer(functional.gelu(features))
        return features


def build_connector(name: str, vision_width: int, language_width: int, seed: int = 0) -> LinearStack:
    """The named connector with fresh weights; the same seed gives the same weights."""
    if name not in CONNECTORS:
        near = difflib.get_close_matches(name, CONNECTORS, n=1)
        hint = f"did you mean {near[0]!r}" if near else f"it is one of {', '.join(CONNECTORS)}"
        raise UsageError(f"There is no connector {name!r}: {hint}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        depth = CONNECTORS[name]
        return LinearStack("linear" if depth == 1 else name, depth, vision_width, language_width)


def slots(side_px: int, patch_px: int, keep_cls: bool = False) -> int:
    """How many places of the sentence one square picture takes: one a patch, and one for CLS when it is kept."""
    return (side_px // patch_px) ** 2 + int(keep_cls)
