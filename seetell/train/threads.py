"""Threads that prepare data beside the one that trains."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from seetell.model.threads import usable_cores

MOST = 16


@contextmanager
def threads_beside(name: str, count: int = MOST) -> Generator[ThreadPoolExecutor]:
    """At most `count`, and no more than the cores that this process may use; Pillow decodes without Python's lock.

    Each computes alone. Otherwise torch gives it helpers of its own, and with more helpers than cores OpenMP lets all
    sleep whenever they wait, the trainer's too: on 2 cores its steps then took 1.3 times as long.
    """
    count = min(count, usable_cores())
    with ThreadPoolExecutor(count, name, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield pool
        finally:  # torch remembers the last number for threads that are yet to come
            torch.set_num_threads(torch.get_num_threads())
