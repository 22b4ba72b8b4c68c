"""How many threads compute: as many as were asked for, else one for each core that is really free. One place decides.

Free are the cores that this process may use (its affinity, the quota of its control group) less those that other
processes keep busy. A thread that finds its core busy keeps all the others waiting at every sum. A core counts as busy
only where both the load of the last minute and a moment's sample say so: the load alone still shows what this user ran
just before. `OMP_NUM_THREADS` is a wish too, and is followed. Source: proc(5), cgroups(7).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

from seetell.console import say

ROOT = Path("/")
WISHES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
SAMPLE_S = 0.2


def use_threads(asked: int | None = None) -> int:
    """Has torch compute with so many threads, or with as many as cores are free; says when those are not all."""
    count = choose_threads(asked)
    torch.set_num_threads(count)
    return count


def choose_threads(asked: int | None = None) -> int:
    """The same number, without using it yet."""
    most = torch.get_num_threads()
    if asked is not None:
        return asked
    if any(wish in os.environ for wish in WISHES):
        return most
    usable, busy = usable_cores(), busy_cores()
    count = max(1, min(most, usable - round(busy)))
    if count < most:
        why = f"{usable} cores may be used" + (f", and others keep {busy:.1f} of them busy" if busy >= 0.5 else "")
        threads = "1 thread" if count == 1 else f"{count} threads"
        say(f"Computing with {threads}, not {most}: {why}. To choose another number: --threads {most}.")
    return count


def usable_cores(root: Path = ROOT) -> int:
    """The cores that this process may use, by its affinity and by its control group's quota, rounded up."""
    cores = len(_own_cores())
    return max(1, min(cores, math.ceil(min(_quotas(root), default=cores))))


def busy_cores(root: Path = ROOT, wait: Callable[[float], None] = time.sleep) -> float:
    """How many of the cores that this process may use others keep busy."""
    try:
        load, _, _ = os.getloadavg()
    except (AttributeError, OSError):  # a system that does not tell
        return 0.0
    if load < 0.5:
        return 0.0
    cores = _own_cores()
    before = _times(root)
    if not before:
        return min(load, len(cores))
    wait(SAMPLE_S)
    after = _times(root)
    sampled = 0.0
    for core in cores & before.keys() & after.keys():
        idle, total = (now - then for now, then in zip(after[core], before[core], strict=True))
        sampled += 1 - idle / total if total > 0 else 0.0
    return min(load, sampled)


def _own_cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _quotas(root: Path) -> list[float]:
    """What control groups allow, in cores: of this process's group and all above it, in either version."""
    found: list[float] = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        is_second = controllers == ""
        if not is_second and "cpu" not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / ("" if is_second else "cpu")
        inside = Path(group.lstrip("/"))
        for folder in (base / inside, *(base / above for above in inside.parents)):
            if is_second:
                quota, period = (*_read(folder / "cpu.max").split(), "", "")[:2]
            else:
                quota, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
            if quota.isdecimal() and period.isdecimal() and int(period):  # "max" and -1 are no quota
                found.append(int(quota) / int(period))
    return found


def _times(root: Path) -> dict[int, tuple[int, int]]:
    """Of each core the time that it was idle, and all of its time."""
    times: dict[int, tuple[int, int]] = {}
    for line in _read(root / "proc/stat").splitlines():
        name, *numbers = line.split()
        if name.startswith("cpu") and name[3:].isdecimal() and len(numbers) >= 5:
            spent = list(map(int, numbers[:8]))  # later ones are contained in earlier ones
            times[int(name[3:])] = (spent[3] + spent[4], sum(spent))
    return times


def _read(path: Path) -> str:
    """Nothing where a system has no such file."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
