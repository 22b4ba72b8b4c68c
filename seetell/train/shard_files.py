"""Named tensors that lie in shards on many ranks, to files and back, for any number of ranks.

PyTorch's distributed checkpoints (DCP) in the safetensors format: each rank writes what it holds, and a reader on
any number of ranks, or on one, takes the slices it needs. Tensors alone go in: with anything else in the state DCP
writes files that cannot be read, without a complaint.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

# A rank lays a file out in memory before it writes it, so files are small beside the state.
FILE_BYTES = 2 << 30


def start_writing(tensors: Mapping[str, Tensor], folder: Path, group: dist.ProcessGroup) -> Future[Any]:
    """Copies the tensors, so that they may change, and writes them meanwhile; `group` is for nothing else.

    The main rank's future is done when all ranks have written.
    """
    if strange := [name for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise TypeError(f"only tensors can be written as shards, which {strange[0]} is not")
    numbers, filled = {}, 0
    for name, tensor in tensors.items():
        numbers[name] = 1 + filled // FILE_BYTES
        filled += tensor.numel() * tensor.element_size() // dist.get_world_size(group)
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True, fqn_to_index_mapping=numbers)
    return cast("Future[Any]", async_save(dict(tensors), storage_writer=writer, process_group=group))


def kinds(folder: Path) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shape and type of each tensor in a folder of shards, by name."""
    held: Any = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {name: (tuple(facts.size), facts.properties.dtype) for name, facts in held.items()}


def read_shards(folder: Path, empty: Callable[[str, tuple[int, ...], torch.dtype], Tensor]) -> dict[str, Tensor]:
    """Every tensor of a folder; `empty` makes the place it is put into, a shard or a whole tensor."""
    tensors = {name: empty(name, *kind) for name, kind in kinds(folder).items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process may read what many wrote
        with torch.no_grad():
            load(tensors, storage_reader=HuggingFaceStorageReader(str(folder)))
    return tensors
