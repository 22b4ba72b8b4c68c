"""A first release that is LoRA's matrices alone (`liuhaotian/llava-v1.5-7b-lora`), as the whole model that it makes.

    adapter_config.json        peft's: rank, alpha
    adapter_model.bin          base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight …
    non_lora_trainables.bin    base_model.model.model.mm_projector.0.weight …, and whatever else was trained whole
    config.json                the first LLaVA's own (`original.py`)

The base is the model that was trained: a language model, or a first release to go on from. A tensor is merged when it
is asked for, so that no two copies of a large model meet; the sum is made in float64 and rounded once.

Shapes  R rank, I and O a layer's inputs and outputs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from seetell.errors import BadInput
from seetell.files import as_object, read_json
from seetell.model.folders import ADAPTER_CONFIG, CONFIG, NOT_LORA, refuse_quantized
from seetell.model.tensors import TensorFolder, few, is_finite, read_any, refuse_not_finite

WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."
_MATRIX = re.compile(r"(.+)\.lora_([AB])\.(?:default\.)?weight")
# What would change the sum, and is not built here.
_UNKNOWN = ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out", "layer_replication")


class LoraOver(Mapping[str, Tensor]):
    """The tensors of the whole model by the names of the first LLaVA's layout."""

    def __init__(self, folder: Path, base: Path) -> None:
        refuse_quantized(as_object(read_json(base / CONFIG)) or {}, base)
        self._base = TensorFolder(base)
        self._scale = _scale(folder)
        self._pairs = _pairs(folder)
        self._whole = _trained_whole(folder)
        if astray := sorted(f"{name}.weight" for name in self._pairs if f"{name}.weight" not in self._base):
            raise BadInput(f"{base} is not the base of {folder}: it lacks {few(astray)}, which the matrices lie over.")

    def __getitem__(self, name: str) -> Tensor:
        if name in self._whole:
            tensor = self._whole[name]
            kind = self._base[name if name in self._base else next(iter(self._base))].dtype
            return tensor.to(kind)  # one type throughout, the base's
        tensor = self._base[name]
        if (pair := self._pairs.get(name.removesuffix(".weight"))) is None:
            return tensor
        a, b = pair["A"], pair["B"]  # [R, I], [O, R]
        if (b.shape[0], a.shape[1]) != tensor.shape:
            raise BadInput(f"The matrices over {name} have other sizes than the base: {[*b.shape]} and {[*a.shape]}.")
        return (tensor.double() + self._scale * (b.double() @ a.double())).to(tensor.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._base, *self._whole)))

    def __len__(self) -> int:
        return len(self._base.keys() | self._whole.keys())


def _scale(folder: Path) -> float:
    """What the product of a layer's matrices is multiplied by."""
    path = folder / ADAPTER_CONFIG
    config: dict[str, Any] = as_object(read_json(path)) or {}
    if config.get("peft_type") != "LORA":
        raise BadInput(f"{path} describes another kind of adapter than LoRA, which cannot be merged here.")
    if asked := [f"{key} = {config[key]!r}" for key in _UNKNOWN if config.get(key)]:
        raise BadInput(f"{path} asks for {', '.join(asked)}, which is not built here: merge it with peft.")
    try:
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
        return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        raise BadInput(f"{path} does not say r and lora_alpha: fetch or save it again.") from None


def _pairs(folder: Path) -> dict[str, dict[str, Tensor]]:
    """The matrices by their layer. A tower that is frozen may have got some too, which never learned: all zero."""
    path = next((folder / name for name in WEIGHTS if (folder / name).exists()), None)
    if path is None:
        raise BadInput(f"{folder} holds neither {' nor '.join(WEIGHTS)}: fetch it again.")
    pairs: dict[str, dict[str, Tensor]] = {}
    read = read_any(path)
    refuse_not_finite([name for name, tensor in read.items() if not is_finite(tensor)], path)
    for name, tensor in read.items():
        if (found := _MATRIX.fullmatch(name)) is None:
            raise BadInput(f"{path} holds {name}, which is no matrix of LoRA: it was written by other software.")
        pairs.setdefault(_name(found[1]), {})[found[2]] = tensor
    if lonely := [name for name, pair in pairs.items() if len(pair) < 2]:
        raise BadInput(f"{path} holds only one matrix of {few(lonely)}: fetch or save it again.")
    return {name: pair for name, pair in pairs.items() if "vision_tower." not in name or bool(pair["B"].any())}


def _trained_whole(folder: Path) -> dict[str, Tensor]:
    path = folder / NOT_LORA
    if not path.exists():
        raise BadInput(
            f"{folder} has no {NOT_LORA}, where its connector would be: checkpoints in the middle of a LoRA run lack "
            "it. Take the run's last folder."
        )
    return {_name(name): tensor for name, tensor in read_any(path).items()}


def _name(name: str) -> str:
    """A name without what peft and training wrapped around the model."""
    name = name.removeprefix(_PREFIX)
    return name.removeprefix("model.") if name.startswith("model.model.") else name
