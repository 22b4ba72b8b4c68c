"""What is measured beside time: the machine's matrix product, counted and necessary FLOPs, memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from benchmarks.systems.rows import Rows
from benchmarks.systems.sizes import Size


def _forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


# torch's counter does not know what attention is called on a CPU; the formulas are its own.
ON_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _forward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
}


@dataclass(slots=True)
class Times:
    """What one system's steps over the rows took, and what of it was waiting for data."""

    seconds: float = 0.0
    waited_s: float = 0.0
    steps: list[float] = field(default_factory=list[float])


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """One step's loss, and what it would move: the connector's gradient, flat, in float32 on the CPU."""

    loss: float
    connector: Tensor


def flat(parameters: Any) -> Tensor:
    """Gradients as one vector on the CPU."""
    return torch.cat([weight.grad.detach().float().flatten().cpu() for weight in parameters])


def synchronize(device: torch.device) -> None:
    """Waits for the device, so that a clock says what was done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_product(device: torch.device, dtype: torch.dtype, side: int, repeats: int = 5) -> float:
    """FLOP/s of a square matrix product: the median of a few."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds: list[float] = []
    for _ in range(repeats + 1):
        synchronize(device)
        began_s = time.perf_counter()
        torch.mm(a, b)
        synchronize(device)
        seconds.append(time.perf_counter() - began_s)
    return 2.0 * side**3 / sorted(seconds[1:])[repeats // 2]


def counted_flops(work: Callable[[], object]) -> int:
    """The FLOPs of matrix products, convolutions and attention, by torch's counter; causal ones count whole."""
    with FlopCounterMode(display=False, custom_mapping=ON_CPU) as counter:
        work()
    return counter.get_total_flops()


def necessary_flops(size: Size, stage: int, rows: Rows, lora_rank: int = 0) -> float:
    """What the stage cannot do without, whatever the system: no padding, no recomputing, no row without a label.

    A matrix costs 2 FLOPs a weight and token forward, 2 for the gradient of what goes in, 2 for its own where it
    learns. Causal attention counts half. The tower's forward goes to the layer that is read. The last decoder layer
    counts whole, although the places without a label could do without most of it.
    """
    key_value = size.width * size.key_value_heads // size.heads
    block = size.width * (2 * size.width + 2 * key_value + 3 * size.inner)
    each = 6.0 if stage == 2 and not lora_rank else 4.0
    tokens = sum(len(row) for row in rows.rows)
    body = each * size.layers * block * tokens
    attention = 3.0 * size.layers * 2.0 * size.width * sum(len(row) ** 2 for row in rows.rows)
    head = each * size.width * size.vocabulary * rows.supervised
    pictures = sum(row.picture >= 0 for row in rows.rows)
    patches = size.slots + 1
    tower_block = 2.0 * 12 * size.vision_width**2 * patches + 4.0 * patches**2 * size.vision_width
    tower = (size.vision_layers - 1) * tower_block + 2.0 * size.slots * 3 * size.patch_px**2 * size.vision_width
    connector = size.slots * (4.0 * size.vision_width * size.width + 6.0 * size.width**2)
    sides = 4.0 * size.width + 2.0 * (size.width + key_value) + 3.0 * (size.width + size.inner)
    lora = 6.0 * size.layers * lora_rank * sides * tokens
    return body + attention + head + lora + pictures * (tower + connector)


def forget_peak(device: torch.device) -> None:
    """Begins a new peak of memory; on Linux the process's own is reset, after what is free was given back."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """The most bytes held since: allocated on the GPU, resident in the process on a CPU; 0 where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 0
