"""What of a run is kept beside its end: so many checkpoints, and the model of its best step. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from seetell.errors import UsageError
from seetell.train.recipe import Recipe
from seetell.train.run_files import HELD_OUT_LOSS


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which figure is followed, and whether its lowest value is the best."""

    figure: str
    lowest: bool

    @classmethod
    def of(cls, text: str) -> Wanted:
        """`NAME`, whose highest value is the best, or `lowest:NAME`; of the held-out loss it is always the lowest."""
        name = text.removeprefix("lowest:")
        return cls(name, lowest=name != text or name == HELD_OUT_LOSS)


def check_saving(recipe: Recipe, keep: int, wanted: Wanted | None, is_observed: bool) -> None:
    """Refuses what cannot be kept, before anything is read."""
    if keep < 1:
        raise UsageError(f"At least one checkpoint is kept, not {keep}: a run could not resume without.")
    if wanted is None:
        return
    name = recipe.last_stage
    if wanted.figure == HELD_OUT_LOSS and not recipe.stages[name].held_out:
        raise UsageError(f"Nothing is held out, so there is no held-out loss to follow: --set {name}.held_out=0.02.")
    if wanted.figure != HELD_OUT_LOSS and not is_observed:
        raise UsageError(
            f"Nothing is observed, so there is no figure {wanted.figure} to follow: say --observe TASK --observe-every "
            f"100, or follow {HELD_OUT_LOSS}."
        )
