"""What turns words and pictures into ids and pixels, as a model's folder keeps it: chat template, picture mode.

They stand in `seetell.json` where seetell wrote the folder. In transformers' own LLaVA folders no template is written
down: there it is the language model's own, or LLaVA-1.5's where there is none that can be learned from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from seetell.console import say
from seetell.encode.image import ImageProcessor
from seetell.encode.jinja import JinjaTemplate, own_template
from seetell.encode.processor import Processor, template_named
from seetell.encode.templates import VICUNA_V1, Template
from seetell.encode.tokenizer import Tokenizer, load_tokenizer
from seetell.errors import BadInput, SeetellError, UsageError
from seetell.files import FACTS_FILE, as_object, read_json

BESIDE_WEIGHTS = [FACTS_FILE, "*processor_config.json", "*token*", "vocab.json", "merges.txt", "chat_template*"]


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


def stored_words(folder: Path) -> tuple[str, str]:
    """The names of the chat template and of the picture mode that `open_processor` would give, without building it."""
    facts = stored_facts(folder)
    mode = facts.get("image_mode") or images_of(folder).mode
    if name := facts.get("template"):
        return str(name), str(mode)
    with beside_weights(folder) as files:
        return template_of(None, load_tokenizer(files)).name, str(mode)


def stored_own_template(folder: Path, tokenizer: Tokenizer) -> JinjaTemplate | None:
    """The language model's own chat template as the model was trained in it, its date included; None for another."""
    facts = stored_facts(folder)
    source = facts.get("chat_template")
    return JinjaTemplate(str(source), tokenizer, str(facts["template"])) if source else None


def stored_facts(folder: Path) -> dict[str, object]:
    """What seetell wrote down beside the weights; nothing where others wrote the folder."""
    path = folder / FACTS_FILE
    return (as_object(read_json(path)) or {}) if path.exists() else {}


@contextmanager
def beside_weights(folder: Path) -> Iterator[Path]:
    """Links to what turns words into ids, without the config: a first release's names a kind of model that
    transformers does not know, and its tokenizers ask for it. An error there names the folder itself."""
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


def template_of(name: str | None, tokenizer: Tokenizer) -> Template:
    """The template asked for; else the language model's own; else LLaVA-1.5's, for LLaVA wrote none down."""
    if name is not None:
        return template_named(name, tokenizer)
    try:
        return own_template(tokenizer)
    except UsageError:
        return VICUNA_V1
