"""Tiny random towers, language models and VLMs for everyone's tests: transformers' own, with a few thousand weights."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from seetell.model.connector import build_connector
from seetell.model.vlm import VLM

SIDE_PX = 32
PATCH_PX = 8
SLOTS = 16
VOCABULARY = 128
IMAGE_ID = 120
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def tiny_vision(family: str = "clip", seed: int = 0) -> PreTrainedModel:
    """A tower ("clip" or "siglip") of 3 layers, 24 wide, for pictures of 32 px in patches of 8."""
    torch.manual_seed(seed)
    size: dict[str, Any] = {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": SIDE_PX,
        "patch_size": PATCH_PX,
    }
    if family == "siglip":
        return spread(SiglipVisionModel(SiglipVisionConfig(**size)))
    return spread(CLIPVisionModel(CLIPVisionConfig(**size, projection_dim=16)))


def tiny_language(
    family: str = "llama", vocabulary: int = VOCABULARY, tied: bool = False, seed: int = 1
) -> PreTrainedModel:
    """A decoder ("llama", "qwen2" or "mistral") of 2 layers, 32 wide, 4 heads over 2 key-value heads."""
    torch.manual_seed(seed)
    size: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": tied,
    }
    if family == "qwen2":
        return spread(Qwen2ForCausalLM(Qwen2Config(**size)))
    if family == "mistral":
        return spread(MistralForCausalLM(MistralConfig(**size, sliding_window=256)))
    return spread(LlamaForCausalLM(LlamaConfig(**size)))


def tiny_vlm(
    vision: str = "clip",
    language: str = "llama",
    connector: str = "mlp2",
    *,
    vocabulary: int = VOCABULARY,
    image_id: int = IMAGE_ID,
    tied: bool = False,
    feature_layer: int = -2,
    keep_cls: bool = False,
    seed: int = 0,
) -> VLM:
    """A whole model with random weights, float32 on the CPU, in evaluation mode."""
    return VLM(
        tiny_vision(vision, seed),
        build_connector(connector, 24, 32, seed + 2),
        tiny_language(language, vocabulary, tied, seed + 1),
        image_id=image_id,
        pixel_mean=MEAN,
        pixel_std=STD,
        feature_layer=feature_layer,
        keep_cls=keep_cls,
    ).eval()


def tiny_pixels(images: int, seed: int = 0) -> torch.Tensor:
    """Random pictures, uint8 [images, 3, 32, 32]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (images, 3, SIDE_PX, SIDE_PX), dtype=torch.uint8, generator=generator)


def tiny_documents(
    kinds: list[tuple[int, int]], seed: int = 0, vocabulary: int = VOCABULARY, image_id: int = IMAGE_ID
) -> list[torch.Tensor]:
    """Documents of random ids, one for each (images, words): the slots of its images behind the first word."""
    generator = torch.Generator().manual_seed(seed)
    low = min(image_id, vocabulary)
    documents: list[torch.Tensor] = []
    for images, words in kinds:
        text = torch.randint(3, low, (words,), generator=generator)
        documents.append(torch.cat([text[:1], torch.full((images * SLOTS,), image_id), text[1:]]))
    return documents


def packed(documents: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """ids [T], positions [T] and lengths of documents laid end to end."""
    lengths = [len(document) for document in documents]
    return torch.cat(documents), torch.cat([torch.arange(length) for length in lengths]), lengths


@torch.no_grad()
def spread(module: PreTrainedModel) -> PreTrainedModel:
    """Weights larger than a fresh model's, biases and norms off 0 and 1, so that no mistake hides in a small number."""
    for name, weight in module.named_parameters():
        if weight.dim() > 1:
            weight.mul_(3.0)
        else:
            weight.add_(torch.randn_like(weight) * (0.2 if "norm" in name or name.endswith("weight") else 0.1))
    return module.eval()
