"""A recipe's model without its weights: the same modules, built from configs alone.

On the meta device it costs no memory and tells every shape, of any family. On a real device its weights are
random and it can have fewer layers: what a step costs there can be timed.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from seetell.encode.tokenizer import Tokenizer
from seetell.model.hub import build_model
from seetell.model.parts import reading
from seetell.model.vlm import VLM
from seetell.train.activations import shortened
from seetell.train.recipe import Model
from seetell.train.start import planned_config


def outline(
    model: Model, tokenizer: Tokenizer, device: str = "meta", layers: int | None = None, tower_layers: int | None = None
) -> VLM:
    """The recipe's model without its weights, its decoder and its tower perhaps cut to their first layers."""
    config = planned_config(model, tokenizer)
    if layers is not None:
        config = replace(config, language=shortened(config.language, layers))
    if tower_layers is not None:
        config = replace(config, vision=shortened(config.vision, tower_layers), feature_layer=-1)
    what = model.start or f"{model.vision} with {model.language}"
    with reading("configs of", what), torch.device(device):
        return build_model(config, what)
