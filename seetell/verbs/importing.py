"""`seetell import`: a LLaVA model of any layout becomes a seetell folder, weights and processor, bit by bit.

Known are transformers' `LlavaForConditionalGeneration` (every version's names), the first releases
(`liuhaotian/*`), our own folders, and stage 1's `mm_projector.bin` together with the two models it joins. What
a source is, its config says, never its name. A source that is not a folder is fetched from the hub; with
`HF_HUB_OFFLINE` set it is only looked for in the hub's cache.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from seetell.console import say
from seetell.encode.image import ImageProcessor
from seetell.encode.jinja import own_template
from seetell.encode.processor import Processor, template_named
from seetell.encode.templates import VICUNA_V1, Template
from seetell.encode.tokenizer import Tokenizer, load_tokenizer
from seetell.errors import BadInput, SeetellError, ServiceError, UsageError
from seetell.files import FACTS_FILE, as_object, read_json
from seetell.model.original import is_original, load_original, load_projector
from seetell.model.parts import folder_of
from seetell.model.vlm import VLM
from seetell.model.weights import config_of, load_model, save_model
from seetell.publish import publish, refuse_filled

PROJECTOR = "mm_projector.bin"
FILES = ["*.json", "*.model", "*.jinja", "*.txt"]
SENTENCEPIECE = "tokenizer.model"
BESIDE_WEIGHTS = [FACTS_FILE, "*processor_config.json", "*token*", "vocab.json", "merges.txt", "chat_template*"]


def import_model(
    source: str | Path,
    out: str | Path,
    *,
    vision: str | None = None,
    language: str | None = None,
    template: str | None = None,
) -> Path:
    """Reads `source`, a folder, an `mm_projector.bin` or a hub name, and writes the folder `out`.

    `vision` and `language` name the two models that a projector joins (`vision` also replaces the tower that a first
    release names). `template` is needed only where neither the source nor LLaVA-1.5's own custom says the right one.
    """
    out = Path(out)
    refuse_filled(out)
    folder = _located(source)
    if folder.is_file() or (folder / PROJECTOR).exists():
        vlm, processor = _projector(folder, vision, language, template)
    else:
        vlm, processor = _model(folder, vision, template)
    if (vlm.image_id, vlm.slots_per_image) != (processor.tokenizer.image_id, processor.slots_per_image):
        raise BadInput(
            f"{source} does not fit together: its tokenizer's <image> is {processor.tokenizer.image_id}, "
            f"its model's is {vlm.image_id}."
        )
    write_folder(vlm, processor, out, folder)
    say(f"Imported {source} to {out}: template {processor.template.name}, pictures {processor.image_processor.mode}.")
    return out


def write_folder(vlm: VLM, processor: Processor, out: Path, source: Path) -> None:
    """The finished folder appears whole."""
    with publish(out) as writing:
        save_model(vlm, writing, stop_ids=sorted(processor.stop_ids))
        processor.save(writing)
        carry(source, writing)


def carry(source: Path, out: Path) -> None:
    """Takes along the sentencepiece file, which the first LLaVA's code reads its tokens from."""
    if (source / SENTENCEPIECE).exists():
        shutil.copyfile(source / SENTENCEPIECE, out / SENTENCEPIECE)


def _located(source: str | Path) -> Path:
    """The source on this machine, fetched from the hub if it is a name there."""
    if Path(source).exists():
        return Path(source)
    try:
        folder = Path(snapshot_download(str(source), allow_patterns=[*FILES, "*.safetensors", PROJECTOR]))
        if not any(folder.glob("*.safetensors")) and not (folder / PROJECTOR).exists():
            folder = Path(snapshot_download(str(source), allow_patterns=[*FILES, "pytorch_model*.bin"]))
        return folder
    except HFValidationError:
        raise BadInput(f"There is no folder {source}, and it is no name on the hub.") from None
    except LocalEntryNotFoundError:
        raise ServiceError(f"There is no folder {source}, nor is it in the hub's cache, and no hub answers.") from None
    except HfHubHTTPError as error:
        raise ServiceError(f"The hub did not give {source}: {str(error).splitlines()[0]}") from error


def _model(folder: Path, vision: str | None, template: str | None) -> tuple[VLM, Processor]:
    config = config_of(folder)
    with _beside_weights(folder) as files:
        kept = Processor.load(files) if (files / FACTS_FILE).exists() and template is None else None
        tokenizer = kept.tokenizer if kept else load_tokenizer(files)
    if is_original(config):
        vlm = load_original(folder, image_id=tokenizer.image_id, vocabulary=len(tokenizer), vision=vision)
    elif vision is None:
        vlm = load_model(folder)
    else:
        raise UsageError(f"{folder} holds its own tower: leave --vision out.")
    if kept is not None:
        return vlm, kept
    images = _images_of_original(vlm, config) if is_original(config) else _images_of(folder)
    return vlm, Processor(tokenizer, _template(template, tokenizer), images, vlm.slots_per_image)


@contextmanager
def _beside_weights(folder: Path) -> Iterator[Path]:
    """Links to what turns words into ids, without the config: a first release's names a kind of model that
    transformers does not know, and its tokenizers ask for it. What is refused there is told of the folder itself."""
    with TemporaryDirectory() as copy:
        for pattern in BESIDE_WEIGHTS:
            for path in folder.glob(pattern):
                (Path(copy) / path.name).symlink_to(path.resolve())
        if not any(Path(copy).glob("*token*")):
            raise BadInput(f"{folder} holds no tokenizer: copy its language model's files into it.")
        try:
            yield Path(copy)
        except SeetellError as error:
            raise type(error)(str(error).replace(copy, str(folder))) from None


def _projector(source: Path, vision: str | None, language: str | None, template: str | None) -> tuple[VLM, Processor]:
    path = source if source.is_file() else source / PROJECTOR
    config = config_of(path.parent) if (path.parent / "config.json").exists() else {}
    vision = vision or config.get("mm_vision_tower")
    if not vision or not language:
        raise UsageError(f"{path} is a connector alone: say --vision and --language, the two models it joins.")
    tokenizer = load_tokenizer(language)
    vlm = load_projector(path, vision, language, image_id=tokenizer.image_id, vocabulary=len(tokenizer), config=config)
    images = _images_of_original(vlm, config) if config else ImageProcessor.load(folder_of(vision))
    return vlm, Processor(tokenizer, _template(template, tokenizer), images, vlm.slots_per_image)


def _images_of(folder: Path) -> ImageProcessor:
    """The folder's image processor, wherever its version of transformers wrote it down."""
    whole = folder / "processor_config.json"
    if (folder / "preprocessor_config.json").exists() or not whole.exists():
        return ImageProcessor.load(folder)
    return ImageProcessor.from_settings((as_object(read_json(whole)) or {}).get("image_processor"), str(whole))


def _images_of_original(vlm: VLM, config: Mapping[str, Any]) -> ImageProcessor:
    """A first release says `pad` in its config or means its tower's own way, the square from the middle."""
    mean, std = vlm.pixel_constants
    return ImageProcessor(vlm.side_px, mean, std, "pad" if config.get("image_aspect_ratio") == "pad" else "square")


def _template(name: str | None, tokenizer: Tokenizer) -> Template:
    """The template asked for; else the language model's own; else LLaVA-1.5's, for LLaVA wrote none down."""
    if name is not None:
        return template_named(name, tokenizer)
    try:
        return own_template(tokenizer)
    except UsageError:
        return VICUNA_V1
