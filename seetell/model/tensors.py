"""Named tensors in a folder, as the ecosystem keeps them: safetensors, in shards with an index when they are large.

Older folders hold `pytorch_model*.bin`; they are read with torch's weights-only reader, which runs no code.
Reading is lazy: a tensor is read when it is asked for, so that two copies of a large model never meet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from seetell.errors import BadInput
from seetell.files import read_json, write_json

NAMED_AT_MOST = 6
SHARD_SIZE = "5GB"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


class TensorFolder(Mapping[str, Tensor]):
    """The tensors of a folder by name, each read when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, Callable[[], Tensor]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        paths = weight_files(folder)
        for path in paths:
            if path.suffix == ".safetensors":
                self._open_safetensors(path)
            else:
                for name, tensor in read_bin(path).items():
                    self._add(name, tuple(tensor.shape), lambda tensor=tensor: tensor)

    def _open_safetensors(self, path: Path) -> None:
        try:
            file: Any = safe_open(path, framework="pt")
            names: list[str] = file.keys()
            for name in names:
                shape = tuple(file.get_slice(name).get_shape())
                self._add(name, shape, lambda name=name, file=file: file.get_tensor(name))
        except (SafetensorError, OSError) as error:
            raise BadInput(f"{path} is not a whole safetensors file ({error}): fetch or save it again.") from None

    def _add(self, name: str, shape: tuple[int, ...], read: Callable[[], Tensor]) -> None:
        if name in self._read:
            raise BadInput(f"{self.folder} holds the tensor {name} twice: keep one of the files.")
        self._read[name], self._shapes[name] = read, shape

    def __getitem__(self, name: str) -> Tensor:
        return self._read[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it."""
        return self._shapes[name]


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights, as its index says, or its one file."""
    for single, index in ((SINGLE, INDEX), ("pytorch_model.bin", "pytorch_model.bin.index.json")):
        if (folder / index).exists():
            try:
                names = sorted(set(read_json(folder / index)["weight_map"].values()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadInput(f"{folder / index} is not an index of weights ({error}): fetch it again.") from None
            paths = [folder / name for name in names]
            for path in paths:
                if not path.exists():
                    raise BadInput(f"{path} is missing, though {index} names it: fetch it again.")
            return paths
        if (folder / single).exists():
            return [folder / single]
    raise BadInput(f"{folder} holds no weights ({SINGLE}, {INDEX} or pytorch_model.bin): is it a model's folder?")


def is_finite(tensor: Tensor) -> bool:
    """Whether every number is one; looked at as it is read, at some 10 GB a second."""
    if not tensor.numel() or not tensor.is_floating_point() or tensor.is_meta:
        return True
    lowest, highest = torch.aminmax(tensor.detach())  # a NaN anywhere is both
    return bool(torch.isfinite(lowest) & torch.isfinite(highest))


def refuse_not_finite(names: Sequence[str], where: str | Path) -> None:
    """A model with such weights would answer, in exclamation marks."""
    if names:
        raise BadInput(
            f"The weights in {where} hold NaN or infinite numbers: {few(names)}. Fetch or save them again; a model "
            "that was trained to such numbers is lost."
        )


def few(names: Sequence[str], most: int = NAMED_AT_MOST) -> str:
    """The first names of many, for a sentence."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def read_bin(path: Path) -> dict[str, Tensor]:
    """A file of torch.save, through the reader that runs no code."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for what is not its file
        raise BadInput(f"{path} cannot be read as plain tensors ({type(error).__name__}): fetch it again.") from None
    if not isinstance(held, dict) or not all(isinstance(tensor, Tensor) for tensor in held.values()):
        raise BadInput(f"{path} holds something else than named tensors: it is not a file of weights.")
    return held


def read_any(path: Path) -> dict[str, Tensor]:
    """A file of tensors, of either kind."""
    if path.suffix != ".safetensors":
        return read_bin(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is not a whole safetensors file ({error}): fetch or save it again.") from None


def write_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors as safetensors, sharded when large; shards of an earlier save are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = split_torch_state_dict_into_shards(dict(tensors), max_shard_size=SHARD_SIZE)
    for file, names in plan.filename_to_tensors.items():
        part = folder / f".{file}.{os.getpid()}.part"
        save_file({name: tensors[name].detach().cpu().contiguous() for name in names}, part, metadata={"format": "pt"})
        part.chmod(0o644)  # safetensors makes it readable by its owner alone
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(folder / file)
    if plan.is_sharded:
        write_json(folder / INDEX, {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename})
    else:
        (folder / INDEX).unlink(missing_ok=True)
    for stale in folder.glob("model*.safetensors"):
        if stale.name not in plan.filename_to_tensors:
            stale.unlink()
