"""How the next token is chosen: the likeliest one, or a draw from the likeliest few.

A draw uses one number from its row's own generator and reads nothing of the other rows, so that what a
row says depends on its seed and its prompt and never on its neighbours in the batch. The generators
live on the CPU: a seed means the same there for every device.

Source: Holtzman et al. 2020, arXiv:1904.09751 (top-p). Shapes: R rows of the batch, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seetell.errors import UsageError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one answer is decoded; `temperature` 0 is greedy, and `stop` adds to the template's own stop strings."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens is {self.max_new_tokens}; an answer needs room for at least one token.")
        if not 0.0 <= self.temperature < float("inf"):
            raise UsageError(
                f"The temperature is {self.temperature}; give 0 (greedy) or a positive number such as 0.7."
            )
        if not 0.0 < self.top_p <= 1.0:
            raise UsageError(f"top_p is {self.top_p}; give a number above 0 and at most 1 (1 keeps every token).")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"The seed is {self.seed}; give a whole number of at least 0 and below 2**63.")
        if "" in self.stop:
            raise UsageError("An empty stop string would stop every answer before its first word; leave it out.")


def new_generator(seed: int) -> torch.Generator:
    """A row's own source of chance."""
    return torch.Generator("cpu").manual_seed(seed)


def choose(logits: Tensor, settings: Sequence[Sampling], generators: Sequence[torch.Generator]) -> list[int]:
    """logits [R, V] -> R token ids, each row by its own settings and generator."""
    chosen: list[int] = logits.argmax(dim=-1).tolist()
    drawn = [row for row, wish in enumerate(settings) if wish.temperature > 0.0]
    if drawn:  # all of them come to the host together: each wait for the device is one for every row
        picked = logits.detach() if len(drawn) == len(chosen) else logits.detach()[drawn]
        for row, its in zip(drawn, picked.to("cpu", torch.float64), strict=True):
            chosen[row] = draw(its, settings[row], generators[row])
    return chosen


def draw(logits: Tensor, settings: Sampling, generator: torch.Generator) -> int:
    """logits [V] -> one id: a uniform number looked up in the kept tokens' running sum of probability.

    Kept are the fewest likeliest tokens that reach `top_p` together; the likeliest one always is.
    """
    scaled = logits.detach().to("cpu", torch.float64) / settings.temperature
    probabilities, order = torch.softmax(scaled, dim=-1).sort(descending=True, stable=True)
    reached = probabilities.cumsum(dim=-1)
    kept = int((reached < settings.top_p).sum()) + 1
    kept = min(kept, len(order))
    target = torch.rand((), generator=generator, dtype=torch.float64) * reached[kept - 1]
    place = int(torch.searchsorted(reached[:kept], target, right=True))
    return int(order[min(place, kept - 1)])
