"""Where tensors live: the one place that turns a name into a device."""

from __future__ import annotations

import torch

from seetell.errors import UsageError


def pick_device(name: str) -> torch.device:
    """`auto` is the accelerator that is there, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    elif name == "cuda" and not torch.cuda.is_available():
        raise UsageError("No CUDA device can be used here: leave --device out, or choose cpu.")
    elif name == "mps" and not torch.backends.mps.is_available():
        raise UsageError("Metal cannot be used here: leave --device out, or choose cpu.")
    return torch.device(name)
