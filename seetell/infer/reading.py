"""A model of any layout with its processor: one reader for every verb that asks it, scores it or writes it anew.

Known are seetell's own folders, adapters and runs, transformers' `LlavaForConditionalGeneration` (every version's
names), and the first releases (`liuhaotian/*`). What a folder is, its config says, never its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor
from seetell.encode.stored import beside_weights, open_processor, template_of
from seetell.encode.tokenizer import load_tokenizer
from seetell.errors import BadInput, UsageError
from seetell.model.adapter import load_any
from seetell.model.config import config_of
from seetell.model.folders import is_adapter, model_folder
from seetell.model.original import is_original, load_original
from seetell.model.vlm import VLM


def read_model(
    name: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    vision: str | None = None,
    template: str | None = None,
) -> tuple[VLM, Processor]:
    """The model and what makes ids and pixels for it; `dtype` None keeps every tensor as it is stored.

    `vision` takes the place of the tower that a first release names, `template` that of the folder's own.
    """
    folder = model_folder(name)
    config = {} if is_adapter(folder) else config_of(folder)
    if not is_original(config):
        if vision is not None:
            raise UsageError(f"{folder} holds its own tower: leave --vision out.")
        vlm = load_any(folder, dtype, device)
        return vlm, fitting(vlm, open_processor(folder, vlm.slots_per_image, template), folder)
    with beside_weights(folder) as files:
        tokenizer = load_tokenizer(files)
    vlm = load_original(folder, image_id=tokenizer.image_id, vocabulary=len(tokenizer), vision=vision, dtype=dtype)
    images = images_of_original(vlm, config)
    processor = Processor(tokenizer, template_of(template, tokenizer), images, vlm.slots_per_image)
    return vlm.to(device), fitting(vlm, processor, folder)


def fitting(vlm: VLM, processor: Processor, where: str | Path) -> Processor:
    """The processor, if it counts and names image tokens as the weights do."""
    wanted = (vlm.image_id, vlm.slots_per_image)
    given = (processor.tokenizer.image_id, processor.slots_per_image)
    if given != wanted:
        raise BadInput(
            f"{where} does not fit together: its processor gives a picture {given[1]} image tokens of id {given[0]}, "
            f"its weights expect {wanted[1]} of {wanted[0]}; put the files in that the weights were saved with."
        )
    return processor


def images_of_original(vlm: VLM, config: Mapping[str, Any]) -> ImageProcessor:
    """A first release says `pad` in its config or means its tower's own way, the square from the middle."""
    mean, std = vlm.pixel_constants
    return ImageProcessor(vlm.side_px, mean, std, "pad" if config.get("image_aspect_ratio") == "pad" else "square")
