"""`seetell plan`: what a recipe will do, before anything does it. How a stage is counted: `forecast/stages.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seetell.config import nearest
from seetell.errors import BadInput, ConfigError, UsageError
from seetell.train.gpus import GPUS
from seetell.train.recipe import Recipe
from seetell.verbs.given import check_recipe, importing_torch
from seetell.verbs.training import resolve

if TYPE_CHECKING:
    from seetell.forecast.stages import StagePlan

LENGTHS = ("llava-665k",)  # what ships (`forecast/lengths.py`)


def plan(
    recipe: str | Path | Recipe,
    sets: Sequence[str] = (),
    *,
    device: str = "auto",
    prices: Sequence[str] = (),
    gpus: int | None = None,
    threads: int | None = None,
    rows: int | None = None,
    lengths: str = "",
) -> list[StagePlan]:
    """The plan of every stage, in order. `prices` are GPU=DOLLARS an hour, `gpus` how many of them are rented.

    With `rows` or `lengths` no data is read: each stage has so many rows, as long as those of LLaVA-1.5's data.
    """
    resolved = resolve(recipe, sets)
    priced = dict(map(_price, prices))
    if lengths not in ("", *LENGTHS):
        raise UsageError(f'there are no lengths named "{lengths}"; {nearest(lengths, LENGTHS)}')
    models = bool(rows or lengths)
    try:
        check_recipe(resolved, resolved.stages, reads_data=not models)
    except BadInput as error:
        raise BadInput(f"{error} To plan without the data: --rows N, or --lengths {LENGTHS[0]}.") from None
    with importing_torch():
        from seetell.forecast.stages import Modelled, plan_stage
        from seetell.model.threads import use_threads
        from seetell.train.start import model_tokenizer, settled
    use_threads(threads)
    resolved = settled(resolved)
    tokenizer = model_tokenizer(resolved.model)
    modelled = Modelled(lengths or LENGTHS[0], rows) if models else None
    return [
        plan_stage(resolved, name, stage, tokenizer, device, priced, gpus, modelled)
        for name, stage in resolved.stages.items()
    ]


def _price(text: str) -> tuple[str, float]:
    name, _, dollars = text.rpartition("=")
    if name not in GPUS:
        raise ConfigError(f'"{text}" prices no known GPU; {nearest(name, GPUS)}')
    try:
        return name, float(dollars)
    except ValueError:
        raise ConfigError(f'"{text}" is no price; write it as "{name}=2.50"') from None
