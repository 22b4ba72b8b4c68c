"""A model and the hub's names of its tensors: built empty from its config, and named as files name it."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM

from seetell.errors import BadInput
from seetell.model.config import ModelConfig
from seetell.model.connector import build_connector
from seetell.model.layouts import hub_name
from seetell.model.tower import width
from seetell.model.vlm import VLM


def build_model(config: ModelConfig, what: str) -> VLM:
    """The modules that a config describes, in float32; `what` is whose config it is, for messages.

    Their weights are fresh. Under `no_init_weights` or on the meta device they are nothing yet.
    """
    vision, language = cast(Any, config.vision), cast(Any, config.language)
    try:
        tower = AutoModel.from_config(vision, dtype=torch.float32)
        decoder = AutoModelForCausalLM.from_config(language, dtype=torch.float32)
        connector = build_connector(config.connector, width(vision), language.hidden_size)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{what} does not describe a model that can be built ({error}).") from error
    return VLM(
        tower,
        connector,
        decoder,
        image_id=config.image_id,
        pixel_mean=config.pixel_mean,
        pixel_std=config.pixel_std,
        feature_layer=config.feature_layer,
        keep_cls=config.keep_cls,
    )


def hub_tensors(vlm: VLM) -> dict[str, Tensor]:
    """A model's tensors in the hub's names; a tied head is not repeated."""
    return {name_on_hub(vlm, name): tensor for name, tensor in (own_tensors(vlm) | second_layer(vlm)).items()}


def name_on_hub(vlm: VLM, name: str) -> str:
    """The hub's name of a tensor of this model."""
    return hub_name(name, vlm.language.base_model_prefix, str(vlm.vision.config.model_type))


def second_layer(vlm: VLM) -> dict[str, Tensor]:
    """What stands behind a `linear` connector in files: a layer that says nothing. Other connectors have none."""
    if vlm.connector.name != "linear":
        return {}
    bias = vlm.connector.get_parameter("linear_1.bias").detach()
    eye = torch.eye(len(bias), dtype=bias.dtype, device=bias.device)
    return {"connector.linear_2.weight": eye, "connector.linear_2.bias": torch.zeros_like(bias)}


def own_tensors(vlm: VLM) -> dict[str, Tensor]:
    """A model's tensors in our names, without the head when it is the embedding itself."""
    tensors = vlm.state_dict()
    if is_tied(vlm):
        del tensors[weight_name(vlm, vlm.head)]
    return tensors


def is_tied(vlm: VLM) -> bool:
    """Whether the head is the table of embeddings itself."""
    return bool(cast(Any, vlm.language.config).tie_word_embeddings)


def weight_name(vlm: VLM, part: nn.Module) -> str:
    """What a module's weight is called in our names."""
    return next(f"{name}.weight" for name, module in vlm.named_modules() if module is part)
