"""Weights in and out: the folder that people get, and the same folder read back strictly.

A folder is what transformers calls `LlavaForConditionalGeneration`: config.json and safetensors in the hub's
names. Its connector always has two layers there, so `mlp2` is itself, and `linear` is itself followed by the
identity with nothing (`linear`) between: exact, and read back as `linear`. What that class does not load as the same
model (`llava.py` tries it: deeper connectors, heads with a bias) is saved as `model_type: seetell`, in the same names.

A missing, surplus or misshapen tensor is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.initialization import no_init_weights

from seetell.console import LONG_BYTES, waiting
from seetell.errors import BadInput
from seetell.files import write_json
from seetell.model.config import ModelConfig
from seetell.model.hub import build_model, hub_tensors, is_tied, name_on_hub, own_tensors, weight_name
from seetell.model.layouts import COMPUTED, module_name, name_in_file
from seetell.model.llava import why_not_llava
from seetell.model.self_check import check_model
from seetell.model.tensors import TensorFolder, few, is_finite, refuse_not_finite, write_tensors
from seetell.model.vlm import VLM


def save_model(vlm: VLM, folder: str | Path, stop_ids: Sequence[int] = ()) -> None:
    """Writes config, generation config and weights; the processor's files beside them are left alone.

    `stop_ids` are the tokens that end an answer, for those who generate with transformers.
    """
    folder = Path(folder)
    write_tensors(folder, hub_tensors(vlm))
    config = replace(vlm.config, is_llava=why_not_llava(vlm) is None)
    write_json(folder / "config.json", config.to_json(str(vlm.dtype).removeprefix("torch.")))
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
    config = ModelConfig.from_folder(folder)
    with no_init_weights():
        vlm = build_model(config, f"{folder}/config.json")
    files = TensorFolder(folder)
    base = vlm.language.base_model_prefix
    written = {name_on_hub(vlm, name): name for name in vlm.state_dict()}  # as we write them; else as others do
    names = {name: written.get(name) or module_name(name, base) for name in files}
    surplus = [name for name, inside in names.items() if inside is None]
    held = {inside: name for name, inside in names.items() if inside is not None}
    tensors = {inside: files[name] for inside, name in held.items()}

    def called(name: str) -> str:
        return name_in_file(name, held, name_on_hub(vlm, name))

    if config.connector == "linear":
        _drop_identity(tensors, folder, called)
    fill(vlm, tensors, folder, called, surplus, dtype)
    return check_model(vlm.to(device).eval())


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
    size, read = sum(tensor.nbytes for tensor in tensors.values()), 0
    with waiting(f"Loading {where}, {size / 2**30:.1f} GiB", is_long=size >= LONG_BYTES) as tell:
        for name in own:
            tensor = tensors[name]
            broken += [] if is_finite(tensor) else [called(name)]
            ready[name] = tensor.to(buffers.get(name) or dtype or tensor.dtype)
            read += tensor.nbytes
            tell(read / size)
    refuse_not_finite(broken, where)
    # Assigning rather than copying keeps each tensor's own type, and one copy of it in memory.
    vlm.load_state_dict(ready, strict=False, assign=True)
    if is_tied(vlm):
        vlm.head.weight = vlm.embedding.weight
    vlm.vision.requires_grad_(False)


def _check_tied_head(vlm: VLM, tensors: dict[str, Tensor], where: Path) -> None:
    """A tied head may be stored once more; if it differs from the embedding, the config is wrong."""
    if not is_tied(vlm) or (head := tensors.pop(weight_name(vlm, vlm.head), None)) is None:
        return
    table = tensors.get(weight_name(vlm, vlm.embedding))
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
