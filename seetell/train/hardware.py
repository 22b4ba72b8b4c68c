"""What this machine can do, by trying: its memory, and its rate in a large matrix product."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

# Logits that are looked at in one go: on a CPU what its caches hold, on a GPU what keeps it busy.
CHUNK_CPU, CHUNK_GPU = 2**18, 2**25
UTILISATION = 0.4  # of its dense rate that a GPU reaches in a step, in executed operations: an assumption


def memory_here(device: torch.device) -> int:
    """Bytes of the device that a run may use; on a CPU what this process is allowed of the machine's."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    return machine if allowed == "max" else min(machine, int(allowed))


def memory_of_each(device: torch.device, ranks: int) -> float:
    """Bytes that each of so many ranks of a machine may use: GPUs are one for each, a CPU's memory is shared."""
    return memory_here(device) / (1 if device.type == "cuda" else ranks)


def product_rate(device: torch.device, precision: str, side: int = 1024) -> float:
    """Operations a second of one square matrix product."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    side = side if device.type == "cpu" else 8 * side
    one, other = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    return 2 * side**3 / typical_s(lambda: one @ other, device, 9)


def typical_s(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """The middle of a few times, in seconds, after one that does not count."""
    times: list[float] = []
    for _ in range(rounds + 1):
        began_s = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began_s)
    return sorted(times[1:])[rounds // 2]
