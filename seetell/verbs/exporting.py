"""`seetell export`: a model in the layout that other people's software reads.

`hf` is a `LlavaForConditionalGeneration` folder with its processor, for transformers and what builds on it;
`original` is the first releases' layout, for the LLaVA code itself. What a layout has no place for is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from seetell.console import say
from seetell.errors import UsageError
from seetell.files import write_atomic
from seetell.model.folders import model_folder
from seetell.publish import publish, refuse_filled
from seetell.verbs.given import importing_torch
from seetell.verbs.importing import carry

if TYPE_CHECKING:
    from seetell.encode.processor import Processor
    from seetell.model.vlm import VLM

CARD = """\
---
{library}pipeline_tag: image-text-to-text
tags: [llava, seetell]
---
# A LLaVA model exported by seetell

A {tower} tower of {side_px} px, the connector `{connector}` and a {language} language model. The prompt's template is
`{template}` (`chat_template.jinja`); pictures are made square by `{mode}`; a picture takes {slots} tokens.

{opening}

The licences of the language model, of the tower and of the data it learned from hold for it too.
"""

LIBRARIES = {"hf": "library_name: transformers\n", "original": ""}
OPENINGS = {
    "hf": """\
```python
from transformers import AutoProcessor, LlavaForConditionalGeneration

model = LlavaForConditionalGeneration.from_pretrained(".")
processor = AutoProcessor.from_pretrained(".", backend="pil")
```""",
    "original": """\
The layout is the first LLaVA releases': the LLaVA code opens it, and seetell (`seetell chat FOLDER`). transformers does
not; `seetell export FOLDER --to hf` writes what it opens, where transformers has such a model.""",
}


def export_model(model: str | Path, to: str, out: str | Path) -> Path:
    """Writes the model folder `model` to the folder `out`, in the layout `to`: "hf" or "original".

    An adapter is merged into the model below it.
    """
    out = Path(out)
    if to not in WRITERS:
        raise UsageError(f"There is no layout {to!r}: choose {' or '.join(WRITERS)}.")
    refuse_filled(out)
    source = model_folder(model)
    with importing_torch():
        from seetell.infer.reading import read_model
        from seetell.model.adapter import merge
    vlm, processor = read_model(source)
    vlm = merge(vlm)
    with publish(out) as writing:
        WRITERS[to](vlm, processor, writing)
        processor.save(writing)
        carry(source, writing)
        write_atomic(writing / "README.md", _card(vlm, processor, to))
    say(f"Exported {model} to {out}.")
    return out


def _write_hf(vlm: VLM, processor: Processor, folder: Path) -> None:
    from seetell.model.llava import why_not_llava
    from seetell.model.weights import save_model

    if (why := why_not_llava(vlm)) is not None:
        raise UsageError(f"transformers' LlavaForConditionalGeneration is not this model: {why}. Open it in seetell.")
    save_model(vlm, folder, stop_ids=sorted(processor.stop_ids))


def _write_original(vlm: VLM, processor: Processor, folder: Path) -> None:
    from seetell.model.original import TOWER_FOLDER, save_original

    tokenizer = processor.tokenizer
    # <image> and padding stand last where they were added for us; else they are words of the tokenizer itself.
    added_last = tokenizer.image_id >= len(tokenizer) - 2
    text_rows = tokenizer.image_id if added_last else len(tokenizer)
    save_original(vlm, folder, text_rows=text_rows, image_mode=processor.image_processor.mode)
    processor.image_processor.save(folder / TOWER_FOLDER)


def _card(vlm: VLM, processor: Processor, to: str) -> str:
    return CARD.format(
        library=LIBRARIES[to],
        opening=OPENINGS[to],
        tower=vlm.vision.config.model_type,
        language=vlm.language.config.model_type,
        connector=vlm.connector.name,
        side_px=vlm.side_px,
        slots=vlm.slots_per_image,
        template=processor.template.name,
        mode=processor.image_processor.mode,
    )


WRITERS = {"hf": _write_hf, "original": _write_original}
