"""A recipe's model without its weights: the same modules, built from configs alone.

On the meta device it costs no memory and tells every shape, of any family. On a real device its weights are
random and it can have fewer layers: what a step costs there can be timed.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, LlavaConfig

from seetell.encode.tokenizer import Tokenizer
from seetell.errors import BadInput
from seetell.model.connector import build_connector
from seetell.model.folders import model_folder, whole_folder
from seetell.model.parts import ROWS_MULTIPLE, reading, vision_config
from seetell.model.vlm import VLM
from seetell.model.weights import read_config
from seetell.train.activations import shortened
from seetell.train.recipe import Model


def outline(
    model: Model, tokenizer: Tokenizer, device: str = "meta", layers: int | None = None, tower_layers: int | None = None
) -> VLM:
    """The recipe's model without its weights, its decoder and its tower perhaps cut to their first layers."""
    vision, language, connector, feature_layer, keep_cls = _configs(model, len(tokenizer))
    if layers is not None:
        language = shortened(language, layers)
    if tower_layers is not None:
        vision, feature_layer = shortened(vision, tower_layers), -1
    what = model.start or f"{model.vision} with {model.language}"
    with reading("configs of", what), torch.device(device):
        tower = AutoModel.from_config(vision, dtype=torch.float32)
        decoder = AutoModelForCausalLM.from_config(language, dtype=torch.float32)
    with torch.device(device):
        joint = build_connector(connector, vision.hidden_size, language.hidden_size)
    constants = {"pixel_mean": (0.5, 0.5, 0.5), "pixel_std": (0.25, 0.25, 0.25)}  # they have no part in any cost
    return VLM(
        tower,
        joint,
        decoder,
        image_id=tokenizer.image_id,
        feature_layer=feature_layer,
        keep_cls=keep_cls,
        **constants,
    )


def language_config(model: Model) -> Any:
    """The config of the recipe's language model."""
    return _configs(model, 0)[1]


def _configs(model: Model, vocabulary: int) -> tuple[Any, Any, str, int, bool]:
    """Of the tower and the language model, with the connector's name and what is read of the tower."""
    if not model.start:
        with reading("language model", model.language):
            language = AutoConfig.from_pretrained(model.language)
        if vocabulary > language.vocab_size:
            language.vocab_size = -(-vocabulary // ROWS_MULTIPLE) * ROWS_MULTIPLE
        return vision_config(model.vision), language, model.connector, model.feature_layer, model.keep_cls
    config = read_config(whole_folder(model_folder(model.start)))
    try:
        whole: Any = LlavaConfig(vision_config=dict(config["vision_config"]), text_config=dict(config["text_config"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{model.start}/config.json does not describe a model that can be built ({error}).") from error
    linear = config.get("projector_hidden_act") == "linear"
    connector = config.get("connector") or ("linear" if linear else "mlp2")
    keep_cls = config.get("vision_feature_select_strategy") == "full"
    return whole.vision_config, whole.text_config, connector, int(config.get("vision_feature_layer", -2)), keep_cls
