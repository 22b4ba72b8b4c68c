"""Training checkpoints that survive SIGKILL: whole or not there, and never a pickle.

A checkpoint is a folder: what learns and the optimizer's moments as safetensors, the counters as JSON, and a
manifest with sizes and hashes, written last. The folder is filled under a name nobody reads, flushed to the
disk, and renamed. Training waits until the tensors are copied, or where one rank writes all, until they are in files;
hashing and flushing go on beside it, and shards are hashed by the ranks that write them. Reading takes the newest
that is whole; damaged ones are passed over and told. Random state needs no saving, for every step seeds itself
(`loop.fit`), and neither does the data's, for the plan is a pure function.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.tensor import DTensor, distribute_tensor

from seetell.config import freeze, thaw
from seetell.console import say
from seetell.errors import BadInput, DamagedFile, DiskFull, Failed
from seetell.files import Entry, check_manifest, read_json, telling_full_disk, write_json, write_manifest
from seetell.train.log import Progress
from seetell.train.ranks import PATIENCE, Ranks
from seetell.train.shard_files import Writing, kinds, read_shards, start_writing

KEPT = 2  # unless more or fewer are asked for: the newest, and one behind it in case the disk fails the newest
WEIGHTS, MOMENTS, SHARDS, COUNTERS = "weights.safetensors", "optimizer.safetensors", "shards", "progress.json"


class Keeper:
    """Saves a stage as it goes on, and keeps the newest checkpoints.

    One that cannot be written (a full disk) is told in a sentence and costs nothing: those before it stay, and the
    next one is tried as if nothing had been.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        ranks: Ranks,
        sharded: bool = False,
        keep: int = KEPT,
    ) -> None:
        self._keep = keep
        self._folder, self._model, self._optimizer, self._ranks = folder, model, optimizer, ranks
        # What is written in the background needs a group of its own: its messages must not meet those of the steps.
        self._group: Any = dist.new_group(backend="gloo", timeout=PATIENCE) if sharded else None
        self._written: Writing | Future[None] | None = None
        self._beside = ThreadPoolExecutor(1, "checkpoint")
        self._progress = Progress()
        self._failure = ""

    def save(self, progress: Progress) -> None:
        """Begins `folder/step-N`: shards are copied and a whole model is written; the rest comes beside training."""
        self.finish()
        self._progress, self._failure = replace(progress), ""
        if self._group is None:
            if self._ranks.main and self._attempt(self._write_plain):
                self._written = self._beside.submit(self._complete, {})
        elif self._ranks.on_main(lambda: self._attempt(lambda: fresh_folder(self._writing))):
            learning = _learning(self._model)
            tensors = {name: parameter.detach() for name, parameter in learning.items()}
            tensors |= _moments(learning, self._optimizer)
            self._written = start_writing(tensors, self._writing / SHARDS, self._group)

    def look(self) -> None:
        """Completes a save that has been written meanwhile."""
        if self._written is not None and self._written.done():
            self.finish()

    def finish(self) -> None:
        """Waits for a save, and completes it."""
        written, self._written = self._written, None
        if isinstance(written, Future):
            self._attempt(written.result)
        elif written is not None and self._attempt(written.result) and self._ranks.main:
            hashes = {f"{SHARDS}/{name}": entry for name, entry in written.result().items()}
            self._attempt(lambda: self._complete(hashes))

    def check(self) -> None:
        """Fails when the last save did."""
        if self._failure:
            raise Failed(f"{self._failure} Make room there: the same command resumes from what is kept.")

    @property
    def _target(self) -> Path:
        return self._folder / f"step-{self._progress.step:08}"

    @property
    def _writing(self) -> Path:
        return self._folder / f".writing-{self._target.name}"

    def _write_plain(self) -> None:
        learning = _learning(self._model)
        writing = fresh_folder(self._writing)
        save_file({name: parameter.detach().contiguous() for name, parameter in learning.items()}, writing / WEIGHTS)
        save_file(_moments(learning, self._optimizer), writing / MOMENTS)

    def _complete(self, hashes: Mapping[str, Entry]) -> None:
        """What makes files a checkpoint: the counters, the manifest, the name."""
        write_json(self._writing / COUNTERS, freeze(self._progress))
        write_manifest(self._writing, hashes)
        put_in_place(self._writing, self._target)
        for old in _newest_first(self._folder)[self._keep :]:
            shutil.rmtree(old)

    def _attempt(self, work: Callable[[], object]) -> bool:
        """Whether it could be written; if not, that is told and what there is of it removed."""
        try:
            work()
        except (OSError, SafetensorError, CheckpointException, DamagedFile) as error:
            kept = _newest_first(self._folder)
            rest = f"{kept[0].name} is kept." if kept else "There is none before it."
            self._failure = f"{self._target} could not be written ({_reason(error)}). {rest}"
            if self._ranks.main:
                say(f"{self._failure} Training continues, and the next checkpoint is tried.")
                shutil.rmtree(self._writing, ignore_errors=True)
            return False
        return True


@contextmanager
def full_disk_told(out: Path) -> Iterator[None]:
    """A disk without room ends the run in a sentence: whatever was saved before is whole."""
    try:
        with telling_full_disk(out):
            yield
    except DiskFull as full:
        raise Failed(
            f"There is no room left in {out} ({_reason(full)}). What was saved before is whole: make room, and the "
            "same command resumes from there."
        ) from full


def _reason(error: BaseException) -> str:
    """What the system said; of a failure on several ranks, what it said to the first."""
    if isinstance(error, CheckpointException):
        error = next((inner for inner, _ in error.failures.values()), error)
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.strip().splitlines()[0] if said.strip() else type(error).__name__


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, ranks: Ranks) -> Progress | None:
    """Puts the newest whole checkpoint into every rank's model and optimizer; None when there is none."""
    checkpoint = ranks.on_main(lambda: newest_whole(folder))
    if checkpoint is None:
        return None
    sharded = (checkpoint / SHARDS).is_dir()
    if sharded:  # the ranks read it together: no single one may stop for a reason that only it sees
        ranks.together(lambda: _check_names(_learning(model), kinds(checkpoint / SHARDS), checkpoint))
        _read_shards(checkpoint / SHARDS, model, optimizer)
    else:
        ranks.together(lambda: _read_plain(checkpoint, model, optimizer))
    return thaw(Progress, read_json(checkpoint / COUNTERS))


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


def _read_plain(checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    learning = _learning(model)
    weights = load_file(checkpoint / WEIGHTS)
    _check_names(learning, weights, checkpoint / WEIGHTS)
    with torch.no_grad():
        for name, parameter in learning.items():
            parameter.copy_(_placed(weights[name], parameter))
    _set_moments(learning, optimizer, load_file(checkpoint / MOMENTS))


def _read_shards(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    learning = _learning(model)

    def empty(full_name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """The weight itself; a moment lies as its weight does, unless it is one number."""
        parameter = learning[full_name.partition("|")[0]]
        if full_name in learning:
            return parameter.detach()
        if shape == parameter.shape:
            return torch.zeros_like(parameter.detach(), dtype=dtype)
        return torch.zeros(shape, dtype=dtype)

    tensors = read_shards(folder, empty)
    _set_moments(learning, optimizer, {name: value for name, value in tensors.items() if "|" in name})


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
        # A step count lies on the device for a fused kernel, which reads it there; any other optimizer reads it here.
        here = value.ndim == 0 and not optimizer.defaults.get("fused")
        state.setdefault(parameter, {})[key] = value if here else _placed(value, parameter)
    optimizer.state.clear()
    optimizer.state.update(state)


def _placed(value: Tensor, parameter: nn.Parameter) -> Tensor:
    """A tensor where its parameter lies: on its device, and cut as it is cut; one number is never cut."""
    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor) or isinstance(value, DTensor) or value.shape != parameter.shape:
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def _check_names(learning: Mapping[str, nn.Parameter], saved: Mapping[str, object], path: Path) -> None:
    if differing := learning.keys() ^ {name for name in saved if "|" not in name}:
        raise BadInput(f'{path} does not belong to this model: the tensor "{min(differing)}" is only on one side.')
