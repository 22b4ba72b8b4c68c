"""What makes a resumed run on a GPU end in the same bits: torch's deterministic algorithms, while a step is taken.

Left to itself flash attention adds up its gradients in whatever order its blocks finish; so do `index_copy` and the
gradient of an indexed tensor. Asked for deterministic algorithms, torch orders them (`warn_only` would leave flash
attention as it is). cuBLAS wants a workspace of fixed size for it, said before its first product. Memory that is taken
is not filled, which that mode would do beside: nothing here reads what it has not written.

Where an operation of some family has no deterministic algorithm, that is said once, and the steps do without.

A CPU needs none of it: its sums are split by threads, whose number a run keeps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TypeVar

import torch
import torch.utils.deterministic

from seetell.console import say

WORKSPACE, FIXED = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")  # what NVIDIA names for reproducible products
T = TypeVar("T")


def fix_workspace() -> None:
    """Makes cuBLAS keep its workspace: to be called before the first product on a GPU."""
    if os.environ.get(WORKSPACE) not in FIXED:
        os.environ[WORKSPACE] = FIXED[0]


class SameBits(AbstractContextManager[None]):
    """Deterministic algorithms inside, where the device needs them and has them; as before outside."""

    def __init__(self, device: torch.device) -> None:
        self.asks = device.type == "cuda"

    def __enter__(self) -> None:
        self._before = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,  # pyright: ignore[reportAttributeAccessIssue]
        )
        if self.asks:
            self._set(True, False, False)

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.asks:
            self._set(*self._before)

    def run(self, work: Callable[[], T]) -> T:
        """What `work` gives, done inside; when an operation cannot be deterministic, done anew, without."""
        try:
            with self:
                return work()
        except RuntimeError as error:
            if not (self.asks and "deterministic" in str(error)):
                raise
            self.asks = False
            say(f"A resumed run may end in other last bits here: {str(error).strip().splitlines()[0]}")
        return work()

    @staticmethod
    def _set(mode: bool, warn_only: bool, fills: bool) -> None:
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fills  # pyright: ignore[reportAttributeAccessIssue]
