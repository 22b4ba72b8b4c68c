"""Whether transformers' own LLaVA is a model of ours: tried, never guessed from a name.

`LlavaForConditionalGeneration` is built from the config that would be written, on the meta device, and takes our
tensors through transformers' own renaming: each must have its place there, in its shape, and no place may stay empty.
A small model also answers once: both with the same random weights, and the logits must be equal. Both follow from
config and shapes alone, so nothing is copied, and the answer at a run's start is the answer at its end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlavaConfig, LlavaForConditionalGeneration

from seetell.errors import SeetellError
from seetell.model.config import ModelConfig
from seetell.model.hub import build_model, hub_tensors
from seetell.model.layouts import CONNECTORS
from seetell.model.quiet import quiet
from seetell.model.tensors import few
from seetell.model.tower import normalized
from seetell.model.vlm import VLM

SMALL_PARAMETERS = 50_000_000
WORDS = 6  # on each side of the picture that is asked about
NAMED = 2  # tensors of each kind, in a sentence
TOLERANCE = 1e-4  # of the largest logit, in float32
SPREAD = 0.05  # what is added to fresh weights, so that no bias is 0 and no norm 1

Sizes = tuple[tuple[str, tuple[int, ...]], ...]


def why_not_llava(vlm: VLM) -> str | None:
    """Why `LlavaForConditionalGeneration` is not this model, as the end of a sentence; None where it is."""
    if CONNECTORS[vlm.config.connector] > 2:
        return f"its connector has two layers, and {vlm.config.connector} has more"
    sizes = tuple(sorted((name, tuple(tensor.shape)) for name, tensor in hub_tensors(vlm).items()))
    config = replace(vlm.config, is_llava=True).to_json("float32")
    return _why_not(json.dumps(config, sort_keys=True), sizes)


@cache
def _why_not(config: str, sizes: Sizes) -> str | None:
    tensors = {name: torch.empty(size, device="meta") for name, size in sizes}
    try:
        _, report = _loaded(config, tensors, "meta")
    except Exception as error:  # a class is built from parts that it was not made for
        return f"it cannot be built from these parts ({_first_words(error)})"
    problems = {
        "has no place for": sorted(report["unexpected_keys"]),
        "also needs": sorted(report["missing_keys"]),
        "has another shape for": sorted(name for name, *_ in report["mismatched_keys"]),
    }
    if told := [f"{what} {few(names, NAMED)}" for what, names in problems.items() if names]:
        return "it " + ", ".join(told)
    parameters = sum(tensor.numel() for tensor in tensors.values())
    return _why_other_logits(config) if parameters <= SMALL_PARAMETERS else None


def _loaded(config: str, tensors: Mapping[str, Tensor], device: str) -> tuple[Any, dict[str, Any]]:
    """transformers' model of that config with those tensors, and what it reports of them."""
    family: Any = LlavaForConditionalGeneration
    with quiet(), torch.random.fork_rng(devices=[]):  # what is missing is drawn by lot
        return family.from_pretrained(
            None,
            config=LlavaConfig.from_dict(json.loads(config)),
            state_dict=dict(tensors),
            dtype=torch.float32,
            device_map=device,
            output_loading_info=True,
        )


@torch.no_grad()
def _why_other_logits(config: str) -> str | None:
    """One forward of both over a picture between words."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ours = build_model(ModelConfig.from_json(json.loads(config), Path("config")), "the config").eval()
        for parameter in ours.parameters():
            parameter += torch.randn_like(parameter) * SPREAD
        pixels = torch.randint(0, 256, (1, 3, ours.side_px, ours.side_px), dtype=torch.uint8)
    words = [word for word in range(2 * WORDS + 1) if word != ours.image_id][: 2 * WORDS]
    ids = torch.tensor([*words[:WORDS], *[ours.image_id] * ours.slots_per_image, *words[WORDS:]])
    try:
        expected = ours.logits(ours(ids, torch.arange(len(ids)), [len(ids)], pixels=pixels))
    except SeetellError:  # a model with too short a context for a picture: there is nothing to compare
        return None
    try:
        theirs, _ = _loaded(config, hub_tensors(ours), "cpu")
        numbers = normalized(pixels, ours.pixel_mean, ours.pixel_std, torch.float32)
        found = theirs.eval()(input_ids=ids[None], pixel_values=numbers).logits[0]
    except Exception as error:
        return f"it fails with these parts ({_first_words(error)})"
    apart = ((found - expected).abs().max() / expected.abs().max()).item()
    return None if apart <= TOLERANCE else f"it answers otherwise (logits {100 * apart:.2g} % apart)"


def _first_words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
