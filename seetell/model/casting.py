"""The types that a model's weights are kept in: parameters are cast, buffers never.

A buffer is a constant that a module computed for itself, such as the rotary frequencies. In bfloat16 those are up to
0.4 % off, which is a whole turn some hundred tokens into a document. Nothing saves them, so the model that is loaded
later has the exact ones again, and is another model than the one that was trained. A module's own `to` and `half` cast
both, so nothing in this package gives them a type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from seetell.model.vlm import VLM


def cast_parameters(module: nn.Module, dtype: torch.dtype) -> None:
    """Every floating parameter in that type; one that holds packed integers stays as it is."""
    place_parameters(module, dict.fromkeys(module.parameters(), dtype))


def place_parameters(
    module: nn.Module, types: Mapping[nn.Parameter, torch.dtype], device: str | torch.device | None = None
) -> None:
    """Each floating parameter in its type, and then on the device, one after the other.

    Cast before it is moved, so that the device never holds the wider form; shards stay as they are cut.
    """
    for parameter in module.parameters():
        if isinstance(parameter, DTensor) or not parameter.is_floating_point():
            continue
        cast = parameter.data.to(types[parameter])
        parameter.data = cast if device is None else cast.to(device)


def frozen_matrices(vlm: VLM) -> Iterator[nn.Parameter]:
    """What only matrix products read, and nothing moves: the parameters of frozen linear and convolution layers.

    Under autocast a frozen float32 matrix is cast to 16 bits at every pass. Held in 16 bits it gives the same products,
    bit for bit, in half the memory. Norms and embeddings do not, and a tied head is the table of embeddings.
    """
    parameter: Any
    for module in vlm.modules():
        for parameter in module.parameters(recurse=False) if isinstance(module, nn.Linear | nn.Conv2d) else ():
            if not parameter.requires_grad and parameter is not vlm.embedding.weight:
                yield parameter
