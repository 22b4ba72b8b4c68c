"""The best weights of a stage by one observed figure, kept beside its checkpoints; they become `RUN/best`.

What is observed at a step follows from the weights there, and those are the same however often a run was killed: so
the best of a resumed run is that of an undisturbed one, also where its step is done once more.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from seetell.config import freeze, thaw
from seetell.console import say
from seetell.errors import DamagedFile
from seetell.files import check_manifest, read_json, write_json, write_manifest
from seetell.model.vlm import VLM
from seetell.train.checkpoint import WEIGHTS, fresh_folder, put_in_place
from seetell.train.keeping import Wanted
from seetell.train.ranks import Ranks
from seetell.train.run_files import HELD_OUT_LOSS
from seetell.train.start import learned_weights

BEST, FACTS = "best", "best.json"


@dataclass(frozen=True, slots=True)
class Best:
    """A value, and the step at which it was observed."""

    figure: str
    value: float
    step: int


class BestKeeper:
    """Keeps the weights of the best step so far; every rank is shown the same figures."""

    def __init__(self, folder: Path, wanted: Wanted, model: VLM, ranks: Ranks) -> None:
        self._folder, self._wanted, self._model, self._ranks = folder, wanted, model, ranks
        found = ranks.on_main(lambda: find_best(folder, wanted.figure))
        self._best = found[0] if found else None
        self._missing = False

    def see(self, step: int, figures: Mapping[str, float]) -> None:
        """Looks for the figure among those of a step, and keeps the step's weights if there was none as good."""
        value = figures.get(self._wanted.figure)
        if value is None:
            known = [name for name in figures if name != HELD_OUT_LOSS]  # which is measured at steps of its own
            if known and not self._missing:
                say(
                    f"There is no figure {self._wanted.figure} among those observed at step {step}, so nothing is kept "
                    f"as the best: stop the run, and name one of {', '.join(known)}."
                )
                self._missing = True
            return
        if not math.isfinite(value) or not self._is_better(value):
            return
        self._best = Best(self._wanted.figure, value, step)
        learned = learned_weights(self._model, self._ranks)  # all ranks together
        if self._ranks.main:
            self._keep(self._best, learned)

    def _is_better(self, value: float) -> bool:
        if self._best is None:
            return True
        return value < self._best.value if self._wanted.lowest else value > self._best.value

    def _keep(self, best: Best, learned: Mapping[str, Tensor]) -> None:
        """Written beside, put in place, and only then the one before it removed. A full disk ends no run."""
        target = self._folder / f"best-{best.step:08}"
        writing = self._folder / f".writing-{target.name}"
        try:
            fresh_folder(writing)
            save_file({name: tensor.contiguous() for name, tensor in learned.items()}, writing / WEIGHTS)
            write_json(writing / FACTS, freeze(best))
            write_manifest(writing)
            put_in_place(writing, target)
            for old in self._folder.glob("best-*"):
                if old != target:
                    shutil.rmtree(old)
        except (OSError, SafetensorError) as error:
            say(f"The best weights so far, of step {best.step}, could not be kept ({error}); training continues.")
            shutil.rmtree(writing, ignore_errors=True)


def find_best(folder: Path, figure: str = "") -> tuple[Best, Path] | None:
    """The newest whole one of that figure, or of any."""
    for path in sorted(folder.glob("best-*"), reverse=True):
        try:
            check_manifest(path)
        except DamagedFile:
            continue
        best = thaw(Best, read_json(path / FACTS))
        if figure in ("", best.figure):
            return best, path
    return None


def best_weights(path: Path) -> dict[str, Tensor]:
    """What learned, by name, as it was at that step."""
    return load_file(path / WEIGHTS)


@contextmanager
def holding(vlm: VLM, weights: Mapping[str, Tensor]) -> Iterator[VLM]:
    """The model with these weights in place of its own, until the end of the block."""
    own = {name: vlm.get_parameter(name).data for name in weights}
    try:
        for name, tensor in weights.items():
            vlm.get_parameter(name).data = tensor.to(own[name].device)
        yield vlm
    finally:
        for name, tensor in own.items():
            vlm.get_parameter(name).data = tensor
