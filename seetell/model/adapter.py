"""LoRA: low-rank matrices beside the language model's linear layers, which learn in its stead.

Every `nn.Linear` of the decoder but its head gets a pair A, B, and gives W x + alpha / rank * B A x. Matrices that are
kept otherwise get none and stay as they are: transformers fuses the experts of a layer into one tensor [experts, O, I],
for which peft has matrices only without dropout and over weights in 16 bits; `left_out` names them. Targets are
whole names within the language model: by endings such as `q_proj`, the tower's layers of the same name would get
matrices too, which nothing ever trains. The connector trains in full and is kept with the matrices.

An adapter's folder is peft's own, with names for transformers' LLaVA, so that
`PeftModel.from_pretrained(LlavaForConditionalGeneration.from_pretrained(base), folder)` is the same model; what peft
has no place for (the base's hash, its bits) stands in seetell.json.

Source  Hu et al. 2021, arXiv:2106.09685; the matrices' place and rates: the LoRA column of LLaVA-1.5's scripts.

Shapes  R rank, I and O a layer's inputs and outputs.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from seetell.errors import BadInput, UsageError
from seetell.extras import require_peft
from seetell.files import FACTS_FILE, as_object, read_json, sha256_file, sha256_text, write_json
from seetell.model.casting import cast_parameters
from seetell.model.config import ModelConfig
from seetell.model.folders import ADAPTER_CONFIG, adapter_facts, base_of, is_adapter, model_folder
from seetell.model.hub import second_layer
from seetell.model.layouts import transformers_name
from seetell.model.quantized import dense_weight, quantize
from seetell.model.tensors import few, is_finite, read_any, refuse_not_finite, weight_files
from seetell.model.vlm import VLM
from seetell.model.weights import load_model

CONFIG, WEIGHTS = ADAPTER_CONFIG, "adapter_model.safetensors"
CONNECTOR = "model.multi_modal_projector"
PEFT_PREFIX = "base_model.model."


def add_lora(
    vlm: VLM,
    *,
    rank: int,
    alpha: int,
    dropout: float = 0.0,
    bits: int = 16,
    seed: int = 0,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> VLM:
    """Puts the matrices in, A drawn by `seed` and B zero, so that nothing is changed yet; moves the model to `device`.

    What lies below them, and the tower, are kept in `dtype`. With fewer bits than 16 the layers are quantized from the
    weights as they are stored, whatever `dtype` is: the same integers in training and wherever the adapter is loaded.
    """
    peft = import_peft()
    names = target_names(vlm)
    if not names:
        family = type(vlm.language).__name__
        raise UsageError(f"{family} has no linear layers that LoRA could lie beside: train the whole model instead.")
    if bits < 16:
        quantize(vlm.language, names, bits, torch.device(device))
    if dtype is not None:
        cast_parameters(vlm.vision, dtype)
        cast_parameters(vlm.language, dtype)
    vlm.to(device)
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # In a plain holder: in transformers' models with experts, peft takes every `gate_proj` for the experts'.
        peft.inject_adapter_in_model(config, nn.ModuleDict({"language": vlm.language}))
    return vlm


def target_names(vlm: VLM) -> list[str]:
    """The linear layers of the language model but its head, by their names within it."""
    head = vlm.head
    linear = ((name, part) for name, part in vlm.language.named_modules() if isinstance(part, nn.Linear))
    return [name for name, part in linear if part is not head]


def left_out(vlm: VLM) -> str | None:
    """A sentence on the matrices of the decoder that get no LoRA: experts, which are one tensor for all; or None."""
    language, parts = vlm.language, dict(vlm.language.named_modules())
    own = {id(vlm.embedding.weight), id(vlm.head.weight)}
    counted = dict.fromkeys((True, False), 0)
    names: dict[str, None] = {}
    for name, weight in language.named_parameters():
        owner, _, last = name.rpartition(".")
        if weight.dim() < 2 or id(weight) in own or isinstance(parts[owner], nn.Embedding):
            continue
        covered = isinstance(parts[owner], nn.Linear)
        counted[covered] += weight.numel()
        if not covered:
            names[re.sub(r"^.*\.\d+\.", "", f"{owner}.{last}")] = None
    if not names:
        return None
    share = counted[False] / (counted[True] + counted[False])
    rest = f"{few(list(names))}, {share:.0%} of the decoder's matrices, stay as they are"
    return f"LoRA lies beside linear layers alone: {rest}."


def lora_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The matrices by their names in the model; none where no adapter was put in."""
    return {name: p for name, p in model.named_parameters() if ".lora_A." in name or ".lora_B." in name}


def save_adapter(vlm: VLM, folder: Path, base: Path, bits: int) -> None:
    """Writes the matrices and the connector, peft's config, and into seetell.json what they lie over.

    `base` is the folder of the model that training began with.
    """
    peft = import_peft()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _tensors_of(vlm).items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # safetensors makes it readable by its owner alone
    layers = _lora_layers(vlm)
    first = next(iter(layers.values()))
    prefix = vlm.language.base_model_prefix
    config = peft.LoraConfig(
        base_model_name_or_path=str(base.resolve()),
        r=first.r["default"],
        lora_alpha=first.lora_alpha["default"],
        lora_dropout=getattr(first.lora_dropout["default"], "p", 0.0),
        target_modules=[transformers_name(f"language.{name}", prefix) for name in layers],
        modules_to_save=[CONNECTOR],
        inference_mode=True,
    ).to_dict()
    if not is_adapter(base) and ModelConfig.from_folder(base).is_llava:
        # By this AutoPeftModel opens base and adapter in one.
        names = {"base_model_class": "LlavaForConditionalGeneration", "parent_library": "transformers"}
        config["auto_mapping"] = names
    written = {key: sorted(value) if isinstance(value, set) else value for key, value in sorted(config.items())}
    write_json(folder / CONFIG, written)
    facts: dict[str, Any] = read_json(folder / FACTS_FILE) if (folder / FACTS_FILE).exists() else {}
    facts["adapter"] = {"base": _named_from(folder, base), "base_sha256": weights_hash(base), "bits": bits}
    write_json(folder / FACTS_FILE, facts)


def load_any(folder: str | Path, dtype: torch.dtype | None = None, device: str | torch.device = "cpu") -> VLM:
    """A whole model's folder, or an adapter's with the model below it; in evaluation mode."""
    folder = model_folder(folder)
    return load_adapter(folder, dtype, device) if is_adapter(folder) else load_model(folder, dtype, device)


def load_whole(folder: str | Path, dtype: torch.dtype | None = None, device: str | torch.device = "cpu") -> VLM:
    """The same as a model without matrices: an adapter is merged into the model below it."""
    vlm = load_any(folder, dtype, device)
    return merge(vlm) if lora_parameters(vlm) else vlm


def load_adapter(folder: Path, dtype: torch.dtype | None = None, device: str | torch.device = "cpu") -> VLM:
    """An adapter over its base, which must be the one that it was trained over, as it was: in as many bits."""
    config, facts = _read_config(folder), adapter_facts(folder)
    vlm = load_whole(_base_of(folder, facts))
    add_lora(
        vlm,
        rank=int(config["r"]),
        alpha=int(config["lora_alpha"]),
        bits=int(facts["bits"]),
        device=device,
        dtype=dtype,
    )
    if dtype is not None:  # the matrices and the connector too
        cast_parameters(vlm, dtype)
    _fill(vlm, folder)
    return vlm.requires_grad_(False).eval()


@torch.no_grad()
def merge(vlm: VLM) -> VLM:
    """Adds the matrices into the layers below them, which become plain again; what was quantized stays so rounded.

    The sum is made in float64, so that it is rounded once.
    """
    for name, layer in _lora_layers(vlm).items():
        base = layer.get_base_layer()
        dense = dense_weight(base)  # [O, I]
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight  # [R, I], [O, R]
        kind = base.weight.dtype if base.weight.is_floating_point() else vlm.dtype
        weight = dense.double() + layer.scaling["default"] * (b.double() @ a.double())
        plain = nn.Linear(weight.shape[1], weight.shape[0], bias=base.bias is not None, device="meta")
        plain.weight = nn.Parameter(weight.to(kind), requires_grad=False)
        if base.bias is not None:
            plain.bias = base.bias
        vlm.language.set_submodule(name, plain)
    return vlm


def weights_hash(folder: Path) -> str:
    """A hash of a model folder's weights, whatever lies beside them."""
    if is_adapter(folder):
        return sha256_text(f"{sha256_file(folder / WEIGHTS)} over {adapter_facts(folder)['base_sha256']}")
    return sha256_text("\n".join(f"{path.name} {sha256_file(path)}" for path in weight_files(folder)))


def import_peft() -> Any:
    """peft, which is an extra."""
    require_peft()
    with warnings.catch_warnings():  # it imports bitsandbytes where it finds it, which calls what torch deprecates
        warnings.simplefilter("ignore")
        import peft
    return peft


def _lora_layers(vlm: VLM) -> dict[str, Any]:
    """The layers that have matrices, by their names within the language model."""
    return {name: part for name, part in vlm.language.named_modules() if hasattr(part, "lora_A")}


def _tensors_of(vlm: VLM) -> dict[str, Tensor]:
    """What an adapter keeps, by the names that peft gives it over transformers' LLaVA."""
    connector = {f"connector.{name}": tensor for name, tensor in vlm.connector.state_dict().items()}
    kept = {**lora_parameters(vlm), **connector, **second_layer(vlm)}
    prefix = vlm.language.base_model_prefix
    return {PEFT_PREFIX + transformers_name(name.replace(".default.", "."), prefix): kept[name] for name in kept}


@torch.no_grad()
def _fill(vlm: VLM, folder: Path) -> None:
    """Reads the matrices and the connector; refuses by name what is missing, surplus or misshapen."""
    path = folder / WEIGHTS
    read = read_any(path)
    own = _tensors_of(vlm)
    problems = {
        "missing": sorted(own.keys() - read.keys()),
        "surplus": sorted(read.keys() - own.keys()),
        "misshapen": sorted(name for name in own.keys() & read.keys() if own[name].shape != read[name].shape),
    }
    if told := [f"{what}: {few(names)}" for what, names in problems.items() if names]:
        raise BadInput(f"{path} does not hold an adapter of the model below it: {'; '.join(told)}.")
    refuse_not_finite([name for name in own if not is_finite(read[name])], path)
    for name, tensor in own.items():
        tensor.copy_(read[name])


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = as_object(read_json(folder / CONFIG)) or {}
        known = str(config["peft_type"]) == "LORA" and int(config["r"]) > 0 and int(config["lora_alpha"]) > 0
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{folder / CONFIG} is not an adapter's config ({error}): fetch or save it again.") from None
    if not known:
        raise BadInput(f"{folder / CONFIG} describes another kind of adapter than LoRA, which cannot be opened here.")
    return config


def _base_of(folder: Path, facts: dict[str, Any]) -> Path:
    """The model below an adapter, if it is the same that it was trained over."""
    base = base_of(folder)
    if weights_hash(base) != facts["base_sha256"]:
        raise BadInput(
            f"The model {base} has other weights than the adapter was trained over: put those back, or change "
            f'"base" in {folder / FACTS_FILE}.'
        )
    return base


def _named_from(folder: Path, base: Path) -> str:
    """A base in the same run is named from the adapter, so that a run can be moved; any other by its place."""
    base = base.resolve()
    near = folder.resolve().parent
    return os.path.relpath(base, folder.resolve()) if base.is_relative_to(near) else str(base)
