"""Named tensors that lie in shards on many ranks, to files and back, for any number of ranks.

PyTorch's distributed checkpoints (DCP) in the safetensors format: each rank writes and hashes what it holds, and a
reader on any number of ranks, or on one, takes the slices it needs. Tensors alone go in: with anything else in the
state DCP writes files that cannot be read, without a complaint.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.checkpoint.filesystem import FileSystem
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.checkpoint.storage import WriteResult

from seetell.files import Entry, Hashing

# A rank lays a file out in memory before it writes it, so files are small beside the state.
FILE_BYTES = 2 << 30


class _HashedFiles(FileSystem):
    """Files that are hashed as they are written, so that nobody reads them again for it."""

    def __init__(self) -> None:
        self.written: dict[str, Entry] = {}

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Generator[Any]:  # pyright: ignore
        with super().create_stream(path, mode) as stream:
            hashing = Hashing(cast(BinaryIO, stream))
            yield hashing
        self.written[Path(path).name] = hashing.entry()


class _Writer(HuggingFaceStorageWriter):
    """DCP's, which sends the hashes of what this rank wrote to the main rank, where `written` then holds all ranks'."""

    def __init__(self, folder: Path, numbers: dict[str, int]) -> None:
        super().__init__(str(folder), save_distributed=True, fqn_to_index_mapping=numbers)
        self.fs = _HashedFiles()
        self.written: dict[str, Entry] = {}

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> torch.futures.Future[list[WriteResult]]:
        super().write_data(plan, planner).wait()
        told: torch.futures.Future[list[WriteResult]] = torch.futures.Future()
        told.set_result([WriteResult(MetadataIndex(name), e["bytes"], e) for name, e in self.fs.written.items()])
        return told

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:  # noqa: ARG002  nothing else is kept
        self.written = {one.index.fqn: one.storage_data for of_rank in results for one in of_rank}


@dataclass(frozen=True, slots=True)
class Writing:
    """Shards on their way to the disk."""

    future: Future[Any]
    writer: _Writer

    def done(self) -> bool:
        return self.future.done()

    def result(self) -> dict[str, Entry]:
        """Waits for it. On the main rank: sizes and hashes of all ranks' files, by their names in the folder."""
        self.future.result()
        return self.writer.written


def start_writing(tensors: Mapping[str, Tensor], folder: Path, group: dist.ProcessGroup) -> Writing:
    """Copies the tensors, so that they may change, and writes them meanwhile; `group` is for nothing else.

    The main rank's is done when all ranks have written.
    """
    if strange := [name for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise TypeError(f"only tensors can be written as shards, which {strange[0]} is not")
    numbers, filled = {}, 0
    for name, tensor in tensors.items():
        numbers[name] = 1 + filled // FILE_BYTES
        filled += tensor.numel() * tensor.element_size() // dist.get_world_size(group)
    writer = _Writer(folder, numbers)
    future: Any = async_save(dict(tensors), storage_writer=writer, process_group=group)
    return Writing(future, writer)


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
