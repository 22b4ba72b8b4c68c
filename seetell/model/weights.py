"""Weights in and out: the folder that people get, and the same folder read back strictly.

A folder is what transformers calls `LlavaForConditionalGeneration`: config.json and safetensors in the hub's
names. Its connector always has two layers there, so `mlp2` is itself, and `linear` is itself followed by the
identity with nothing (`linear`) between: exact, and read back as `linear`. What LLaVA has no place for (deeper
connectors, languages that name their body otherwise) is saved as `model_type: seetell`, in the same names.

Beside LLaVA's own keys the config keeps `pixel_mean` and `pixel_std`, which the tower cannot do without.
A missing, surplus or misshapen tensor is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, LlavaConfig, PreTrainedConfig
from transformers.initialization import no_init_weights

from seetell.errors import BadInput
from seetell.files import as_object, read_json, write_json
from seetell.model.connector import build_connector
from seetell.model.folders import ADAPTER_CONFIG, refuse_quantized
from seetell.model.layouts import COMPUTED, CONNECTORS, hub_name, module_name, name_in_file
from seetell.model.self_check import check_model
from seetell.model.tensors import TensorFolder, few, is_finite, refuse_not_finite, write_tensors
from seetell.model.vlm import VLM


def save_model(vlm: VLM, folder: str | Path, stop_ids: Sequence[int] = ()) -> None:
    """Writes config, generation config and weights; the processor's files beside them are left alone.

    `stop_ids` are the tokens that end an answer, for those who generate with transformers.
    """
    folder = Path(folder)
    write_tensors(folder, hub_tensors(vlm))
    write_json(folder / "config.json", model_config(vlm))
    text: Any = vlm.language.config
    generation: dict[str, object] = {
        "bos_token_id": text.bos_token_id,
        "eos_token_id": list(stop_ids) or text.eos_token_id,
        "pad_token_id": text.pad_token_id,
    }
    known = {key: value for key, value in generation.items() if value is not None}
    write_json(folder / "generation_config.json", known)


def load_model(folder: str | Path, dtype: torch.dtype | None = None, device: str | torch.device = "cpu") -> VLM:
    """A saved model, in evaluation mode; `dtype` None keeps every tensor as it is stored."""
    folder = Path(folder)
    config = read_config(folder)
    vlm = empty_model(config, folder)
    files = TensorFolder(folder)
    base, family = vlm.language.base_model_prefix, str(vlm.vision.config.model_type)
    names = {name: module_name(name, base) for name in files}
    surplus = [name for name, inside in names.items() if inside is None]
    held = {inside: name for name, inside in names.items() if inside is not None}
    tensors = {inside: files[name] for inside, name in held.items()}

    def called(name: str) -> str:
        return name_in_file(name, held, hub_name(name, base, family))

    if config.get("projector_hidden_act") == "linear":
        _drop_identity(tensors, folder, called)
    fill(vlm, tensors, folder, called, surplus, dtype)
    return check_model(vlm.to(device).eval())


def config_of(folder: Path) -> dict[str, Any]:
    """A folder's config.json, whatever kind of model it describes."""
    path = folder / "config.json"
    try:
        config = as_object(read_json(path))
    except FileNotFoundError:
        if (folder / ADAPTER_CONFIG).exists():
            merging = f"seetell export {folder} --to hf --out FOLDER"
            raise BadInput(f"{folder} is an adapter, not a whole model: merge it first ({merging}).") from None
        raise BadInput(f"{folder} has no config.json: it is not a model's folder.") from None
    except ValueError as error:
        raise BadInput(str(error)) from None
    if config is None:
        raise BadInput(f"{path} is not a model's config, a JSON object: fetch or save it again.")
    return config


def read_config(folder: Path) -> dict[str, Any]:
    """A folder's config.json, of a kind that we can build."""
    config = config_of(folder)
    refuse_quantized(config, folder)
    kind = config.get("model_type")
    if "mm_vision_tower" in config:
        raise BadInput(
            f"{folder} is a {kind!r} model of the first LLaVA's layout: seetell import makes it one of ours."
        )
    if kind not in ("llava", "seetell") or config.get("image_grid_pinpoints"):
        tiles = "which cuts a picture into tiles, " if config.get("image_grid_pinpoints") else ""
        raise BadInput(f"{folder} holds a {kind!r} model, {tiles}not a LLaVA-1 or 1.5: see seetell import --help.")
    return config


def model_config(vlm: VLM) -> dict[str, Any]:
    """What config.json says of a model."""
    config = LlavaConfig(
        vision_config=_stored(vlm.vision.config),
        text_config=_stored(vlm.language.config),
        image_token_index=vlm.image_id,
        image_seq_length=vlm.slots_per_image,
        projector_hidden_act="linear" if vlm.connector.name == "linear" else "gelu",
        vision_feature_layer=vlm.feature_layer,
        vision_feature_select_strategy="default" if vlm.drops_cls else "full",
    ).to_diff_dict()
    config |= {"pixel_mean": list(vlm.pixel_constants[0]), "pixel_std": list(vlm.pixel_constants[1])}
    config["dtype"] = str(vlm.dtype).removeprefix("torch.")
    if is_llava(vlm):
        config |= {"architectures": ["LlavaForConditionalGeneration"]}
    else:
        config |= {"model_type": "seetell", "connector": vlm.connector.name}
    return config


def is_llava(vlm: VLM) -> bool:
    """Whether transformers' LLaVA has a place for every part of the model."""
    return CONNECTORS[vlm.connector.name] <= 2 and vlm.language.base_model_prefix == "model"


def _stored(config: PreTrainedConfig) -> dict[str, Any]:
    left_out = ("transformers_version", "_name_or_path", "dtype")
    return {key: value for key, value in config.to_dict().items() if key not in left_out}


def hub_tensors(vlm: VLM) -> dict[str, Tensor]:
    """A model's tensors in the hub's names; a tied head is not repeated."""
    base, family = vlm.language.base_model_prefix, str(vlm.vision.config.model_type)
    tensors = own_tensors(vlm) | second_layer(vlm)
    return {hub_name(name, base, family): tensor for name, tensor in tensors.items()}


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
        del tensors[_weight_name(vlm, vlm.head)]
    return tensors


def is_tied(vlm: VLM) -> bool:
    """Whether the head is the table of embeddings itself."""
    return bool(cast(Any, vlm.language.config).tie_word_embeddings)


def _weight_name(vlm: VLM, part: nn.Module) -> str:
    return next(f"{name}.weight" for name, module in vlm.named_modules() if module is part)


def empty_model(config: Mapping[str, Any], where: Path) -> VLM:
    """A model as config.json describes it, its weights not yet set."""
    layer = config.get("vision_feature_layer", -2)
    if not isinstance(layer, int):
        raise BadInput(f"{where} reads the tower's layers {layer} together, which is not LLaVA: choose another model.")
    activation = config.get("projector_hidden_act", "gelu")
    if activation not in ("gelu", "linear") or config.get("multimodal_projector_bias", True) is not True:
        raise BadInput(f"{where} has a connector with activation {activation!r} or without bias: only GELU and bias.")
    name = config.get("connector") or {"gelu": "mlp2", "linear": "linear"}[activation]
    mean, std = pixel_constants(config, where)
    try:
        # LlavaConfig completes what the hub's short configs leave out.
        whole: Any = LlavaConfig(vision_config=dict(config["vision_config"]), text_config=dict(config["text_config"]))
        with no_init_weights():
            vision = AutoModel.from_config(whole.vision_config, dtype=torch.float32)
            language = AutoModelForCausalLM.from_config(whole.text_config, dtype=torch.float32)
            connector = build_connector(name, whole.vision_config.hidden_size, whole.text_config.hidden_size)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{where}/config.json does not describe a model that can be built ({error}).") from error
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
        raise BadInput(f"{where} drops the first token of a tower without CLS, a patch: make its strategy 'full'.")
    return vlm


def fill(
    vlm: VLM,
    tensors: dict[str, Tensor],
    where: Path,
    called: Callable[[str], str],
    surplus: Sequence[str] = (),
    dtype: torch.dtype | None = None,
) -> None:
    """Sets every weight of a model from tensors in our names; refuses by name what is missing, surplus or misshapen.

    `called` gives the file's name of a tensor, which is what the user can find; `surplus` are its names that are of
    no LLaVA.
    """
    _check_tied_head(vlm, tensors, where)
    own = own_tensors(vlm)
    problems = {
        "missing": sorted(map(called, own.keys() - tensors.keys())),
        "surplus": sorted(
            name for name in [*surplus, *map(called, tensors.keys() - own.keys())] if not COMPUTED.search(name)
        ),
        "misshapen": [
            f"{called(name)} {list(tensor.shape)} instead of {list(own[name].shape)}"
            for name, tensor in sorted(tensors.items())
            if name in own and tensor.shape != own[name].shape
        ],
    }
    if told := [f"{what}: {few(names)}" for what, names in problems.items() if names]:
        raise BadInput(f"The weights in {where} are not those of its config: {'; '.join(told)}.")
    # A buffer stays in the type that its module gave it, which counts on it; weights are in the type asked for.
    buffers = {name: buffer.dtype for name, buffer in vlm.named_buffers()}
    ready: dict[str, Tensor] = {}
    broken: list[str] = []
    for name in own:
        tensor = tensors[name]
        broken += [] if is_finite(tensor) else [called(name)]
        ready[name] = tensor.to(buffers.get(name) or dtype or tensor.dtype)
    refuse_not_finite(broken, where)
    # Assigning rather than copying keeps each tensor's own type, and one copy of it in memory.
    vlm.load_state_dict(ready, strict=False, assign=True)
    if is_tied(vlm):
        vlm.head.weight = vlm.embedding.weight
    vlm.vision.requires_grad_(False)


def _check_tied_head(vlm: VLM, tensors: dict[str, Tensor], where: Path) -> None:
    """A tied head may be stored once more; if it differs from the embedding, the config is wrong."""
    if not is_tied(vlm) or (head := tensors.pop(_weight_name(vlm, vlm.head), None)) is None:
        return
    table = tensors.get(_weight_name(vlm, vlm.embedding))
    if table is not None and not torch.equal(head, table):
        raise BadInput(f"{where} says tie_word_embeddings, but its head is not its embedding: correct its config.")


def _drop_identity(tensors: dict[str, Tensor], where: Path, called: Callable[[str], str]) -> None:
    """Takes out the second layer that says nothing, which a `linear` connector is saved with."""
    names = ("connector.linear_2.weight", "connector.linear_2.bias")
    if missing := [called(name) for name in names if name not in tensors]:
        raise BadInput(f"The weights in {where} are not those of its config: missing: {', '.join(missing)}.")
    weight, bias = (tensors.pop(name) for name in names)
    if not torch.equal(weight, torch.eye(len(weight), dtype=weight.dtype)) or bias.any():
        raise BadInput(f"{where} has two linear layers in its connector and nothing between: multiply them into one.")


def pixel_constants(config: Mapping[str, Any], where: Path) -> tuple[list[float], list[float]]:
    """The mean and deviation that the tower's pictures are normalized with: the config's, or the image processor's."""
    if config.get("pixel_mean") and config.get("pixel_std"):
        try:
            return _three(config["pixel_mean"]), _three(config["pixel_std"])
        except (TypeError, ValueError):
            raise BadInput(f"{where}/config.json: pixel_mean and pixel_std are three numbers each.") from None
    return processor_constants(where)


def _three(numbers: Any) -> list[float]:
    red, green, blue = (float(number) for number in numbers)
    return [red, green, blue]


def processor_constants(folder: Path) -> tuple[list[float], list[float]]:
    """The same from a folder's preprocessor_config.json, or from where transformers 5 keeps it."""
    path = folder / "preprocessor_config.json"
    try:
        held = read_json(path) if path.exists() else read_json(folder / "processor_config.json")["image_processor"]
        factor = held.get("rescale_factor", 1 / 255)
        if held.get("do_rescale", True) is not True or abs(float(factor) - 1 / 255) > 1e-9:
            told = f"do_rescale = {held.get('do_rescale', True)!r} and rescale_factor = {factor!r}"
            raise BadInput(f"{path} says {told}: only towers whose pixels are scaled by 1/255 are built here.")
        if held.get("do_normalize", True) is False:
            return [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]
        return _three(held["image_mean"]), _three(held["image_std"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(f"{path} does not say image_mean and image_std: copy it from the tower's own model.") from None
