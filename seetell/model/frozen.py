"""Frozen matrices held in fewer bits while a stage runs, and put back as they were when it ends.

Under autocast a frozen float32 matrix is cast to 16 bits at every pass, and takes twice the memory of its copy. Held in
16 bits it gives the same products, bit for bit. Norms and embeddings stay as they are. What the matrices were lies
in the host's memory meanwhile.

In 8 bits (`fp8.py`) products run at twice the rate again, and are no longer the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seetell.model.fp8 import freeze_in_fp8, thaw_from_fp8
from seetell.model.vlm import VLM


class FrozenMatrices:
    """Holds the frozen matrices of a model in `dtype` and, when asked, those of the decoder's blocks in fp8."""

    def __init__(self, vlm: VLM, dtype: torch.dtype, fp8: bool = False) -> None:
        self._vlm = vlm
        self._plain: list[tuple[nn.Parameter, Tensor]] = []
        if fp8:
            freeze_in_fp8(vlm.language.base_model)
        held: Any
        for module in vlm.modules():
            for held in module.parameters(recurse=False) if isinstance(module, nn.Linear | nn.Conv2d) else ():
                shared = held is vlm.embedding.weight  # a tied head is the table, which is looked up as it is
                if not held.requires_grad and not shared and held.dtype == torch.float32 != dtype:
                    self._plain.append((held, held.data.to("cpu")))
                    held.data = held.data.to(dtype)

    def put_back(self) -> None:
        """The model as it was, to the last bit."""
        for held, plain in self._plain:
            held.data = plain.to(held.device)
        self._plain = []
        thaw_from_fp8(self._vlm.language)
