"""`seetell plan`: what a recipe will do, before anything does it. How a stage is counted: `forecast/stages.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seetell.config import nearest
from seetell.errors import ConfigError
from seetell.train.gpus import GPUS
from seetell.train.recipe import Recipe
from seetell.verbs.given import check_recipe, importing_torch
from seetell.verbs.training import resolve

if TYPE_CHECKING:
    from seetell.forecast.stages import StagePlan


def plan(
    recipe: str | Path | Recipe,
    sets: Sequence[str] = (),
    *,
    device: str = "auto",
    prices: Sequence[str] = (),
    gpus: int | None = None,
    threads: int | None = None,
) -> list[StagePlan]:
    """The plan of every stage, in order. `prices` are GPU=DOLLARS an hour, `gpus` how many of them are rented."""
    resolved = resolve(recipe, sets)
    priced = dict(map(_price, prices))
    check_recipe(resolved, resolved.stages)
    with importing_torch():
        from seetell.forecast.stages import plan_stage
        from seetell.model.threads import use_threads
        from seetell.train.start import model_tokenizer, settled
    use_threads(threads)
    resolved = settled(resolved)
    tokenizer = model_tokenizer(resolved.model)
    return [
        plan_stage(resolved, name, stage, tokenizer, device, priced, gpus) for name, stage in resolved.stages.items()
    ]


def _price(text: str) -> tuple[str, float]:
    name, _, dollars = text.rpartition("=")
    if name not in GPUS:
        raise ConfigError(f'"{text}" prices no known GPU; {nearest(name, GPUS)}')
    try:
        return name, float(dollars)
    except ValueError:
        raise ConfigError(f'"{text}" is no price; write it as "{name}=2.50"') from None
