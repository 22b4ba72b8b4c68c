"""The sizes that are timed, and one set of random weights that every system uses.

A LLaVA is built once, as transformers builds it. Each system gets a copy whose modules are its own and whose
weights are the very same tensors: so they all begin from the same numbers, and 7B fits once.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from seetell.model.connector import build_connector
from seetell.model.vlm import VLM

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class Size:
    """Shapes of a language model and a CLIP tower. `samples_per_step` is for stage 1 and stage 2."""

    family: Literal["llama", "qwen2"]
    layers: int
    width: int
    heads: int
    key_value_heads: int
    inner: int
    vocabulary: int
    vision_layers: int
    vision_width: int
    vision_heads: int
    side_px: int
    patch_px: int
    samples_per_step: tuple[int, int]
    tied: bool = False

    @property
    def image_id(self) -> int:
        """The id of a picture's slots: the last of the vocabulary."""
        return self.vocabulary - 1

    @property
    def slots(self) -> int:
        """Slots of a picture."""
        return (self.side_px // self.patch_px) ** 2


_LARGE_TOWER = (24, 1024, 16, 336, 14)
SIZES = {
    "mini": Size("llama", 2, 128, 2, 1, 256, 500, 3, 24, 2, 32, 8, (8, 8)),  # to try a script with
    "tiny": Size("llama", 6, 384, 6, 6, 1024, 32000, 4, 192, 3, 64, 8, (32, 32)),
    "0.5b": Size("qwen2", 24, 896, 14, 2, 4864, 151936, *_LARGE_TOWER, (256, 128), tied=True),
    "1.5b": Size("qwen2", 28, 1536, 12, 2, 8960, 151936, *_LARGE_TOWER, (256, 128), tied=True),
    "7b": Size("llama", 32, 4096, 32, 32, 11008, 32064, *_LARGE_TOWER, (256, 128)),
}


def build_llava(
    size: Size, device: torch.device, dtype: torch.dtype, stage: int, seed: int = 0
) -> LlavaForConditionalGeneration:
    """transformers' LLaVA with random weights; what the stage freezes is frozen."""
    text: dict[str, Any] = {
        "vocab_size": size.vocabulary,
        "hidden_size": size.width,
        "intermediate_size": size.inner,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_value_heads,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": size.tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    vision = CLIPVisionConfig(
        hidden_size=size.vision_width,
        intermediate_size=4 * size.vision_width,
        num_hidden_layers=size.vision_layers,
        num_attention_heads=size.vision_heads,
        image_size=size.side_px,
        patch_size=size.patch_px,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=Qwen2Config(**text) if size.family == "qwen2" else LlamaConfig(**text),
        image_token_index=size.image_id,
        image_seq_length=size.slots,
        tie_word_embeddings=size.tied,
    )
    before = torch.get_default_dtype()
    torch.manual_seed(seed)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            llava = LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    finally:
        torch.set_default_dtype(before)
    return freeze(llava, stage)


def freeze(llava: LlavaForConditionalGeneration, stage: int) -> LlavaForConditionalGeneration:
    """Stage 1 teaches the connector alone, stage 2 the language model too; the tower never."""
    llava.requires_grad_(False)
    model = cast(Any, llava.model)
    learning = [model.multi_modal_projector, *([model.language_model, llava.lm_head] if stage == 2 else [])]
    for part in learning:
        part.requires_grad_(True)
    return llava


def same_weights(llava: LlavaForConditionalGeneration) -> LlavaForConditionalGeneration:
    """A copy whose modules are its own and whose parameters are the given ones."""
    return copy.deepcopy(llava, {id(weight): weight for weight in llava.parameters()})


def as_vlm(llava: LlavaForConditionalGeneration, size: Size) -> VLM:
    """Our model around (a copy of) the same modules."""
    parts = cast(Any, same_weights(llava).model)
    config = parts.config.text_config
    with torch.device("meta"):
        language = (Qwen2ForCausalLM if size.family == "qwen2" else LlamaForCausalLM)(config)
        connector = build_connector("mlp2", size.vision_width, size.width)
    language.model = parts.language_model
    language.lm_head.weight = llava.lm_head.weight
    connector.linear_1, connector.linear_2 = (
        parts.multi_modal_projector.linear_1,
        parts.multi_modal_projector.linear_2,
    )
    return VLM(
        parts.vision_tower,
        connector,
        language,
        image_id=size.image_id,
        pixel_mean=MEAN,
        pixel_std=STD,
    )
