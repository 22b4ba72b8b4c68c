"""Which folder is meant by a model's name: asked here by every verb that takes a model.

    a model's folder      config.json and weights
    an adapter's folder   adapter_config.json, and in seetell.json the model that it lies over
    a run's folder        what `seetell train --out` names: its model is taken
    a name on the hub     fetched (`seetell/hub.py`)

What lies in the folder is told by its config, never by its name. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seetell.console import command, say
from seetell.errors import BadInput, UsageError
from seetell.files import FACTS_FILE, MANIFEST, as_object, read_json
from seetell.hub import fetched

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"  # peft's, in the folder of what lies over a whole model
PROJECTOR = "mm_projector.bin"  # stage 1's of the first LLaVA
NOT_LORA = "non_lora_trainables.bin"  # the connector beside LoRA's matrices, as the first LLaVA leaves it
WHOLE = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def model_folder(name: str | Path, *, weights: bool = True) -> Path:
    """The folder of the model that is meant; what is none is refused in a sentence.

    Without `weights` a name on the hub is looked at, and not fetched whole.
    """
    folder = located(name, weights=weights)
    if folder.is_file():
        raise UsageError(f"{name} is a file: give the folder that it lies in.")
    if (folder / CONFIG).exists():
        if weights and (folder / ADAPTER_CONFIG).exists() and not has_weights(folder):
            importing = command("import", name, "--base", base_named(folder) or "BASE", "--out", "FOLDER")
            raise BadInput(f"{folder} holds LoRA's matrices as the first LLaVA writes them: merge them ({importing}).")
        return folder
    if is_adapter(folder):
        return folder
    if not _is_run(folder):
        raise BadInput(f"{folder} has no {CONFIG}: it is not a model's folder.")
    if (folder / "model" / MANIFEST).is_file():
        say(f"{name} is a run: its model is {folder / 'model'}.")
        return folder / "model"
    aligned = folder / "aligned"
    instead = f"give {aligned}, which is aligned only, or train it to its end" if aligned.is_dir() else "train it first"
    raise UsageError(f"{folder} is a run that has no finished model: {instead}.")


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no whole model."""
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / CONFIG).exists()


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weights of a whole model."""
    return any((folder / name).exists() for name in WHOLE)


def adapter_facts(folder: Path) -> dict[str, Any]:
    """What seetell.json says of an adapter."""
    path = folder / FACTS_FILE
    try:
        facts = as_object((as_object(read_json(path)) or {}).get("adapter"))
    except FileNotFoundError:
        facts = None
    if facts is None or not {"base", "base_sha256", "bits"} <= facts.keys():
        raise BadInput(f"{path} does not say what model the adapter lies over: it was not written by seetell.")
    return facts


def base_of(folder: Path) -> Path:
    """The model below an adapter, where seetell.json says."""
    base = folder / str(adapter_facts(folder)["base"])  # an absolute name stands alone
    if not base.is_dir():
        where = f'"base" in {folder / FACTS_FILE}'
        raise BadInput(f"The model {base} that this adapter lies over is not there: put it back, or change {where}.")
    return base


def whole_folder(folder: Path) -> Path:
    """A whole model's folder itself, or the one below an adapter: where config.json is."""
    while is_adapter(folder):
        folder = base_of(folder)
    return folder


def base_named(folder: Path) -> str:
    """What peft's config calls the model below an adapter; often a path on the machine of whoever trained it."""
    return str((as_object(read_json(folder / ADAPTER_CONFIG)) or {}).get("base_model_name_or_path") or "")


def located(name: str | Path, what: str = "model", *, weights: bool = True, newest: bool = True) -> Path:
    """What that name stands for on this machine: a path, or a folder of the hub's cache that is filled first.

    `what` is what it should be, for messages; see `hub.fetched` for the others.
    """
    path = Path(name).expanduser()
    return path if path.exists() else fetched(str(name), what, weights=weights, newest=newest)


def _is_run(folder: Path) -> bool:
    return (folder / "recipe.json").exists() and (folder / "run.json").exists()


def refuse_quantized(config: Mapping[str, Any], where: str | Path) -> None:
    """Weights in few bits need the arithmetic of whoever made them; they are refused by its name."""
    for part in (config, config.get("text_config"), config.get("vision_config")):
        for key in ("quantization_config", "quantization"):
            if settings := (as_object(part) or {}).get(key):
                held = as_object(settings) or {}
                loaded = [name for name in ("load_in_4bit", "load_in_8bit") if held.get(name)]
                kind = held.get("quant_method") or ", ".join(loaded) or "unknown"
                raise BadInput(
                    f"{where} is quantized ({kind}), and such weights are not read here: take the model that it was "
                    "made from."
                )
