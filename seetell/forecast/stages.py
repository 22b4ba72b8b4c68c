"""A stage of a recipe before anything does it: counts, memory, hours, cost, and what is chosen.

The data is read and encoded as training would; pictures and weights stay closed. Counts are exact. Memory follows
from the shapes of the parts. Hours on this machine follow from one short step that is timed with random weights,
hours elsewhere from the maker's rate and an assumed utilisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from seetell.config import freeze
from seetell.encode.tokenizer import Tokenizer
from seetell.errors import UsageError
from seetell.forecast.modelled import modelled_samples
from seetell.model.adapter import import_peft
from seetell.model.device import pick_device
from seetell.model.limits import longest_document
from seetell.model.vlm import VLM
from seetell.train.computing import choose_computing
from seetell.train.counts import Counted, Counts, count
from seetell.train.data import Samples, hold_out, read_samples
from seetell.train.estimate import fullest, learning_parameters, rehearsal_of, setting_of
from seetell.train.gpus import GPUS
from seetell.train.hardware import memory_here
from seetell.train.machines import Fit, Offer, fit, offer
from seetell.train.outline import outline
from seetell.train.pace import Pace, measure_pace
from seetell.train.preflight import why_not_run, within
from seetell.train.recipe import Recipe, Stage
from seetell.train.room import check_room
from seetell.train.shapes import shapes_of
from seetell.train.sharing import stage_plan
from seetell.train.start import opens_in, planning_processor
from seetell.train.work import Flops, flops


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage in figures: exact counts, work by part, and how it goes on this machine and on others."""

    name: str
    counts: Counts
    parameters: int
    learning: int
    flops: dict[str, Flops]
    device: str
    here: Fit
    pace: Pace
    hours: float
    offers: list[Offer]
    choices: dict[str, str]
    missing: list[str]

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {**freeze(self), "peak_bytes": self.here.memory.peak}


@dataclass(frozen=True, slots=True)
class Modelled:
    """Rows that stand for data that is not there yet: whose lengths they have, and how many, else as many as those."""

    lengths: str
    rows: int | None = None


def plan_stage(
    recipe: Recipe,
    name: str,
    stage: Stage,
    tokenizer: Tokenizer,
    device: str,
    prices: dict[str, float],
    gpus: int | None,
    modelled: Modelled | None = None,
) -> StagePlan:
    """The plan of one stage: of its data, or of `modelled` rows where that is not there yet."""
    machine = pick_device(device)
    if stage.lora is not None:
        import_peft()  # its layers are what memory is counted on
    vlm = outline(recipe.model, tokenizer)
    shapes = shapes_of(vlm)
    missing = why_not_run(stage, vlm, machine)
    limit, asked = longest_document(vlm.language.config), stage.max_tokens
    stage = within(stage, limit, name)
    why = limit.why if limit is not None and limit.tokens < asked else "the recipe says so"
    samples, source = _samples(recipe, name, stage, vlm.slots_per_image, tokenizer.image_id, modelled)
    planned = stage_plan(stage, samples, recipe.seed, tokenizer.image_id)
    counted = count(samples, planned, stage.cache_features)
    if missing:  # what this machine lacks, another may have: all else is planned
        stage = replace(stage, fp8=False, compile="auto")
    chosen = choose_computing(stage, vlm, machine)
    on_gpu = machine.type == "cuda"
    setting = setting_of(stage, chosen["precision"], on_gpu, chosen["checkpointing"], chosen["compile"] == "on")
    setting = replace(setting, accumulates=counted.accumulates)
    rehearsal = rehearsal_of(stage, vlm, chosen["precision"], on_gpu)
    try:
        check_room(name, stage, vlm, chosen, machine, 1, counted.largest, recipe.can_lora(name))
    except UsageError as error:
        missing.append(str(error))
    here = fit(shapes, rehearsal, counted.largest, setting, memory_here(machine), fullest(stage, shapes), count=1)
    work = flops(shapes, counted.total, stage.lr, setting.checkpointing, lora_rank=setting.lora_rank)
    pace = measure_pace(recipe.model, stage, tokenizer, counted, machine, chosen)
    executed = sum(part.executed for part in work.values())
    learning = learning_parameters(shapes, setting)
    return StagePlan(
        name=name,
        counts=counted.counts,
        parameters=shapes.parameters,
        learning=learning,
        flops=work,
        device=machine.type,
        here=here,
        pace=pace,
        hours=pace.seconds(executed, counted.counts.steps, learning) / 3600,
        offers=_offers(stage, vlm, counted, prices, gpus),
        choices={
            **source,
            **_choices(stage, here, chosen, shapes.prunes),
            "longest sample": f"{stage.max_tokens:,} tokens: {why}",
            "words and pictures": f"template {stage.template}, image {stage.image}",
            "the model": opens_in(vlm),
        },
        missing=missing,
    )


def _samples(
    recipe: Recipe, name: str, stage: Stage, slots: int, image_id: int, modelled: Modelled | None
) -> tuple[Samples, dict[str, str]]:
    """The stage's samples, read or modelled, and what there is to say of where they come from."""
    if modelled is None:
        return read_samples(stage, planning_processor(recipe.model, stage), recipe.seed, name), {}
    samples = modelled_samples(name, modelled.rows, image_id, slots, seed=recipe.seed, max_tokens=stage.max_tokens)
    samples = hold_out(samples, stage.held_out, recipe.seed, name)
    source = f"not read: {len(samples.names):,} rows as long as LLaVA-1.5's ({modelled.lengths})"
    return samples, {"data": source}


def _offers(stage: Stage, vlm: VLM, counted: Counted, prices: Mapping[str, float], gpus: int | None) -> list[Offer]:
    """The stage on every known GPU, compiled and in bfloat16 as it would run there."""
    shapes = shapes_of(vlm)
    rehearsal = rehearsal_of(stage, vlm, "bfloat16", on_gpu=True)
    setting = setting_of(stage, "bfloat16", True, stage.checkpointing, stage.compile != "off")
    setting, full = replace(setting, accumulates=counted.accumulates), fullest(stage, shapes)
    known = {name: replace(gpu, price_per_hour=prices.get(name, gpu.price_per_hour)) for name, gpu in GPUS.items()}
    return [
        offer(name, gpu, shapes, rehearsal, counted.largest, counted.total, setting, full, gpus)
        for name, gpu in known.items()
    ]


def _choices(stage: Stage, here: Fit, chosen: Mapping[str, str], prunes: bool) -> dict[str, str]:
    """What is chosen for this machine, each with its reason."""
    asked = "the recipe says so"
    if stage.checkpointing != "auto":
        recomputed = asked
    elif "language" not in stage.lr:
        recomputed = "frozen weights keep little, and computing all twice would cost half as much again"
    elif here.count:
        recomputed = "the least recomputation with which a full micro-batch fits in this machine's memory"
    else:
        recomputed = "and even so this machine's memory is too small"
    precise = asked if stage.precision != "auto" else "what this device multiplies fastest"
    compiled = asked if stage.compile != "auto" else "it pays on a GPU that computes in bfloat16"
    return {
        "precision": f"{chosen['precision']}: {precise}",
        "checkpointing": f"{chosen['checkpointing']}: {recomputed}",
        "compile": f"{chosen['compile']}: {compiled}",
        "last layer": "queries and MLP only for supervised tokens" if prunes else "whole: it is not of Llama's shape",
        "sharding": "none: one process; where the language model learns on several, they share its weights, and keep "
        "what they gathered through a step where that fits too",
    }
