"""Bytes of tensors that live: what operations make is seen as they make it, and counted until nobody holds it.

A storage is counted once however many tensors look at it, for as long as it lives, on any device, the meta device
included. What an allocator or the C library keeps beside it is not counted: the numbers are the same on every machine.

Source  the idea of a dispatch mode and weak references: torch.distributed._tools.mem_tracker.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Storages(TorchDispatchMode):
    """Counts while it is entered: the bytes that live now, and at the fullest moment since `peak` was set."""

    def __init__(self, remembers: bool = False) -> None:
        """`remembers` keeps which storages lived at the fullest moment, for `held`."""
        super().__init__()
        self.bytes = self.peak = 0
        self._remembers = remembers
        self._at_peak: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._refs: dict[int, weakref.ref[Any]] = {}
        self._resize: Any = torch.UntypedStorage.resize_

    def add(self, value: Any) -> None:
        """Counts the tensors in a value, made before."""
        for tensor in tree_leaves(value):
            if (local := _local(tensor)) is not None:
                self._see(local.untyped_storage())

    def next_moment(self) -> int:
        """The most that lived since the last moment began; the next one begins."""
        peak, self.peak = self.peak, self.bytes
        return peak

    def held(self, value: Any) -> int:
        """How many bytes of the tensors in a value lived at the fullest moment; each is told of once."""
        locals_ = (_local(tensor) for tensor in tree_leaves(value))
        return sum(self._at_peak.pop(id(one.untyped_storage()), 0) for one in locals_ if one is not None)

    def rest(self) -> int:
        """What lived at the fullest moment and was not told of."""
        return sum(self._at_peak.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.add(made)
        return made

    def __enter__(self) -> Storages:
        def resize_(storage: Any, size: int) -> Any:
            done = self._resize(storage, size)
            self._see(storage)
            return done

        torch.UntypedStorage.resize_ = resize_  # type: ignore[method-assign]  # FSDP takes and frees memory by it
        return super().__enter__()

    def __exit__(self, *failure: Any) -> None:
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]
        super().__exit__(*failure)

    def _see(self, storage: Any) -> None:
        key = id(storage)  # torch keeps one Python object for a storage as long as it lives
        if key not in self._refs:
            self._refs[key] = weakref.ref(storage, partial(self._forget, key))
        size = storage.nbytes()
        self.bytes += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        if self.bytes > self.peak:
            self.peak = self.bytes
            if self._remembers:
                self._at_peak = dict(self._sizes)

    def _forget(self, key: int, _: Any) -> None:
        self._refs.pop(key, None)
        self.bytes -= self._sizes.pop(key, 0)


def _local(tensor: Any) -> Tensor | None:
    if isinstance(tensor, DTensor):
        return tensor._local_tensor
    return tensor if isinstance(tensor, Tensor) else None
