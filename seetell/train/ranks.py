"""All of distribution, behind one noun: what is summed, clipped, agreed upon and waited for, and who may write.

One process is one rank and needs no group. `torchrun` starts several, on one machine or on many; each of them
runs the same code, and what must be one is one: the main rank alone writes files, holds the lock and talks.
Tensors go by NCCL between GPUs; everything else, and everything on a CPU, goes by gloo.

A rank that fails must not leave the others waiting. Where all do the same thing (`together`) or wait for the
main one (`on_main`), a failure is told to all and all end with it; anywhere else the process that ends closes
its connections, which the others notice, and torchrun stops the rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast
from uuid import uuid4

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor

from seetell.console import console
from seetell.errors import Failed, SeetellError, UsageError
from seetell.model.device import pick_device

# Far longer than anything the ranks do apart (the main one hashing parts, writing a model); a dead rank is noticed
# at once, by its closed connections.
PATIENCE = timedelta(hours=1)
ASK_EVERY_S = 0.01

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """The ranks of a run, as one of them sees it."""

    device: torch.device
    rank: int = 0
    count: int = 1
    nodes: int = 1

    @property
    def main(self) -> bool:
        """Whether this rank writes files and talks to people."""
        return self.rank == 0

    def sum(self, numbers: Tensor) -> Tensor:
        """The sum over all ranks, of the same shape."""
        if self.count > 1:
            numbers = numbers.clone()
            dist.all_reduce(numbers)
        return numbers

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Gives every rank the sum of all ranks' gradients; what has none on any rank keeps none.

        Called once a step. Shards are passed over, for theirs were summed where they were made.
        """
        if self.count == 1:
            return
        mine = [p for p in parameters if not isinstance(p, DTensor)]
        if not mine:
            return
        has = self.sum(torch.tensor([p.grad is not None for p in mine], dtype=torch.int32)).tolist()
        for parameter in (p for p, ranks in zip(mine, has, strict=True) if ranks and p.grad is None):
            parameter.grad = torch.zeros_like(parameter)
        waiting = [dist.all_reduce(p.grad, async_op=True) for p in mine if p.grad is not None]
        for work in waiting:
            cast(dist.Work, work).wait()

    def clip(self, parameters: Iterable[nn.Parameter], largest_norm: float) -> Tensor:
        """Scales the gradients of the whole model down to the norm; returns the norm before, []."""
        norm = nn.utils.clip_grad_norm_(parameters, largest_norm)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether any rank raised it: one answer for all ranks."""
        return [bool(raised) for raised in self.sum(torch.tensor(flags, dtype=torch.int32)).tolist()]

    def gather(self, value: T) -> list[T]:
        """Every rank's value, in the ranks' order, on every rank."""
        if self.count == 1:
            return [value]
        values: list[T | None] = [None] * self.count
        dist.all_gather_object(values, value)
        return cast("list[T]", values)

    def broadcast(self, value: T) -> T:
        """The main rank's value, on every rank."""
        if self.count == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held)
        return held[0]

    def barrier(self) -> None:
        """Waits for every rank."""
        self.any(False)

    def on_main(self, work: Callable[[], T]) -> T:
        """What the main rank's work returns, on every rank; when it fails, all end."""
        if self.count == 1:
            return work()
        done, failure = _attempt(work) if self.main else (None, None)
        failure = self.broadcast(failure)
        if failure is not None:
            raise self.agreed(failure)
        return self.broadcast(cast("T", done))

    def together(self, work: Callable[[], T]) -> T:
        """What this rank's work returns, once all ranks have done theirs; when one fails, all end."""
        if self.count == 1:
            return work()
        done, failure = _attempt(work)
        failures = [one for one in self.gather(failure) if one is not None]
        if failures:
            raise self.agreed(failures[0])
        return cast("T", done)

    def agreed(self, failure: Exception) -> BaseException:
        """A failure that every rank knows of: the main one tells it, the others end with its exit code, silently."""
        return failure if self.main else SystemExit(getattr(failure, "exit_code", 1))


def _attempt(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """A value or a failure that can be sent to other processes."""
    try:
        return work(), None
    except (SeetellError, OSError) as error:
        return None, error
    except Exception as error:
        return None, Failed(f"A rank failed unexpectedly ({type(error).__name__}: {error}).")


@contextmanager
def join(device: str) -> Iterator[Ranks]:
    """This process among those that torchrun started, or alone; a group that is there already is used."""
    chosen = pick_device(device)
    count = dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(chosen)
        return
    chosen = _own_device(chosen)
    begins = not dist.is_initialized()
    if begins:
        backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
        store, rank, count = next(rendezvous("env://", timeout=PATIENCE))
        store = fresh_store(store, rank, count)
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    ranks = Ranks(chosen, dist.get_rank(), count, max(1, count // here))
    quiet = console.quiet
    console.quiet = quiet or not ranks.main
    try:
        yield ranks
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        raise Failed(
            f"Rank {ranks.rank} lost the other ranks: one of them ended, and says above why. "
            "The same command resumes from the last checkpoint."
        ) from error
    finally:
        console.quiet = quiet
    if begins:
        dist.destroy_process_group()


def fresh_store(store: Store, rank: int, count: int) -> Store:
    """A part of the store where no earlier start of these ranks has written.

    torchrun keeps one store through its restarts; with the addresses of dead processes in it, a new group waits for
    ever. The main rank chooses a name and tells it to each rank that asks now, which a number never asked with before
    proves: what the dead had asked for is answered too, and nobody hears it.
    """
    name = uuid4().hex
    if rank > 0:
        store.set(f"asks/{rank}", name)
        name = store.get(f"told/{name}").decode()
        store.set(f"heard/{name}/{rank}", "yes")
        return PrefixStore(name, store)
    missing, until_s = set(range(1, count)), time.monotonic() + PATIENCE.total_seconds()
    while missing:
        for asking in missing:
            if store.check([f"asks/{asking}"]):
                store.set(f"told/{store.get(f'asks/{asking}').decode()}", name)
        missing = {waiting for waiting in missing if not store.check([f"heard/{name}/{waiting}"])}
        if missing and time.monotonic() > until_s:
            raise Failed(
                f"Of {count} ranks {len(missing)} never came, the first is {min(missing)}: look at its output."
            )
        time.sleep(ASK_EVERY_S)
    return PrefixStore(name, store)


def _own_device(chosen: torch.device) -> torch.device:
    """Each process of a machine has a GPU of its own."""
    if chosen.type == "cpu":
        return chosen
    if chosen.type != "cuda":
        raise UsageError(f"Several processes cannot share {chosen.type}: choose --device cpu, or start one process.")
    local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= there:
        raise UsageError(f"torchrun started process {local + 1} on a machine of {there} GPUs: lower --nproc-per-node.")
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _is_lost(error: RuntimeError) -> bool:
    """Whether a collective failed because another process is gone."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
