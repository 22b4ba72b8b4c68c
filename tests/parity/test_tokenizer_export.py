"""A saved processor gives transformers' `LlavaProcessor` the same ids, by both routes, and the same pixels."""

import io
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from transformers import LlavaProcessor

from seetell.encode.image import MODES, ImageProcessor
from seetell.encode.jinja import JinjaTemplate
from seetell.encode.processor import Processor
from seetell.encode.templates import TEMPLATES, Template
from seetell.encode.tokenizer import Tokenizer
from seetell.model.tower import normalized
from seetell.types import Conversation, Image, Turn
from tests import tiny_tokenizers

PICTURE = PIL.Image.linear_gradient("L").resize((40, 30)).convert("RGB")
_file = io.BytesIO()
PICTURE.save(_file, "PNG")
IMAGE = Image(data=_file.getvalue())

CHATML = (
    "{%- for m in messages -%}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)

# Llama 2's own: a BOS before every user's turn, of which its tokenizer puts only the first by itself.
LLAMA_2 = (
    "\n{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + m['content'].strip() + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}\n"
)

ASKED = (
    (Turn("user", (IMAGE, "What is this?")),),
    (
        Turn("user", ("Compare ", IMAGE, "  with  ", IMAGE, IMAGE)),
        Turn("assistant", ("\n They are\n\n- alike ",)),
        Turn("user", ("", IMAGE)),
        Turn("assistant", ("",)),
        Turn("user", ("häuser 水 👩‍👩‍👧?\n", "", " really")),
    ),
)


def _messages(conversation: Conversation) -> list[dict[str, Any]]:
    return [
        {
            "role": turn.role,
            "content": [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": PICTURE}
                for part in turn.parts
            ],
        }
        for turn in conversation.turns
    ]


def _check(folder: Path, processor: Processor) -> None:
    processor.save(folder)
    theirs: Any = LlavaProcessor.from_pretrained(folder, backend="pil")
    again = Processor.load(folder)
    for turns in ASKED:
        conversation = Conversation("c", turns)
        ours = processor.encode_prompt(conversation)
        messages = _messages(conversation)
        whole = theirs.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=True)
        text = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        rendered = theirs(text=text, images=[PICTURE] * len(conversation.images), return_tensors="pt")
        assert whole["input_ids"][0] == ours.ids.tolist()
        assert rendered["input_ids"][0].tolist() == ours.ids.tolist()
        assert torch.equal(again.encode_prompt(conversation).ids, ours.ids)
        pixels = processor.image_processor.pixels(IMAGE)
        assert isinstance(pixels, torch.Tensor)
        mean, std = (
            torch.tensor(numbers) for numbers in (processor.image_processor.mean, processor.image_processor.std)
        )
        normal = normalized(pixels[None], mean, std, torch.float32).expand_as(rendered["pixel_values"])
        torch.testing.assert_close(rendered["pixel_values"], normal, atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", tiny_tokenizers.FAMILIES)
@pytest.mark.parametrize("name", TEMPLATES)
def test_both_routes_give_our_ids(tmp_path: Path, family: str, name: str) -> None:
    if (family, name) == ("unigram", "llama-2"):
        pytest.skip("this tokenizer has no BOS")
    mode = list(MODES)[list(TEMPLATES).index(name) % len(MODES)]
    _check(tmp_path, _processor(tiny_tokenizers.FAMILIES[family](), TEMPLATES[name], mode))


@pytest.mark.parametrize("family", tiny_tokenizers.FAMILIES)
@pytest.mark.parametrize("source", [CHATML, CHATML.replace("m.content", "(m.content | trim)"), INST, LLAMA_2])
def test_a_language_models_own_template_too(tmp_path: Path, family: str, source: str) -> None:
    if family == "unigram" and source in (INST, LLAMA_2):
        pytest.skip("this tokenizer has no BOS")
    tokenizer = tiny_tokenizers.FAMILIES[family]()
    _check(tmp_path, _processor(tokenizer, JinjaTemplate(source, tokenizer)))


@pytest.mark.parametrize(("slots", "exported"), [(4, True), (5, True), (3, False)])
def test_only_a_square_of_slots_is_exported(tmp_path: Path, slots: int, exported: bool) -> None:
    processor = Processor(tiny_tokenizers.llama(), TEMPLATES["vicuna-v1"], ImageProcessor(32), slots)
    processor.save(tmp_path)
    assert (tmp_path / "processor_config.json").exists() == exported
    assert (tmp_path / "preprocessor_config.json").exists()
    if exported:
        _check(tmp_path, processor)


def _processor(tokenizer: Tokenizer, template: Template, mode: str = "square") -> Processor:
    return Processor(tokenizer, template, ImageProcessor(32, mode=mode), slots_per_image=4)
