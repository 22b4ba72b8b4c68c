"""The layout of the first LLaVA releases (`liuhaotian/*`), read and written, and stage 1's `mm_projector.bin`.

Such a folder is a language model with a connector among its tensors. The tower is named in its config
(`mm_vision_tower`) and sometimes lies among the tensors too. It has no rows for `<image>` and padding: they are
made on reading, each the mean of the others, and left out on writing where they are still that mean.

Source  the checkpoints' own keys and config fields; Liu et al. 2023, arXiv:2310.03744.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.initialization import no_init_weights

from seetell.errors import BadInput, UsageError
from seetell.files import write_json
from seetell.model.config import config_of, processor_constants
from seetell.model.connector import build_connector
from seetell.model.folders import refuse_quantized
from seetell.model.hub import own_tensors
from seetell.model.layouts import CONNECTORS, module_name_of_original, name_in_file, original_name
from seetell.model.parts import folder_of, grow_vocabulary, load_language, load_vision, mean_row
from seetell.model.published_lora import LoraOver
from seetell.model.self_check import check_model
from seetell.model.tensors import TensorFolder, read_bin, write_tensors
from seetell.model.tower import width
from seetell.model.vlm import VLM
from seetell.model.weights import fill

FAMILIES = {"llava": "llama", "llava_llama": "llama", "llava_mistral": "mistral", "llava_qwen": "qwen2"}
ARCHITECTURES = {"llava_llama": "LlavaLlama", "llava_mistral": "LlavaMistral", "llava_qwen": "LlavaQwen"}
TOWER_FOLDER = "vision_tower"
# What LLaVA adds to its language model's config; all else is the language model's.
LLAVA_KEYS = re.compile(
    r"mm_.*|(un)?freeze_mm_.*|tune_mm_.*|use_mm_proj|image_.*|tokenizer_.*|max_sequence_length|s2.*"
    r"|model_type|architectures|auto_map|transformers_version|_name_or_path|(torch_)?dtype|pretrain_.*|quantization.*"
)


def is_original(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is of this layout; transformers' LLaVA has the same `model_type` but names no tower."""
    return config.get("model_type") in FAMILIES and "mm_vision_tower" in config


def load_original(
    folder: Path,
    *,
    image_id: int,
    vocabulary: int,
    vision: str | Path | None = None,
    dtype: torch.dtype | None = None,
    base: Path | None = None,
) -> VLM:
    """A model of this layout. `vision` takes the place of the tower that its config names.

    With a `base` the folder holds LoRA's matrices over it (`published_lora.py`).
    """
    config = config_of(folder)
    if base is None:  # else the config may tell of how the base was held in training
        refuse_quantized(config, folder)
    tower_name = vision or _tower_of(config, folder)
    name, feature_layer, keep_cls = _connector_facts(config, folder)
    tower = load_vision(tower_name, dtype or "auto")
    language = _empty_language(config, folder)
    mean, std = processor_constants(folder_of(tower_name))
    widths = width(tower.config), cast(Any, language.config).hidden_size
    vlm = VLM(
        tower,
        build_connector(name, *widths),
        language,
        image_id=image_id,
        pixel_mean=mean,
        pixel_std=std,
        feature_layer=feature_layer,
        keep_cls=keep_cls,
    )
    if not keep_cls and not vlm.drops_cls:
        raise BadInput(f"{folder} drops the first token of a tower without CLS, a patch: its config needs cls_patch.")
    files = TensorFolder(folder) if base is None else LoraOver(folder, base)
    names = {key: module_name_of_original(key) for key in files}
    held = {inside: key for key, inside in names.items() if inside is not None}
    tensors = {inside: files[key] for inside, key in held.items()}
    if not any(inside.startswith("vision.") for inside in tensors):
        tensors |= {f"vision.{key}": tensor for key, tensor in tower.state_dict().items()}
    surplus = [key for key, inside in names.items() if inside is None]
    fill(
        vlm, tensors, folder, lambda key: name_in_file(key, held, original_name(key, CONNECTORS[name])), surplus, dtype
    )
    grow_vocabulary(language, vocabulary)
    return check_model(vlm.eval())


def load_projector(
    path: Path,
    vision: str | Path,
    language: str | Path,
    *,
    image_id: int,
    vocabulary: int,
    config: Mapping[str, Any],
    dtype: torch.dtype | str = "auto",
) -> VLM:
    """Stage 1's `mm_projector.bin` between the two models it was trained between.

    `config` is the config.json that LLaVA leaves beside it, or nothing: then layer -2 without CLS.
    """
    tensors: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    for key, tensor in read_bin(path).items():
        inside = module_name_of_original(key)
        if inside is None or not inside.startswith("connector."):
            raise BadInput(f"{path} holds {key}, which is no part of a connector: import it as a whole model.")
        tensors[inside], names[inside] = tensor, key
    depth = sum(key.endswith(".weight") for key in tensors)
    if not depth:
        raise BadInput(f"{path} holds no connector: fetch it again, or train stage 1.")
    tower, decoder = load_vision(vision, dtype), load_language(language, dtype)
    grow_vocabulary(decoder, vocabulary)
    widths = width(tower.config), cast(Any, decoder.config).hidden_size
    mean, std = processor_constants(folder_of(vision))
    _, feature_layer, keep_cls = _connector_facts(config, path)
    vlm = VLM(
        tower,
        build_connector("linear" if depth == 1 else f"mlp{depth}", *widths),
        decoder,
        image_id=image_id,
        pixel_mean=mean,
        pixel_std=std,
        feature_layer=feature_layer,
        keep_cls=keep_cls,
    )
    held = {key: tensor for key, tensor in own_tensors(vlm).items() if not key.startswith("connector.")}
    fill(vlm, held | tensors, path, lambda key: name_in_file(key, names, original_name(key, depth)))
    return check_model(vlm.eval())


def save_original(vlm: VLM, folder: Path, *, text_rows: int, image_mode: str) -> None:
    """Writes a model in this layout, its tower in a folder of its own beside it.

    `text_rows` is how many tokens there were before `<image>` was added.
    """
    text: Any = vlm.language.config
    kinds = {family: kind for kind, family in FAMILIES.items()}
    if text.model_type not in kinds:
        raise UsageError(f"The first LLaVA's layout has no place for a {text.model_type} model: export to hf instead.")
    depth = CONNECTORS[vlm.connector.name]
    tensors = own_tensors(vlm)
    tower = {key.removeprefix("vision."): tensor for key, tensor in tensors.items() if key.startswith("vision.")}
    rest = {original_name(key, depth): tensor for key, tensor in tensors.items() if not key.startswith("vision.")}
    config = _original_config(vlm, kinds[text.model_type], image_mode)
    _drop_made_rows(rest, config, text_rows)
    write_tensors(folder, rest)
    write_json(folder / "config.json", config)
    family = str(vlm.vision.config.model_type)
    inner = "vision_model." if family in ("clip_vision_model", "siglip_vision_model") else ""
    write_tensors(folder / TOWER_FOLDER, {f"{inner}{key}": tensor for key, tensor in tower.items()})
    kept = {"architectures": [type(vlm.vision).__name__], "dtype": str(vlm.vision.dtype).removeprefix("torch.")}
    write_json(folder / TOWER_FOLDER / "config.json", vlm.vision.config.to_diff_dict() | kept)


def _original_config(vlm: VLM, kind: str, image_mode: str) -> dict[str, Any]:
    text: Any = vlm.language.config
    config = {key: value for key, value in text.to_dict().items() if not LLAVA_KEYS.fullmatch(key)}
    rope = config.get("rope_parameters") or {}
    depth = CONNECTORS[vlm.connector.name]
    return config | {
        "model_type": kind,
        "architectures": [f"{ARCHITECTURES[kind]}ForCausalLM"],
        "torch_dtype": str(vlm.dtype).removeprefix("torch."),
        # Where the transformers of LLaVA's time looks for it.
        "rope_theta": rope.get("rope_theta", 10000.0),
        "rope_scaling": None if rope.get("rope_type", "default") == "default" else rope,
        "mm_vision_tower": TOWER_FOLDER,
        "mm_hidden_size": width(vlm.vision.config),
        "mm_projector_type": "linear" if depth == 1 else f"mlp{depth}x_gelu",
        "mm_vision_select_layer": vlm.feature_layer,
        "mm_vision_select_feature": "patch" if vlm.drops_cls else "cls_patch",
        "mm_patch_merge_type": "flat",
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "use_mm_proj": True,
        "image_aspect_ratio": "pad" if image_mode == "pad" else "square",
        "tokenizer_padding_side": "right",
        "tokenizer_model_max_length": 2048,
    }


def _drop_made_rows(tensors: dict[str, Tensor], config: dict[str, Any], text_rows: int) -> None:
    """Leaves out the rows behind the text's where they are what reading would make again; training changes them."""
    tables = {key: tensors[key] for key in ("model.embed_tokens.weight", "lm_head.weight") if key in tensors}
    if all(bool((table[text_rows:] == mean_row(table[:text_rows])).all()) for table in tables.values()):
        tensors |= {key: table[:text_rows].clone() for key, table in tables.items()}
        config["vocab_size"] = min(config["vocab_size"], text_rows)


def _empty_language(config: Mapping[str, Any], folder: Path) -> PreTrainedModel:
    kept = {key: value for key, value in config.items() if not LLAVA_KEYS.fullmatch(key)}
    try:
        with no_init_weights():
            text = AutoConfig.for_model(FAMILIES[config["model_type"]], **kept)
            return AutoModelForCausalLM.from_config(text, dtype=torch.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{folder}/config.json does not describe a model that can be built ({error}).") from error


def _tower_of(config: Mapping[str, Any], folder: Path) -> str | Path:
    """The tower that a config names: a folder in the model's own, a folder, or a name on the hub."""
    name = str(config["mm_vision_tower"])
    if name == TOWER_FOLDER and not (folder / name).is_dir():
        raise BadInput(f"{folder} lacks its folder {name}, the tower: copy it there again, or name one with --vision.")
    return folder / name if (folder / name).is_dir() else name


def _connector_facts(config: Mapping[str, Any], where: Path) -> tuple[str, int, bool]:
    """The connector's name, the tower's layer, whether CLS is kept; what LLaVA-1.5 does not have is refused."""
    unknown = {
        "mm_use_im_start_end": bool(config.get("mm_use_im_start_end")),
        "mm_patch_merge_type": config.get("mm_patch_merge_type", "flat") != "flat",
        "image_aspect_ratio": config.get("image_aspect_ratio") not in (None, "", "pad", "square"),
        "s2": bool(config.get("s2")),
    }
    if asked := [f"{key} = {config[key]!r}" for key, is_asked in unknown.items() if is_asked]:
        raise BadInput(f"{where} asks for {', '.join(asked)}, which is not built here: choose a LLaVA-1 or 1.5 model.")
    kind = str(config.get("mm_projector_type", "linear"))
    found = re.fullmatch(r"mlp(\d+)x_gelu", kind)
    if kind != "linear" and found is None:
        raise BadInput(f"{where} has a connector of type {kind!r}: only linear and mlpNx_gelu are known.")
    depth = int(found[1]) if found else 1
    keep_cls = config.get("mm_vision_select_feature", "patch") == "cls_patch"
    return "linear" if depth == 1 else f"mlp{depth}", int(config.get("mm_vision_select_layer", -2)), keep_cls
