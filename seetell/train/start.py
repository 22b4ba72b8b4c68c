"""What a stage begins with: a model from its parts, a processor with the stage's template, its arithmetic."""

from __future__ import annotations

import torch

from seetell.config import pick
from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor
from seetell.encode.templates import TEMPLATES
from seetell.encode.tokenizer import Tokenizer, load_tokenizer
from seetell.model.parts import load_parts
from seetell.model.vlm import VLM
from seetell.model.weights import load_model
from seetell.train.recipe import Model, Recipe, Stage

WIDE_ENOUGH = 128


def start_model(recipe: Recipe, device: str | torch.device = "cpu") -> VLM:
    """The model before its first step, float32: from the parts with a fresh connector, or a finished folder."""
    model = recipe.model
    if model.start:
        return load_model(model.start, dtype=torch.float32, device=device)
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
    )


def stage_processor(model: Model, stage: Stage, vlm: VLM) -> Processor:
    """The processor that encodes for this stage: the model's tokenizer and pictures, the stage's template and mode."""
    image_processor = ImageProcessor(
        side_px=vlm.side_px, mean=tuple(vlm.pixel_mean.tolist()), std=tuple(vlm.pixel_std.tolist()), mode=stage.image
    )
    template = pick(TEMPLATES, stage.template, "template")
    return Processor(start_tokenizer(model), template, image_processor, slots_per_image=vlm.slots_per_image)


def start_tokenizer(model: Model) -> Tokenizer:
    """The tokenizer that the model starts with."""
    return load_tokenizer(model.start or model.language)


def choose_precision(stage: Stage, vlm: VLM) -> str:
    """What "auto" means here: bfloat16 products where the machine has instructions for them, else float32.

    A rule rather than a measurement, so that the same recipe on the same machine is the same run. On a CPU
    with avx512_bf16 a step of a 3M-weight language model, 192 wide, takes 0.74 of the time; below a width of
    WIDE_ENOUGH the conversions cost what the products save.
    """
    if stage.precision != "auto":
        return stage.precision
    if vlm.device.type == "cuda":
        pays = torch.cuda.is_bf16_supported()
    elif vlm.device.type == "cpu":
        has = torch.cpu.get_capabilities()
        pays = bool(has.get("avx512_bf16") or has.get("amx_bf16")) and vlm.language.config.hidden_size >= WIDE_ENOUGH
    else:
        pays = False
    return "bfloat16" if pays else "float32"
