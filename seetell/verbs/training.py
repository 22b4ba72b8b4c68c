"""`seetell train`: a recipe by name, path or value, with its knobs turned, run to its end or on from where it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from seetell.config import apply_sets, load_recipe, pick
from seetell.errors import ConfigError, UsageError
from seetell.model.folders import model_folder
from seetell.publish import output_folder
from seetell.train.keeping import Wanted, check_saving
from seetell.train.recipe import Recipe
from seetell.train.run_files import HELD_OUT_LOSS
from seetell.verbs.eval import task_folder
from seetell.verbs.given import check_picture, check_run, importing_torch

if TYPE_CHECKING:
    from seetell.train.observing import Observer


@dataclass(frozen=True, slots=True)
class Looking:
    """What to look at while a model learns: a few pictures that it tells of, and a task of the table that it answers.

    Without `pictures` they are the first of the recipe's own data, with its own questions.
    """

    task: str = ""
    data: str | Path | None = None
    limit: int = 64
    pictures: Sequence[str | Path] = ()
    prompt: str = "Describe the image."

    def check(self) -> None:
        """Refuses a task that is not known or whose data is not there, and pictures that are not."""
        if self.task:
            from seetell.evals.tasks import TASKS  # here because it is rare and its import slow

            task_folder(pick(TASKS, self.task, "task"), self.data)
        for picture in self.pictures:
            check_picture(picture)


def train(
    recipe: str | Path | Recipe,
    out: str | Path,
    *,
    sets: Sequence[str] = (),
    device: str = "auto",
    stages: Sequence[str] = ("align", "tune"),
    looking: Looking | None = None,
    observers: Sequence[Observer] = (),
    observe_every: int = 0,
    checkpoint_every_s: float | None = None,
    keep: int = 2,
    keep_best: str = "",
    threads: int | None = None,
) -> Path:
    """Trains, and returns the folder of the finished model; the same call goes on with a run that was stopped.

    Every `observe_every` steps the model is looked at: as `looking` says, and by `observers` of one's own. The newest
    `keep` checkpoints are kept, and in `out/best` the model of the step whose figure `keep_best` was the best:
    held_out_loss, TASK/FIGURE or what your observers return, `lowest:NAME` where less is better.
    """
    resolved, out = resolve(recipe, sets), output_folder(out)
    best = Wanted.of(keep_best) if keep_best else None
    task = looking.task if looking is not None else ""
    check_saving(resolved, keep, best, is_observed=bool(observe_every and (task or observers)))
    if best is not None and task and not observers and not best.figure.startswith((HELD_OUT_LOSS, f"{task}/")):
        raise UsageError(f"--observe {task} gives figures such as {task}/accuracy, and none is named {best.figure}.")
    check_run(resolved, out, stages)
    if looking is not None:
        looking.check()
    with importing_torch():
        from seetell.train.run import train as run
        from seetell.train.start import settled
        from seetell.verbs.observing import observers_for
    resolved = settled(resolved, out)
    if looking is not None:
        observers = [*observers_for(resolved, looking), *observers]
    return run(
        resolved,
        out,
        device=device,
        stages=stages,
        observers=observers,
        observe_every=observe_every,
        checkpoint_every_s=checkpoint_every_s,
        keep=keep,
        best=best,
        threads=threads,
    )


def resolve(recipe: str | Path | Recipe, sets: Sequence[str] = ()) -> Recipe:
    """The recipe that is meant, its `--set`s applied."""
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    if not isinstance(loaded, Recipe):
        raise ConfigError(f"RECIPE in {recipe} is a {type(loaded).__name__}; it must be a seetell.train.recipe.Recipe")
    recipe = apply_sets(loaded, sets)
    start = Path(recipe.model.start).expanduser()
    if recipe.model.start and start.exists() and (folder := model_folder(start)) != Path(recipe.model.start):
        recipe = replace(recipe, model=replace(recipe.model, start=str(folder)))  # a name on the hub stays a name
    return recipe
