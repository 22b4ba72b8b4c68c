"""What a stage begins with and what it ends with: a model from its parts, in the stage's types, and its processor."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from seetell.console import say
from seetell.encode.image import ImageProcessor
from seetell.encode.jinja import OWN
from seetell.encode.processor import Processor, template_named
from seetell.encode.tokenizer import Tokenizer, load_tokenizer
from seetell.errors import BadInput
from seetell.files import FACTS_FILE, as_object, read_json
from seetell.model.adapter import add_lora, left_out, load_whole
from seetell.model.casting import cast_parameters, frozen_matrices, place_parameters
from seetell.model.connector import slots
from seetell.model.folders import model_folder, whole_folder
from seetell.model.fp8 import check_fp8, freeze_in_fp8
from seetell.model.parts import load_parts, vision_config
from seetell.model.vlm import VLM
from seetell.model.weights import read_config
from seetell.train.optimizer import choose_what_learns
from seetell.train.ranks import Ranks
from seetell.train.recipe import Model, Recipe, Stage


def start_model(recipe: Recipe, device: str | torch.device = "cpu", *, again: bool = False) -> VLM:
    """The model before its first step: from the parts with a fresh connector, or a finished folder as it is stored.

    With `again` parts that are named on the hub are those fetched before, and no newer ones.
    """
    model = recipe.model
    if model.start:
        return load_whole(model_folder(model.start), device=device)
    tokenizer = load_tokenizer(model.language)
    return load_parts(
        model.vision,
        model.language,
        connector=model.connector,
        image_id=tokenizer.image_id,
        vocabulary=len(tokenizer),
        feature_layer=model.feature_layer,
        keep_cls=model.keep_cls,
        dtype=torch.float32,
        device=device,
        seed=recipe.seed,
        fetched=again,
    )


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


def stage_processor(model: Model, stage: Stage, vlm: VLM) -> Processor:
    """The processor that encodes for this stage: the model's tokenizer and pictures, the stage's template and mode."""
    # The numbers a config can hold: float32 digits beyond them would make two names of one constant.
    mean, std = ([round(value, 8) for value in numbers.tolist()] for numbers in (vlm.pixel_mean, vlm.pixel_std))
    mean, std = (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
    image_processor = ImageProcessor(vlm.side_px, mean, std, stage.image, stage.picture_decoding)
    return _processor(model, stage, image_processor, vlm.slots_per_image)


def planning_processor(model: Model, stage: Stage) -> Processor:
    """The same for counting tokens: made from the parts' configs, without any weight."""
    if model.start:
        whole = read_config(whole_folder(model_folder(model.start)))
        try:
            side_px, patch_px = (int(whole["vision_config"][name]) for name in ("image_size", "patch_size"))
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{model.start}/config.json does not say its tower's image_size and patch_size.") from error
        keep_cls = whole.get("vision_feature_select_strategy") == "full"
    else:
        config = vision_config(model.vision)
        side_px, patch_px, keep_cls = config.image_size, config.patch_size, model.keep_cls
    image_processor = ImageProcessor(side_px, mode=stage.image)
    return _processor(model, stage, image_processor, slots(side_px, patch_px, keep_cls))


def model_tokenizer(model: Model) -> Tokenizer:
    """The tokenizer of the language model, or of the finished model to go on from."""
    return load_tokenizer(model_folder(model.start) if model.start else model.language)


def _tell_other_words(model: Model, stage: Stage) -> None:
    """Says when a model is to go on in other words, or with pictures cut otherwise, than it was tuned in."""
    path = model_folder(model.start) / FACTS_FILE if model.start else None
    if path is None or not path.exists():
        return
    facts = as_object(read_json(path)) or {}
    for knob, was, now in (
        ("template", facts.get("template"), stage.template),
        ("image", facts.get("image_mode"), stage.image),
    ):
        if was and now not in (was, OWN):
            say(f"{model.start} was tuned with {knob}={was}, and this stage goes on with {knob}={now}.")


def _processor(model: Model, stage: Stage, image_processor: ImageProcessor, slots_per_image: int) -> Processor:
    _tell_other_words(model, stage)
    tokenizer = model_tokenizer(model)
    return Processor(tokenizer, template_named(stage.template, tokenizer), image_processor, slots_per_image)
