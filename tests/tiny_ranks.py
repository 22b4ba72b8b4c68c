"""Several real processes for a test, forked from one server that has done the slow imports and joined by gloo; and a
disk that is full."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

from seetell.console import console
from seetell.train.ranks import join

PRELOADED = [
    "seetell.train.run",
    "torch.utils.tensorboard",
    "transformers.models.llama",
    "torch.distributed.checkpoint",
]


@contextmanager
def full_disk(room_bytes: int = 4096) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def context() -> ForkServerContext:
    """Where processes are forked from."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(PRELOADED)
    return found


def start_rank(
    rank: int, count: int, meeting: Path, work: Callable[..., None], *arguments: Any, nodes: int = 1
) -> ForkServerProcess:
    """A process that joins the others at `meeting`, a file, and then does its work."""
    child = context().Process(target=_join_and_work, args=(rank, count, nodes, meeting, work, arguments), daemon=True)
    child.start()
    return child


def _join_and_work(
    rank: int, count: int, nodes: int, meeting: Path, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "LOCAL_WORLD_SIZE": str(count // nodes)}
    torch.set_num_threads(1)
    console.quiet = True
    if count > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
    work(*arguments)


def on_ranks(count: int, work: Callable[..., Any], *arguments: Any, nodes: int = 1) -> list[Any]:
    """What `work(ranks, *arguments)` returns on each of so many ranks, in their order; the first failure is raised."""
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context().Pipe(duplex=False) for _ in range(count)]
        meeting = Path(folder) / "meeting"
        children = [
            start_rank(rank, count, meeting, _tell, pipe, work, arguments, nodes=nodes)
            for rank, (_, pipe) in enumerate(pipes)
        ]
        for _, pipe in pipes:
            pipe.close()
        try:
            told = [_hear(ear) for ear, _ in pipes]
        finally:
            for child in children:
                child.kill() if child.exitcode is None else None
                child.join()
    failures = [what for failed, what in told if failed]
    assert not failures, failures[0]
    return [what for _, what in told]


def _hear(ear: Any) -> tuple[bool, Any]:
    try:
        return pickle.loads(ear.recv_bytes()) if ear.poll(120) else (True, "a rank hangs")
    except EOFError:
        return True, "a rank ended without a word"


def _tell(pipe: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        with join("cpu") as ranks:
            done = work(ranks, *arguments)
        told = False, done
    except BaseException:
        told = True, traceback.format_exc()
    pipe.send_bytes(pickle.dumps(told))  # tensors by value: a process that has ended shares no memory
