"""What a stage begins with and what it ends with: a model from its parts, in the stage's types, and its processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from seetell.console import say
from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor, template_named
from seetell.encode.stored import stored_facts, stored_own_template, stored_words
from seetell.encode.templates import OWN, TEMPLATES, VICUNA_V1
from seetell.encode.tokenizer import Tokenizer, load_tokenizer
from seetell.files import read_json
from seetell.model.adapter import add_lora, left_out, load_whole
from seetell.model.casting import cast_parameters, frozen_matrices, place_parameters
from seetell.model.config import ModelConfig
from seetell.model.folders import model_folder
from seetell.model.fp8 import check_fp8, freeze_in_fp8
from seetell.model.llava import why_not_llava
from seetell.model.parts import load_parts, parts_config
from seetell.model.vlm import VLM
from seetell.train.optimizer import choose_what_learns
from seetell.train.ranks import Ranks
from seetell.train.recipe import AUTO, Model, Recipe, Stage
from seetell.train.record import OPEN, has_begun


def start_model(recipe: Recipe, device: str | torch.device = "cpu", *, again: bool = False) -> VLM:
    """The model before its first step: from the parts with a fresh connector, or a finished folder as it is stored.

    With `again` parts that are named on the hub are those fetched before, and no newer ones.
    """
    model = recipe.model
    if model.start:
        return load_whole(model_folder(model.start), device=device)
    joined = _joined(model, load_tokenizer(model.language))
    given = {"dtype": torch.float32, "device": device, "seed": recipe.seed, "fetched": again}
    return load_parts(model.vision, model.language, **joined, **given)


def opens_in(vlm: VLM) -> str:
    """Which software the finished model is for: a sentence without its end."""
    parts = f"{vlm.connector.name} over {vlm.language.config.model_type} and {vlm.vision.config.model_type}"
    if (why_not := why_not_llava(vlm)) is None:
        return f"{parts}: opens in transformers as LlavaForConditionalGeneration"
    return f"{parts}: opens in seetell only, for transformers' LLaVA is another model: {why_not}"


def type_of_learning(stage: Stage) -> torch.dtype:
    """What the weights that learn are kept in."""
    return torch.float32 if stage.optimizer == "adamw" else torch.bfloat16


def ready_model(
    vlm: VLM, stage: Stage, precision: torch.dtype, seed: int, device: str | torch.device, sharded: bool = False
) -> VLM:
    """The model as the stage trains it: what learns is chosen, each weight is in its type, and lies on the device.

    Of a model that is to be cut into shards only what is chosen: each block goes to the device as it is cut.
    """
    if stage.fp8:
        check_fp8(torch.device(device))
    if (lora := stage.lora) is not None:
        if told := left_out(vlm):
            say(told)
        given = {"rank": lora.rank, "alpha": lora.alpha, "dropout": lora.dropout, "bits": lora.bits}
        add_lora(vlm, **given, seed=seed, device=device, dtype=precision)
    choose_what_learns(vlm, stage)
    if stage.fp8:
        freeze_in_fp8(vlm.language.base_model, device)
    if sharded:
        return vlm
    place_parameters(vlm, stage_types(vlm, stage, precision), device)
    return vlm.to(device)


def stage_types(vlm: VLM, stage: Stage, precision: torch.dtype) -> dict[nn.Parameter, torch.dtype]:
    """The type of each weight in this stage, once what learns is chosen.

    What learns is float32, or bfloat16 under an optimizer that is made for it. So is what is frozen, but matrices are
    held in the type they are multiplied in, and so is all that lies below LoRA's.
    """
    types = dict.fromkeys(vlm.parameters(), type_of_learning(stage))
    below = [*vlm.vision.parameters(), *vlm.language.parameters()] if stage.lora is not None else []
    held = (*frozen_matrices(vlm), *(weight for weight in below if not weight.requires_grad))
    return types | dict.fromkeys(held, precision)


def learned_weights(vlm: VLM, ranks: Ranks) -> dict[str, Tensor]:
    """What the stage moved, by name, whole and in the memory of the main rank's host; the other ranks get none."""
    learned: dict[str, Tensor] = {}
    for name, parameter in vlm.named_parameters():
        if parameter.requires_grad:
            held = parameter.detach()
            held = held.full_tensor() if isinstance(held, DTensor) else held  # all ranks together
            if ranks.main:
                learned[name] = held.cpu()
    return learned


def with_learned(vlm: VLM, learned: Mapping[str, Tensor], dtype: torch.dtype) -> VLM:
    """The model that a stage began with, as it is stored, with what was learned put in: the stage's result.

    What did not learn is as it was, to the last bit, in whatever form it was computed with.
    """
    for name, tensor in learned.items():
        vlm.get_parameter(name).data = tensor
    cast_parameters(vlm, dtype)
    return vlm


def stage_processor(model: Model, stage: Stage, vlm: VLM, today: date | None = None) -> Processor:
    """The processor that encodes for this stage: the model's tokenizer and pictures, the stage's template and mode.

    `today` is the date that a chat template reads where it asks for one: a run has one date, whatever the day.
    """
    return _processor(model, stage, model_tokenizer(model), vlm.config, today)


def planning_processor(model: Model, stage: Stage) -> Processor:
    """The same for counting tokens: made from the parts' configs, without any weight."""
    tokenizer = model_tokenizer(model)
    return _processor(model, stage, tokenizer, planned_config(model, tokenizer), None)


def planned_config(model: Model, tokenizer: Tokenizer) -> ModelConfig:
    """The config of the model that `start_model` would give, read from configs alone."""
    if model.start:
        return ModelConfig.from_folder(model_folder(model.start))
    return parts_config(model.vision, model.language, **_joined(model, tokenizer))


def model_tokenizer(model: Model) -> Tokenizer:
    """The tokenizer of the language model, or of the finished model to go on from."""
    return load_tokenizer(model_folder(model.start) if model.start else model.language)


def settled(recipe: Recipe, out: Path | None = None) -> Recipe:
    """The recipe with the template and the picture mode that each stage will have, where it leaves them open.

    A run that has begun in `out` keeps what it began with.
    """
    begun = read_json(out / "recipe.json") if out is not None and has_begun(out) else {}
    stages: dict[str, Stage] = {}
    for name, stage in recipe.stages.items():
        before: dict[str, Any] = begun.get(name) or {}
        kept = {what: before[what] for what in _open(stage) if what in before}
        stages[name] = _settled(recipe.model, replace(stage, **kept))
        if recipe.model.start and _open(stage) and not kept:
            taken = " and ".join(f"{what}={getattr(stages[name], what)}" for what in _open(stage))
            say(f"{name} takes {taken} from the model that it starts from, {recipe.model.start}.")
    return replace(recipe, **stages)


def _settled(model: Model, stage: Stage) -> Stage:
    """Open are left what the model to start from has, and what LLaVA-1.5 has where there is none."""
    if not _open(stage):
        return stage
    template, image = stored_words(model_folder(model.start)) if model.start else (VICUNA_V1.name, "pad")
    if template in TEMPLATES and not TEMPLATES[template].questions:
        template = VICUNA_V1.name  # the model was aligned and no more: it knows no dialogue yet
    found: dict[str, Any] = {"template": template, "image": image}
    return replace(stage, **{what: found[what] for what in _open(stage)})


def _open(stage: Stage) -> list[str]:
    """What the stage leaves to the model."""
    return [what for what in OPEN if getattr(stage, what) == AUTO]


def _tell_other_words(model: Model, stage: Stage) -> None:
    """Says when a model is to go on in other words, or with pictures cut otherwise, than it was tuned in."""
    facts = stored_facts(model_folder(model.start)) if model.start else {}
    for knob, was, now in (
        ("template", facts.get("template"), stage.template),
        ("image", facts.get("image_mode"), stage.image),
    ):
        if was and now not in (was, OWN):
            say(f"{model.start} was tuned with {knob}={was}, and this stage trains with {knob}={now}.")


def _joined(model: Model, tokenizer: Tokenizer) -> dict[str, Any]:
    """How a recipe joins its two parts, `<image>` included."""
    return {**model.joined, "image_id": tokenizer.image_id, "vocabulary": len(tokenizer)}


def _processor(model: Model, stage: Stage, tokenizer: Tokenizer, config: ModelConfig, today: date | None) -> Processor:
    stage = _settled(model, stage)
    _tell_other_words(model, stage)
    own = stored_own_template(model_folder(model.start), tokenizer) if model.start and stage.template == OWN else None
    template = own or template_named(stage.template, tokenizer, today)
    pictures = ImageProcessor(config.side_px, config.pixel_mean, config.pixel_std, stage.image, stage.picture_decoding)
    return Processor(tokenizer, template, pictures, config.image_tokens)
