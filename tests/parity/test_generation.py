"""A saved model says in transformers what it says here: both of transformers' routes, greedy, text against text.

One difference is meant: where the length cuts a character's bytes apart, ours leaves the half character out.
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
    return [
        PIL.Image.frombytes("RGB", (size := (chance.randrange(20, 50), chance.randrange(20, 50))), chance.randbytes(size[0] * size[1] * 3))
        for _ in range(count)
    ]  # fmt: skip


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
    both_routes = LlavaProcessor.from_pretrained(tmp_path, backend="pil")

    questions = [f"What is thing {number}?" + " Tell more." * (number % 3) for number in range(QUESTIONS)]
    shown = pictures(QUESTIONS)
    prompts = [
        engine.processor.encode_prompt(Conversation("", (Turn("user", (Image(data=bytes_of(picture)), question)),)))
        for question, picture in zip(questions, shown, strict=True)
    ]
    ours = engine.generate(prompts, Sampling(max_new_tokens=TOKENS))
    near = 0
    for question, picture, answer in zip(questions, shown, ours, strict=True):
        message = {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": question}]}
        whole = both_routes.apply_chat_template(
            [message], tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        text = both_routes.apply_chat_template([message], add_generation_prompt=True)
        rendered = both_routes(text=text, images=[picture], return_tensors="pt")
        for route in (whole, rendered):
            ids, gaps = theirs_says(model, dict(route))
            said = both_routes.decode(ids, skip_special_tokens=True).strip().rstrip(BROKEN).strip()
            if said != answer.text:  # pyright: ignore[reportAttributeAccessIssue]
                assert min(gaps) < NEAR, f"{question}: {said!r} there, {answer!r} here"
                near += 1
    assert near <= 1
