"""Training checkpoints that survive SIGKILL: whole or not there, and never a pickle.

A checkpoint is a folder: what learns and the optimizer's moments as safetensors, the counters as JSON, and a
manifest with sizes and hashes, written last. The folder is filled under a name nobody reads, flushed to the
disk, and renamed. Reading takes the newest that is whole; damaged ones are passed over and told. Random
state needs no saving, for every step seeds itself (`loop.fit`), and neither does the data's, for the plan is
a pure function.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seetell.config import freeze, thaw
from seetell.console import BadInput, say
from seetell.files import DamagedFile, check_manifest, read_json, write_json, write_manifest
from seetell.train.log import Progress
from seetell.train.ranks import Ranks

KEPT = 2  # the newest, and one behind it in case the disk fails the newest
WEIGHTS, MOMENTS, COUNTERS = "weights.safetensors", "optimizer.safetensors", "progress.json"


def save_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> Path:
    """Writes `folder/step-N`, then removes what is older than the last two."""
    target = folder / f"step-{progress.step:08}"
    writing = fresh_folder(folder / f".writing-{target.name}")
    learning = _learning(model)
    save_file({name: parameter.detach().contiguous() for name, parameter in learning.items()}, writing / WEIGHTS)
    save_file(_moments(learning, optimizer), writing / MOMENTS)
    write_json(writing / COUNTERS, freeze(progress))
    write_manifest(writing)
    put_in_place(writing, target)
    for old in _newest_first(folder)[KEPT:]:
        shutil.rmtree(old)
    return target


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, ranks: Ranks) -> Progress | None:
    """Puts the newest whole checkpoint into every rank's model and optimizer; None when there is none."""
    checkpoint = ranks.on_main(lambda: newest_whole(folder))
    return None if checkpoint is None else ranks.together(lambda: _read(checkpoint, model, optimizer))


def newest_whole(folder: Path) -> Path | None:
    """The newest checkpoint that is what its manifest says; what a killed save left is swept away."""
    for left in folder.glob(".writing-*"):
        shutil.rmtree(left)
    for checkpoint in _newest_first(folder):
        try:
            check_manifest(checkpoint)
        except DamagedFile as damage:
            say(f"The checkpoint {checkpoint} is not whole and is passed over: {damage}")
        else:
            return checkpoint
    return None


def _read(checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    learning = _learning(model)
    _fill(learning, load_file(checkpoint / WEIGHTS), checkpoint / WEIGHTS)
    _set_moments(learning, optimizer, load_file(checkpoint / MOMENTS))
    return thaw(Progress, read_json(checkpoint / COUNTERS))


def fresh_folder(path: Path) -> Path:
    """An empty folder of that name."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def put_in_place(writing: Path, target: Path) -> None:
    """Renames a finished folder to its name, for good."""
    if target.exists():
        shutil.rmtree(target)
    writing.rename(target)
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _learning(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _moments(learning: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """{"connector.0.weight|exp_avg": …}; a parameter that has had no gradient yet has no moments."""
    return {
        f"{name}|{key}": value.detach().contiguous()
        for name, parameter in learning.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _set_moments(
    learning: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, saved: Mapping[str, Tensor]
) -> None:
    state: dict[Tensor, dict[str, Any]] = {}
    for full_name, value in saved.items():
        name, _, key = full_name.rpartition("|")
        parameter = learning[name]
        state.setdefault(parameter, {})[key] = value.to(parameter.device)  # the step count too, for it is fused
    optimizer.state.clear()
    optimizer.state.update(state)


def _fill(learning: Mapping[str, nn.Parameter], saved: Mapping[str, Tensor], path: Path) -> None:
    if learning.keys() != saved.keys():
        name = min(learning.keys() ^ saved.keys())
        raise BadInput(f'{path} does not belong to this model: the tensor "{name}" is only on one side.')
    with torch.no_grad():
        for name, parameter in learning.items():
            parameter.copy_(saved[name])
