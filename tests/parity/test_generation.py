"""A saved model says in transformers what it says here: both of transformers' routes, greedy, text against text.

The ids are compared, and the text of all that is whole characters: of stray bytes each makes its own.
"""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor
from seetell.encode.templates import TEMPLATES
from seetell.infer.loading import load
from seetell.infer.sampling import Sampling
from seetell.infer.words import BROKEN
from seetell.model.weights import save_model
from seetell.types import Conversation, Image, Turn
from tests import tiny_tokenizers
from tests.tiny_models import SIDE_PX, SLOTS, tiny_vlm

CASES = [("llama", "vicuna-v1", "clip", False), ("byte-level", "chatml", "siglip", True)]
QUESTIONS = 10
TOKENS = 16
NEAR = 1e-4  # two best logits this close may change places by rounding


def pictures(count: int) -> list[PIL.Image.Image]:
    chance = random.Random(0)
    sizes = [(chance.randrange(20, 50), chance.randrange(20, 50)) for _ in range(count)]
    return [PIL.Image.frombytes("RGB", size, chance.randbytes(size[0] * size[1] * 3)) for size in sizes]


def bytes_of(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def theirs_says(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[list[int], list[float]]:
    """transformers' greedy ids, and how far apart the two best logits were each time."""
    out = model.generate(
        **inputs, max_new_tokens=TOKENS, do_sample=False, return_dict_in_generate=True, output_logits=True
    )
    best = [logits[0].topk(2).values for logits in out.logits]
    return out.sequences[0, inputs["input_ids"].shape[1] :].tolist(), [float(pair[0] - pair[1]) for pair in best]


@pytest.mark.parametrize(("family", "template", "vision", "tied"), CASES)
def test_transformers_says_the_same(tmp_path: Path, family: str, template: str, vision: str, tied: bool) -> None:
    tokenizer = tiny_tokenizers.FAMILIES[family]()
    vlm = tiny_vlm(vision, vocabulary=len(tokenizer), image_id=tokenizer.image_id, tied=tied)
    mean, std = (tuple(values.tolist()) for values in (vlm.pixel_mean, vlm.pixel_std))
    pixels = ImageProcessor(SIDE_PX, mean, std, mode="pad")
    processor = Processor(tokenizer, TEMPLATES[template], pixels, SLOTS)
    processor.save(tmp_path)
    save_model(vlm, tmp_path, sorted(processor.stop_ids))
    engine = load(tmp_path, slots=4).engine
    model = LlavaForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32).eval()
    both_routes: Any = LlavaProcessor.from_pretrained(tmp_path, backend="pil")

    questions = [f"What is thing {number}?" + " Tell more." * (number % 3) for number in range(QUESTIONS)]
    shown = pictures(QUESTIONS)
    prompts = [
        engine.processor.encode_prompt(Conversation("", (Turn("user", (Image(data=bytes_of(picture)), question)),)))
        for question, picture in zip(questions, shown, strict=True)
    ]
    streams = [engine.submit(prompt, Sampling(max_new_tokens=TOKENS)) for prompt in prompts]
    near = 0
    for question, picture, stream in zip(questions, shown, streams, strict=True):
        answer = stream.result()
        ours = stream._row.ids[answer.prompt_tokens :]
        message = {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": question}]}
        whole = both_routes.apply_chat_template(
            [message], tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        text = both_routes.apply_chat_template([message], add_generation_prompt=True)
        rendered = both_routes(text=text, images=[picture], return_tensors="pt")
        for route in (whole, rendered):
            ids, gaps = theirs_says(model, route)
            said = both_routes.decode(ids, skip_special_tokens=True)
            if ids == ours:
                assert BROKEN in said or said.strip() == answer.text
                continue
            first = next(at for at, (one, other) in enumerate(zip(ids, ours, strict=False)) if one != other)
            assert gaps[first] < NEAR, f"{question}: {said!r} there, {answer.text!r} here"
            near += 1
    assert near <= 1
