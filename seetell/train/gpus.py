"""Known GPUs by their maker's figures; needs no torch, so that a price is checked at once.

Prices are assumptions, what an hour was commonly rented at in 2025; `seetell plan --price` sets them.

Source  NVIDIA's data sheets: dense bfloat16 rates, without sparsity.
"""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Gpu:
    """One kind of GPU."""

    memory_gib: float
    flops_per_s: float
    price_per_hour: float

    @property
    def memory_bytes(self) -> float:
        return self.memory_gib * GIB


GPUS = {
    "RTX 4090 24 GB": Gpu(24, 165e12, 0.5),
    "A6000 48 GB": Gpu(48, 155e12, 0.6),
    "L40S 48 GB": Gpu(48, 362e12, 1.0),
    "A100 40 GB": Gpu(40, 312e12, 1.2),
    "A100 80 GB": Gpu(80, 312e12, 1.6),
    "H100 80 GB": Gpu(80, 989e12, 2.5),
    "H200 141 GB": Gpu(141, 989e12, 3.2),
    "B200 180 GB": Gpu(180, 2250e12, 5.0),
}
