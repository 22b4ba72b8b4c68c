"""A model of any layout with its processor: one reader for every verb that asks it, scores it or writes it anew.

Known are seetell's own folders, adapters and runs, transformers' `LlavaForConditionalGeneration` (every version's
names), and the first releases (`liuhaotian/*`). What a folder is, its config says, never its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from seetell.console import say
from seetell.encode.image import ImageProcessor
from seetell.encode.jinja import own_template
from seetell.encode.processor import Processor, template_named
from seetell.encode.templates import VICUNA_V1, Template
from seetell.encode.tokenizer import Tokenizer, load_tokenizer
from seetell.errors import BadInput, SeetellError, UsageError
from seetell.files import FACTS_FILE, as_object, read_json
from seetell.model.adapter import load_any
from seetell.model.config import config_of
from seetell.model.folders import is_adapter, model_folder
from seetell.model.original import is_original, load_original
from seetell.model.vlm import VLM

BESIDE_WEIGHTS = [FACTS_FILE, "*processor_config.json", "*token*", "vocab.json", "merges.txt", "chat_template*"]


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


def open_processor(folder: Path, slots_per_image: int, template: str | None = None) -> Processor:
    """The folder's processor. Where nobody wrote down a template: the folder's own, else the one LLaVA-1.5 has."""
    with beside_weights(folder) as files:
        if (files / FACTS_FILE).exists() and template is None:
            return Processor.load(files)
        tokenizer = load_tokenizer(files)
    found = template_of(template, tokenizer)
    if template is None:
        say(f"{folder} has no {FACTS_FILE}, so prompts are written with the chat template {found.name!r}.")
    return Processor(tokenizer, found, images_of(folder), slots_per_image)


def fitting(vlm: VLM, processor: Processor, where: str | Path) -> Processor:
    """The processor, if it counts and names image tokens as the weights do."""
    wanted = (vlm.image_id, vlm.slots_per_image)
    given = (processor.tokenizer.image_id, processor.slots_per_image)
    if given != wanted:
        raise BadInput(
            f"{where} does not fit together: its processor gives a picture {given[1]} slots of token {given[0]}, "
            f"its weights expect {wanted[1]} of {wanted[0]}; put the files in that the weights were saved with."
        )
    return processor


@contextmanager
def beside_weights(folder: Path) -> Iterator[Path]:
    """Links to what turns words into ids, without the config: a first release's names a kind of model that
    transformers does not know, and its tokenizers ask for it. What is refused there is told of the folder itself."""
    with TemporaryDirectory() as links:
        for path in sorted({path for pattern in BESIDE_WEIGHTS for path in folder.glob(pattern)}):
            (Path(links) / path.name).symlink_to(path.resolve())
        if not any(Path(links).glob("*token*")):
            raise BadInput(f"{folder} holds no tokenizer: copy its language model's files into it.")
        try:
            yield Path(links)
        except SeetellError as error:
            raise type(error)(str(error).replace(links, str(folder))) from None


def images_of(folder: Path) -> ImageProcessor:
    """The folder's image processor, wherever its version of transformers wrote it down."""
    whole = folder / "processor_config.json"
    if (folder / "preprocessor_config.json").exists() or not whole.exists():
        return ImageProcessor.load(folder)
    return ImageProcessor.from_settings((as_object(read_json(whole)) or {}).get("image_processor"), str(whole))


def images_of_original(vlm: VLM, config: Mapping[str, Any]) -> ImageProcessor:
    """A first release says `pad` in its config or means its tower's own way, the square from the middle."""
    mean, std = vlm.pixel_constants
    return ImageProcessor(vlm.side_px, mean, std, "pad" if config.get("image_aspect_ratio") == "pad" else "square")


def template_of(name: str | None, tokenizer: Tokenizer) -> Template:
    """The template asked for; else the language model's own; else LLaVA-1.5's, for LLaVA wrote none down."""
    if name is not None:
        return template_named(name, tokenizer)
    try:
        return own_template(tokenizer)
    except UsageError:
        return VICUNA_V1
