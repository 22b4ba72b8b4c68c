"""What 8-bit products gain and cost, and how fast the engine decodes: both beside what the machine can do."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import cast
from unittest import mock

import torch
from torch import nn

from benchmarks.gpu_parts.notes import Notes, Place
from benchmarks.systems.measure import matrix_product
from benchmarks.systems.sizes import SIZES, as_vlm, build_llava
from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor
from seetell.encode.sample import Sample
from seetell.encode.templates import TEMPLATES
from seetell.encode.tokenizer import load_tokenizer
from seetell.infer.engine import Completion, Engine
from seetell.infer.sampling import Sampling
from seetell.model import fp8 as module
from seetell.model.computing import why_not_compile
from seetell.model.fp8 import FrozenLinear, can_multiply, quantized
from seetell.train.hardware import typical_s
from seetell.types import Conversation, Turn

FP8_APART = {"output_apart": 0.05, "gradient_apart": 0.1}  # e4m3 rounds by some 3 %, e5m2 by twice that
WORDS = "What stands in the middle of the picture, and what is to the left of it? " * 2


def fp8(place: Place, notes: Notes) -> None:
    """A frozen layer of a 7B decoder's shape, forward and input gradient, in 16 and in 8 bits.

    In 8 bits three times: quantizing as a layer outside compiled blocks does it, operation by operation, and within a
    compiled block.
    """
    if why := can_multiply(place.device):
        notes.skip(f"this device does not multiply 8-bit matrices: {why}")
        return
    tokens, inputs, outputs = (64, 64, 128) if place.tiny else (8192, 4096, 11008)
    kind = torch.bfloat16
    linear = nn.Linear(inputs, outputs, bias=False, device=place.device, dtype=kind).requires_grad_(False)
    features = torch.randn(tokens, inputs, device=place.device, dtype=kind, requires_grad=True)
    weights = torch.randn(tokens, outputs, device=place.device, dtype=kind)

    def passed(layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        out = layer(features)
        return out.detach(), torch.autograd.grad(out, features, weights)[0]

    plain = passed(linear)
    plain_s = typical_s(lambda: passed(linear), place.device, 9)
    frozen = FrozenLinear(linear, place.device)
    found = passed(frozen)
    frozen_s = typical_s(lambda: passed(frozen), place.device, 9)
    with mock.patch.object(module, "_quantizer", return_value=quantized):
        eager_s = typical_s(lambda: passed(frozen), place.device, 9)
    operations = 4.0 * tokens * inputs * outputs
    pairs = zip(FP8_APART, found, plain, strict=True)
    apart = {name: float((a - b).float().norm() / b.float().norm()) for name, a, b in pairs}
    notes.put(
        flops_per_s_16=operations / plain_s, flops_per_s_8=operations / frozen_s, gain=plain_s / frozen_s, **apart
    )
    notes.put(flops_per_s_8_eager=operations / eager_s, gain_eager=plain_s / eager_s)
    if why := why_not_compile(place.device):
        notes.skip(f"fp8 in a compiled block: {why}")
    else:
        block = cast(nn.Module, torch.compile(frozen, dynamic=True))
        block_s = typical_s(lambda: passed(block), place.device, 9)
        notes.put(flops_per_s_8_in_block=operations / block_s, gain_in_block=plain_s / block_s)
    for name, distance in apart.items():
        notes.check(distance <= FP8_APART[name], f"{name.replace('_', ' ')} is {distance:.1%}")


def decode(place: Place, notes: Notes) -> None:
    """The engine over a 7B body of random weights: tokens a second with 1, 16 and 64 rows, first token included."""
    from tests.tiny import tiny_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        tiny_tokenizer().save_pretrained(folder)
        tokenizer = load_tokenizer(Path(folder))
    size = replace(SIZES["mini" if place.tiny else "7b"], vocabulary=len(tokenizer))
    kind = torch.bfloat16 if place.on_gpu else torch.float32
    vlm = as_vlm(build_llava(size, place.device, kind, 1), size).eval()
    vlm.image_id = tokenizer.image_id
    images = ImageProcessor(size.side_px)
    processor = Processor(tokenizer, TEMPLATES["vicuna-v1"], images, vlm.slots_per_image)
    weights = sum(weight.numel() for weight in vlm.language.parameters())
    copied = copy_rate(place)
    product = matrix_product(place.device, kind, 256 if place.tiny else 8192)
    notes.put(weights=weights, copy_bytes_per_s=copied, product_flops_per_s=product)
    count = 4 if place.tiny else 64
    for rows in (1, 4) if place.tiny else (1, 16, 64):
        if place.left_s < 6:
            notes.skip(f"{rows} rows: no time was left")
            return
        engine = Engine(vlm, processor, slots=rows)
        prompts = [prompt(processor, number) for number in range(rows)]
        list(engine.generate(prompts[:1], Sampling(max_new_tokens=2)))  # warms up
        began_s = time.perf_counter()
        said = [one for one in engine.generate(prompts, Sampling(max_new_tokens=count)) if isinstance(one, Completion)]
        seconds = time.perf_counter() - began_s
        tokens = sum(one.tokens for one in said)
        read = weights * vlm.embedding.weight.element_size() * max(one.tokens for one in said)  # by the longest answer
        told = {"tokens_per_s": tokens / seconds, "weights_share_of_copy": read / seconds / copied}
        notes.put(**{f"{rows} rows": told})
        notes.check(len(said) == rows, f"{rows - len(said)} of {rows} prompts had no answer")


def prompt(processor: Processor, number: int) -> Sample:
    return processor.encode_prompt(Conversation(str(number), (Turn("user", (f"{number} {WORDS}",)),)))


def copy_rate(place: Place) -> float:
    """Bytes a second that a copy on the device reads and writes."""
    count = 2**20 if place.tiny else 2**30
    source = torch.empty(count, dtype=torch.uint8, device=place.device)
    target = torch.empty_like(source)
    return 2.0 * count / typical_s(lambda: target.copy_(source), place.device, 9)
