"""`seetell show`: a sample exactly as the model sees it, from its ids back to text.

What the model learns to say is marked (green and underlined on a terminal, between ⟦ ⟧ elsewhere), and a run
of image tokens is shortened to its count. A mask that slipped, a template that is not the model's, or a row
that training would leave out is seen here before any hour is spent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from seetell.config import load_recipe
from seetell.console import marked, say
from seetell.errors import BadInput, UsageError
from seetell.files import FACTS_FILE
from seetell.model.folders import model_folder
from seetell.pictures import MISSING, name_of, open_picture
from seetell.sources.conversations import is_data, read_conversations, where_looked
from seetell.text import shortened
from seetell.train.recipe import Data, Model, Recipe, Stage
from seetell.types import Conversation, Rejected
from seetell.verbs.given import check_data, check_model, check_template, importing_torch

if TYPE_CHECKING:
    from seetell.encode.processor import Processor
    from seetell.encode.sample import Sample


def show(source: str, *, id: str = "", template: str = "", model: str = "", images: str | Path | None = None) -> None:
    """Prints one sample of a conversation file, or of each stage of a recipe: the one of that id, or the first.

    `images` is the folder of a conversation file's pictures, else they lie beside it or in `images/` there.
    """
    if images is not None and not is_data(source):
        raise UsageError(f"{source} is a recipe and names its own folders of pictures: leave --images out.")
    if model:
        model = str(model_folder(model))
    found = []
    for name, stage, parts in _stages(source, template, model, images):
        check_model(parts)
        check_template(stage.template)
        for number, data in enumerate(stage.data):
            check_data(data, "--images" if name == source else f"--set {name}.data.{number}.images")
        if (conversation := _find(stage.data, id)) is not None:
            found.append((name, stage, parts, conversation))
    if not found:
        raise UsageError(f"There is no {id!r} in {source}.")
    with importing_torch():
        from seetell.model.config import ModelConfig
        from seetell.model.limits import longest_document
        from seetell.train.preflight import within
        from seetell.train.start import planned_config, planning_processor
    if model:
        ModelConfig.from_folder(Path(model))  # refuses what is no model of ours as other verbs do
    results = Console(highlight=False)
    for name, stage, parts, conversation in found:
        own = model and not template and name == source  # a finished model reads data in its own template
        processor = _own_processor(model) if own else planning_processor(parts, stage)
        stage = within(stage, longest_document(planned_config(parts, processor.tokenizer).language), name)
        missing = _print(results, name, conversation, stage, processor)
        if missing and images is None and is_data(source):
            say(where_looked(Path(source).parent))


def _print(results: Console, name: str, conversation: Conversation, stage: Stage, processor: Processor) -> bool:
    """Prints the sample; returns whether a picture is missing."""
    from seetell.train.show import sample_pieces

    sample = processor.encode(conversation, max_tokens=stage.max_tokens)
    if isinstance(sample, Rejected):
        raise BadInput(
            f"{shortened(conversation.id)} of {name} would be rejected: {sample.reason}. {sample.detail}".rstrip()
        )
    results.print(Text(f"{name} · {_facts(sample, processor)}", style="bold"), soft_wrap=True)
    missing = False
    for image in sample.images:
        opened = open_picture(image)
        missing = missing or (isinstance(opened, Rejected) and opened.reason == MISSING)
        state = f"rejected: {opened.reason}" if isinstance(opened, Rejected) else f"{opened.width} × {opened.height}"
        shown = f"picture {name_of(image)}" if image.path else "picture inside the row"
        results.print(Text(f"{shown} · {state}"), soft_wrap=True)
    results.print(marked(sample_pieces(sample, processor), results), soft_wrap=True)
    return missing


def _own_processor(model: str) -> Processor:
    """A finished model's own, in its own template."""
    from seetell.encode.processor import Processor
    from seetell.encode.stored import open_processor
    from seetell.model.config import ModelConfig

    if (Path(model) / FACTS_FILE).exists():
        return Processor.load(model)
    return open_processor(Path(model), ModelConfig.from_folder(Path(model)).image_tokens)


def _stages(source: str, template: str, model: str, images: str | Path | None) -> Iterator[tuple[str, Stage, Model]]:
    """What to show: its name, the stage that reads it, and the model's parts."""
    reads_data = is_data(source)
    recipe: Recipe = load_recipe("drawn" if reads_data else source)
    parts = Model(start=model) if model else recipe.model
    stages = recipe.stages
    if reads_data:
        stages = {source: replace(stages["tune"], data=(Data(source, images=str(images or "")),))}
    for name, stage in stages.items():
        yield name, replace(stage, template=template) if template else stage, parts


def _find(data: tuple[Data, ...], id: str) -> Conversation | None:
    """The conversation of that id, if there is one; without an id, the first that is whole."""
    left_out = 0
    for part in data:
        for row in read_conversations(part.path, part.folder, part.format):
            if isinstance(row, Conversation) and (not id or row.id == id):
                return row
            if isinstance(row, Rejected):
                left_out += 1
                if row.id == id:
                    detail = f": {row.detail}" if row.detail else ""
                    raise BadInput(f"{shortened(id)} of {part.path} would be rejected: {row.reason}{detail}.")
    if not id:
        paths = ", ".join(part.path for part in data)
        raise BadInput(f"There is no whole conversation in {paths}; {left_out} rows would be rejected.")
    return None


def _facts(sample: Sample, processor: Processor) -> str:
    pictures = f"{len(sample.images)} × {processor.slots_per_image} image tokens" if sample.images else "no picture"
    supervised = int(sample.supervised.sum())
    tokens = f"{len(sample)} tokens, {supervised} supervised"
    return f"{shortened(sample.id)} · {processor.template.name} · {tokens}, {pictures}"
