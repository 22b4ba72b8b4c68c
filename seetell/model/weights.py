"""Weights in and out: the folder that people get, read back strictly, and a new model from its parts.

A folder is what transformers calls `LlavaForConditionalGeneration`: config.json and safetensors in the hub's
names. Its connector has always two layers there, so `mlp2` is itself, and `linear` is itself followed by the
identity, with nothing (`linear`) between: exact, and read back as `linear`. What LLaVA has no place for (deeper
connectors, languages that name their body otherwise) is saved as `model_type: seetell`, in the same names.

Beside LLaVA's own keys the config keeps `pixel_mean` and `pixel_std`, which the tower cannot do without.
A missing, surplus or misshapen tensor is an error that names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, LlavaConfig, PreTrainedConfig
from transformers.initialization import no_init_weights

from ..console import BadInput, UsageError
from ..files import read_json, write_json
from .connector import CONNECTORS, build_connector
from .layouts import COMPUTED, hub_name, module_name
from .tensors import TensorFolder, write_tensors
from .vlm import VLM

NAMED_AT_MOST = 6


def save_model(vlm: VLM, folder: str | Path, stop_ids: Sequence[int] = ()) -> None:
    """Writes config, generation config and weights; the processor's files beside them are left alone.

    `stop_ids` are the tokens that end an answer, for those who generate with transformers.
    """
    folder = Path(folder)
    write_tensors(folder, hub_tensors(vlm))
    write_json(folder / "config.json", model_config(vlm))
    text = vlm.language.config
    generation: dict[str, object] = {
        "bos_token_id": text.bos_token_id,
        "eos_token_id": list(stop_ids) or text.eos_token_id,
        "pad_token_id": text.pad_token_id,
    }
    write_json(folder / "generation_config.json", {key: value for key, value in generation.items() if value is not None})


def load_model(folder: str | Path, dtype: torch.dtype | None = None, device: str | torch.device = "cpu") -> VLM:
    """A saved model, in evaluation mode; `dtype` None keeps every tensor as it is stored."""
    folder = Path(folder)
    config = read_config(folder)
    vlm = empty_model(config, folder)
    files = TensorFolder(folder)
    base: str = vlm.language.base_model_prefix
    names = {name: module_name(name, base) for name in files}
    surplus = [name for name, inside in names.items() if inside is None and not COMPUTED.search(name)]
    tensors = {inside: files[name] for name, inside in names.items() if inside is not None}
    if config.get("projector_hidden_act") == "linear":
        _drop_identity(tensors, folder)
    fill(vlm, tensors, folder, surplus, dtype)
    return vlm.to(device).eval()


def read_config(folder: Path) -> dict[str, Any]:
    """A folder's config.json, of a kind that we can build."""
    if not (folder / "config.json").exists():
        raise BadInput(f"{folder} has no config.json: it is not a model's folder.")
    try:
        config = read_json(folder / "config.json")
    except ValueError as error:
        raise BadInput(str(error)) from None
    if config.get("model_type") not in ("llava", "seetell"):
        raise BadInput(f"{folder} holds a {config.get('model_type')!r} model, not a LLaVA: see seetell import --help.")
    return config


def model_config(vlm: VLM) -> dict[str, Any]:
    """What config.json says of a model."""
    depth = CONNECTORS[vlm.connector.name]
    is_llava = depth <= 2 and vlm.language.base_model_prefix == "model"
    config = LlavaConfig(
        vision_config=_stored(vlm.vision.config),
        text_config=_stored(vlm.language.config),
        image_token_index=vlm.image_id,
        image_seq_length=vlm.slots_per_image,
        projector_hidden_act="linear" if depth == 1 else "gelu",
        vision_feature_layer=vlm.feature_layer,
        vision_feature_select_strategy="default" if vlm.drops_cls else "full",
        pixel_mean=list(vlm.pixel_constants[0]),
        pixel_std=list(vlm.pixel_constants[1]),
    ).to_diff_dict()
    config["architectures"] = ["LlavaForConditionalGeneration"]
    config["dtype"] = str(vlm.dtype).removeprefix("torch.")
    if not is_llava:
        del config["projector_hidden_act"], config["architectures"]
        config |= {"model_type": "seetell", "connector": vlm.connector.name}
    return config


def _stored(config: PreTrainedConfig) -> dict[str, Any]:
    return {key: value for key, value in config.to_dict().items() if key not in ("transformers_version", "_name_or_path", "dtype")}


def hub_tensors(vlm: VLM) -> dict[str, Tensor]:
    """A model's tensors in the hub's names; a tied head is not repeated."""
    base, family = vlm.language.base_model_prefix, vlm.vision.config.model_type
    tensors = {hub_name(name, base, family): tensor for name, tensor in own_tensors(vlm).items()}
    if vlm.connector.name == "linear" and base == "model":
        width = vlm.connector.linear_1.weight.shape[0]
        like = vlm.connector.linear_1.weight
        tensors["multi_modal_projector.linear_2.weight"] = torch.eye(width, dtype=like.dtype, device=like.device)
        tensors["multi_modal_projector.linear_2.bias"] = torch.zeros(width, dtype=like.dtype, device=like.device)
    return tensors


def own_tensors(vlm: VLM) -> dict[str, Tensor]:
    """A model's tensors in our names, without the head when it is the embedding itself."""
    tensors = vlm.state_dict()
    if vlm.language.config.tie_word_embeddings:
        head = vlm.language.get_output_embeddings()
        name = next(name for name, module in vlm.language.named_modules() if module is head)
        del tensors[f"language.{name}.weight"]
    return tensors


def empty_model(config: Mapping[str, Any], where: Path) -> VLM:
    """A model as config.json describes it, its weights not yet set."""
    layer = config.get("vision_feature_layer", -2)
    if not isinstance(layer, int):
        raise BadInput(f"{where} reads the tower's layers {layer} together, which is not LLaVA: choose another model.")
    mean, std = pixel_constants(config, where)
    llava = LlavaConfig(vision_config=dict(config["vision_config"]), text_config=dict(config["text_config"]))
    activation = config.get("projector_hidden_act", "gelu")
    if activation not in ("gelu", "linear") or config.get("multimodal_projector_bias", True) is not True:
        raise BadInput(f"{where} has a connector with activation {activation!r} or without bias: ours have GELU and biases.")
    name = config.get("connector") or {"gelu": "mlp2", "linear": "linear"}[activation]
    with no_init_weights():
        vision = AutoModel.from_config(llava.vision_config)
        language = AutoModelForCausalLM.from_config(llava.text_config)
        connector = build_connector(name, llava.vision_config.hidden_size, llava.text_config.hidden_size)
    strategy = config.get("vision_feature_select_strategy", "default")
    vlm = VLM(
        vision,
        connector,
        language,
        image_id=config.get("image_token_index", config.get("image_token_id", 32000)),
        pixel_mean=mean,
        pixel_std=std,
        feature_layer=layer,
        keep_cls=strategy == "full",
    )
    if strategy == "default" and not vlm.drops_cls:
        raise BadInput(f"{where} drops the first token of a tower without CLS, losing a patch: set its strategy to 'full'.")
    return vlm


def fill(vlm: VLM, tensors: dict[str, Tensor], where: Path, surplus: list[str], dtype: torch.dtype | None) -> None:
    """Sets every weight of a model; refuses by name what is missing, surplus or misshapen."""
    tensors = {name: tensor for name, tensor in tensors.items() if not COMPUTED.search(name)}
    own = own_tensors(vlm)
    _check_tied_head(vlm, tensors, own, where)
    missing = sorted(own.keys() - tensors.keys())
    surplus = sorted([*surplus, *(tensors.keys() - own.keys())])
    misshapen = [
        f"{name} {list(tensor.shape)} instead of {list(own[name].shape)}"
        for name, tensor in sorted(tensors.items())
        if name in own and tensor.shape != own[name].shape
    ]
    told = [f"{what}: {_few(names)}" for what, names in zip(("missing", "surplus", "misshapen"), (missing, surplus, misshapen), strict=True) if names]
    if told:
        raise BadInput(f"The weights in {where} are not those of its config: {'; '.join(told)}.")
    ready = {name: tensor if dtype is None else tensor.to(dtype) for name, tensor in tensors.items()}
    # Assigning rather than copying keeps each tensor's own type, and one copy of it in memory.
    vlm.load_state_dict(ready, strict=False, assign=True)
    vlm.language.tie_weights()
    vlm.vision.requires_grad_(False)


def _check_tied_head(vlm: VLM, tensors: dict[str, Tensor], own: Mapping[str, Tensor], where: Path) -> None:
    """A tied head may be stored once more; if it differs from the embedding, the config is wrong."""
    if vlm.language.config.tie_word_embeddings and "language.lm_head.weight" in tensors:
        head = tensors.pop("language.lm_head.weight")
        table = next((tensors[name] for name in own if name in tensors and own[name] is _embedding(vlm)), head)
        if head.shape != table.shape or not torch.equal(head, table):
            raise BadInput(f"{where} says tie_word_embeddings, but its lm_head.weight differs from its embedding: correct its config.")


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
    return ", ".join(names[:NAMED_AT_MOST]) + more


def _drop_identity(tensors: dict[str, Tensor], where: Path) -> None:
    """The second layer that says nothing, which a `linear` connector is saved with."""
    weight = tensors.pop("connector.linear_2.weight", None)
    bias = tensors.pop("connector.linear_2.bias", None)
    if weight is None or bias is None:
        raise BadInput(f"The weights in {where} are not those of its config: missing: multi_modal_projector.linear_2.")
    if not torch.equal(weight, torch.eye(len(weight), dtype=weight.dtype)) or bias.any():
        raise BadInput(f"{where} has a connector of two linear layers with nothing between: multiply them into one first.")


def pixel_constants(config: Mapping[str, Any], where: Path) -> tuple[list[float], list[float]]:
    """The mean and deviation that the tower's pictures are normalized with: the config's, or the image processor's."""
    if "pixel_mean" in config and "pixel_std" in config:
        return list(config["pixel_mean"]), list(config["pixel_std"])
    return processor_constants(where)


def processor_constants(folder: Path) -> tuple[list[float], list[float]]:
    """The same from a folder's preprocessor_config.json."""
    path = folder / "preprocessor_config.json"
    try:
        held = read_json(path)
        return list(held["image_mean"]), list(held["image_std"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(f"{path} does not say image_mean and image_std, which the tower needs: copy it from the tower's model.") from None
