"""`seetell import`: a LLaVA model of any layout becomes a seetell folder, weights and processor, bit by bit.

Known is every model that `infer/reading.py` reads, and two kinds of parts: stage 1's `mm_projector.bin` together with
the two models it joins, and a first release's LoRA together with its base. What a source is, its config and its files
say, never its name. Whole weights win: the connector alone that lies beside them is theirs.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from seetell.console import say
from seetell.errors import BadInput, UsageError
from seetell.model.folders import (
    ADAPTER_CONFIG,
    CONFIG,
    PROJECTOR,
    base_named,
    has_weights,
    located,
    model_folder,
)
from seetell.publish import publish, refuse_filled
from seetell.verbs.given import check_template, importing_torch

if TYPE_CHECKING:
    from seetell.encode.processor import Processor
    from seetell.model.vlm import VLM

SENTENCEPIECE = "tokenizer.model"


def import_model(
    source: str | Path,
    out: str | Path,
    *,
    vision: str | None = None,
    language: str | None = None,
    base: str | None = None,
    template: str | None = None,
) -> Path:
    """Reads `source`, a folder, an `mm_projector.bin` or a hub name, and writes the folder `out`.

    `vision` and `language` name the two models that a projector joins (`vision` also replaces the tower that a first
    release names), `base` the model that a first release's LoRA lies over. `template` is needed only where neither the
    source nor LLaVA-1.5's own custom says the right one.
    """
    out = Path(out)
    refuse_filled(out)
    check_template(template or "")
    folder = words = located(source)
    is_lora = (folder / ADAPTER_CONFIG).exists() and (folder / CONFIG).exists() and not has_weights(folder)
    is_connector = folder.suffix == ".bin" or ((folder / PROJECTOR).exists() and not has_weights(folder))
    if is_lora and base is None:
        raise UsageError(
            f"{folder} holds LoRA's matrices alone: say --base, the model that they were trained over "
            f"(its config calls it {base_named(folder) or 'nothing'})."
        )
    if not is_lora and base is not None:
        raise UsageError(f"{source} holds no LoRA of the first LLaVA, which would lie over a base: leave --base out.")
    if not is_lora and not is_connector:
        words = model_folder(folder)
    for what, part in (("model", base), ("vision tower", vision), ("language model", language)):
        if part:
            located(part, what, weights=False)
    with importing_torch():
        from seetell.infer.reading import read_model
        from seetell.model.adapter import merge
        from seetell.model.weights import save_model
    if base is not None:
        vlm, processor, words = _lora(folder, base, vision, template)
    elif is_connector:
        vlm, processor = _projector(folder, vision, language, template)
    else:  # whole weights, whatever lies beside them
        vlm, processor = read_model(words, vision=vision, template=template)
        vlm = merge(vlm)
    with publish(out) as writing:
        save_model(vlm, writing, stop_ids=sorted(processor.stop_ids))
        processor.save(writing)
        carry(words, writing)
    say(f"Imported {source} to {out}: template {processor.template.name}, pictures {processor.image_processor.mode}.")
    return out


def carry(source: Path, out: Path) -> None:
    """Takes along the sentencepiece file, which the first LLaVA's code reads its tokens from."""
    if (source / SENTENCEPIECE).exists():
        shutil.copyfile(source / SENTENCEPIECE, out / SENTENCEPIECE)


def _lora(folder: Path, base: str, vision: str | None, template: str | None) -> tuple[VLM, Processor, Path]:
    """A first release that is LoRA's matrices, with its base; and where the words are, which it seldom brings along."""
    from seetell.encode.processor import Processor
    from seetell.encode.stored import beside_weights, template_of
    from seetell.encode.tokenizer import load_tokenizer
    from seetell.infer.reading import fitting, images_of_original
    from seetell.model.config import config_of
    from seetell.model.original import is_original, load_original

    below, config = located(base), config_of(folder)
    if not is_original(config):
        raise BadInput(f"{folder} holds LoRA's matrices of a {config.get('model_type')!r} model, not of a first LLaVA.")
    words = folder if any(folder.glob("*token*")) else below
    with beside_weights(words) as files:
        tokenizer = load_tokenizer(files)
    vlm = load_original(folder, image_id=tokenizer.image_id, vocabulary=len(tokenizer), vision=vision, base=below)
    images = images_of_original(vlm, config)
    processor = Processor(tokenizer, template_of(template, tokenizer), images, vlm.slots_per_image)
    return vlm, fitting(vlm, processor, folder), words


def _projector(source: Path, vision: str | None, language: str | None, template: str | None) -> tuple[VLM, Processor]:
    from seetell.encode.image import ImageProcessor
    from seetell.encode.processor import Processor
    from seetell.encode.stored import template_of
    from seetell.encode.tokenizer import load_tokenizer
    from seetell.infer.reading import fitting, images_of_original
    from seetell.model.config import config_of
    from seetell.model.original import load_projector
    from seetell.model.parts import folder_of

    path = source if source.is_file() else source / PROJECTOR
    config = config_of(path.parent) if (path.parent / "config.json").exists() else {}
    vision = vision or config.get("mm_vision_tower")
    if not vision or not language:
        raise UsageError(f"{path} is a connector alone: say --vision and --language, the two models it joins.")
    tokenizer = load_tokenizer(language)
    vlm = load_projector(path, vision, language, image_id=tokenizer.image_id, vocabulary=len(tokenizer), config=config)
    images = images_of_original(vlm, config) if config else ImageProcessor.load(folder_of(vision))
    processor = Processor(tokenizer, template_of(template, tokenizer), images, vlm.slots_per_image)
    return vlm, fitting(vlm, processor, path)
