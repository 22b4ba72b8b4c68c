"""Looking at a model while it learns, without disturbing it by one bit.

An observer is called with the step, the model itself (not a copy) and the stage's processor. The model is in
evaluation and keeps no gradients meanwhile; random numbers that an observer draws cost training nothing, for each
step seeds itself. An observer that fails is told once and counted; the run goes on. One process alone looks, while
the others wait; of a model in shards each gathers all meanwhile (`sharding.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from seetell.encode.processor import Processor
    from seetell.model.vlm import VLM


@dataclass(frozen=True, slots=True)
class Told:
    """What the model said when it was shown a picture (a small JPEG) and asked; `truth` is what was hoped for."""

    prompt: str
    text: str
    truth: str = ""
    picture: bytes | None = field(default=None, repr=False)


Figures = Mapping[str, "float | Told"]


class Observer(Protocol):
    """Whoever looks at the model while it learns; the figures it returns go into the metrics, what was told into the
    run's page, and both to TensorBoard. Names before a "/" make groups."""

    def __call__(self, step: int, model: VLM, processor: Processor, /) -> Figures: ...


class Notes(Protocol):
    """Where what was seen is written down."""

    def observed(self, step: int, figures: Figures) -> None: ...

    def observer_failed(self, step: int, name: str, error: Exception) -> None: ...


def look(model: VLM, processor: Processor, step: int, observers: Sequence[Observer], notes: Notes) -> dict[str, float]:
    """Has every observer look at the model, in turn; returns their numbers."""
    import torch  # here, since what a run writes down is read before torch is imported

    figures: dict[str, float | Told] = {}
    try:
        with torch.no_grad():
            for observer in observers:
                model.eval()
                try:
                    figures |= observer(step, model, processor)
                except Exception as error:  # whatever it is, hours of training are worth more
                    notes.observer_failed(step, getattr(observer, "__name__", type(observer).__name__), error)
    finally:
        model.train()
    if figures:
        notes.observed(step, figures)
    return {name: float(value) for name, value in figures.items() if not isinstance(value, Told)}
