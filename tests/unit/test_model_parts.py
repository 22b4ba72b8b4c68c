"""The model's parts: what each gives, and what each refuses by a sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Dinov2Config, Dinov2Model, Gemma2Config, GptOssConfig

from seetell.errors import BadInput, UsageError
from seetell.model.cache import KeyValueCache
from seetell.model.connector import build_connector, slots
from seetell.model.layouts import CONNECTORS
from seetell.model.tower import hidden_state, layers_used
from seetell.model.vlm import VLM
from tests.tiny_models import (
    IMAGE_ID,
    MEAN,
    SIDE_PX,
    SLOTS,
    STD,
    packed,
    tiny_documents,
    tiny_language,
    tiny_pixels,
    tiny_vision,
    tiny_vlm,
)


def vlm_of(language: Any, vision: Any = None) -> VLM:
    vision = vision or tiny_vision()
    connector = build_connector("mlp2", vision.config.hidden_size, language.config.hidden_size)
    return VLM(vision, connector, language, image_id=IMAGE_ID, pixel_mean=MEAN, pixel_std=STD)


def test_connectors_are_seeded_and_counted() -> None:
    for name, depth in CONNECTORS.items():
        first, second = (build_connector(name, 8, 12, seed=4) for _ in range(2))
        assert len(list(first.parameters())) == 2 * depth
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
        assert first(torch.ones(2, 3, 8)).shape == (2, 3, 12)
    before = torch.random.get_rng_state()
    build_connector("mlp2", 8, 12)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (slots(336, 14), slots(224, 14), slots(336, 14, keep_cls=True)) == (576, 256, 577)
    with pytest.raises(UsageError, match=r"did you mean 'mlp2'"):
        build_connector("mpl2", 8, 12)
    assert build_connector("mlp1", 8, 12).name == "linear"


def test_the_tower_stops_at_its_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = tiny_vlm(feature_layer=-2)
    layers: Any = vlm.vision.encoder
    monkeypatch.setattr(layers.layers[-1], "forward", None)  # calling it would fail
    features = vlm.tower_features(tiny_pixels(2))
    assert features.shape == (2, SLOTS, 24)
    assert not features.requires_grad
    assert layers_used(vlm.vision.config, 0) == 0
    with pytest.raises(UsageError, match="3 layers and no 4"):
        layers_used(vlm.vision.config, 4)


def test_another_family_of_towers() -> None:
    """Dinov2 runs whole: its hidden state is taken out, its CLS found and dropped."""
    torch.manual_seed(0)
    size: dict[str, Any] = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "mlp_ratio": 2}
    tower = Dinov2Model(Dinov2Config(**size, image_size=SIDE_PX, patch_size=8)).eval()
    vlm = vlm_of(tiny_language(), tower)
    pixels = torch.randn(2, 3, SIDE_PX, SIDE_PX)
    whole = tower(pixels, output_hidden_states=True).hidden_states
    assert torch.equal(vlm.tower_features(pixels), whole[2][:, 1:])
    assert torch.equal(hidden_state(tower, pixels, 3), whole[3])


def test_bytes_are_normalized_on_the_way() -> None:
    vlm = tiny_vlm()
    pixels = tiny_pixels(2)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    assert torch.allclose(vlm.see(pixels), vlm.see((pixels / 255 - mean) / std), atol=1e-5)


def test_no_picture_still_reaches_the_connector() -> None:
    """Gradients of zero, not absent ones: ranks that saw no picture reduce with those that did."""
    vlm = tiny_vlm()
    ids, positions, lengths = packed(tiny_documents([(0, 7)]))
    for given in ({}, {"pixels": tiny_pixels(0)}):
        vlm.zero_grad()
        vlm.logits(vlm(ids, positions, lengths, **given)).sum().backward()
        for weight in vlm.connector.parameters():
            assert weight.grad is not None
            assert not weight.grad.any()


def test_slots_and_pictures_must_agree() -> None:
    vlm = tiny_vlm()
    ids, positions, lengths = packed(tiny_documents([(1, 7)]))
    with pytest.raises(BadInput, match="16 image tokens and the pictures fill 32"):
        vlm(ids, positions, lengths, pixels=tiny_pixels(2))
    with pytest.raises(BadInput, match="16 image tokens and the pictures fill 0"):
        vlm(ids, positions, lengths)


def test_only_the_tower_is_always_frozen_and_in_evaluation() -> None:
    vlm = tiny_vlm().train()
    assert vlm.language.training
    assert not vlm.vision.training
    assert not any(weight.requires_grad for weight in vlm.vision.parameters())
    assert vlm.to(torch.bfloat16).pixel_mean.dtype == torch.float32
    assert (vlm.dtype, vlm.slots_per_image) == (torch.bfloat16, SLOTS)


def test_what_packed_attention_lacks_is_refused_by_name() -> None:
    size: dict[str, Any] = {
        "vocab_size": 128, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8,
        "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    ids, positions, lengths = packed(tiny_documents([(0, 300)]))
    build = AutoModelForCausalLM.from_config
    with pytest.raises(UsageError, match=r"Gemma2ForCausalLM sets final_logit_softcapping"):
        vlm_of(build(Gemma2Config(**size)))
    capped = Gemma2Config(**size, final_logit_softcapping=None, attn_logit_softcapping=None)
    capped_language = build(capped)
    for layer in capped_language.model.layers:
        layer.self_attn.attn_logit_softcapping = 30.0
    with pytest.raises(UsageError, match=r"Gemma2 asks for a soft cap on attention"):
        vlm_of(capped_language)(ids, positions, lengths)
    with pytest.raises(UsageError, match=r"GptOss asks for attention sinks"):
        vlm_of(build(GptOssConfig(**size, num_local_experts=2, num_experts_per_tok=1)))(ids, positions, lengths)
    mistral = vlm_of(tiny_language("mistral"))
    with pytest.raises(UsageError, match=r"Mistral looks back 256 tokens at most and a document has 300"):
        mistral(ids, positions, lengths)
    assert mistral(ids[:256], positions[:256], [100, 156]).shape == (256, 32)
    with pytest.raises(UsageError, match=r"without its documents"):
        mistral.language(ids[None])


@pytest.mark.parametrize("autocast", [False, True])
def test_half_the_bits(autocast: bool) -> None:
    """bfloat16 weights beside a float32 tower, or float32 weights under autocast: near the float32 answer."""
    exact = tiny_vlm()
    vlm = tiny_vlm()
    if not autocast:
        vlm.to(torch.bfloat16).vision.float()
    documents, pixels = tiny_documents([(1, 9), (0, 5)]), tiny_pixels(1)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        hidden = vlm(*packed(documents), pixels=pixels)
        vlm.logits(hidden).float().sum().backward()
        cache = KeyValueCache(2, 64)
        last = vlm.prefill(*packed([document[:-1] for document in documents]), vlm.see(pixels), cache, [0, 1])
        ends = vlm.decode(torch.stack([document[-1] for document in documents]), cache, [0, 1])
    expected = exact(*packed(documents), pixels=pixels)
    rows = torch.tensor([len(documents[0]) - 1, len(documents[0]) + 4])
    for found, wanted in ((hidden, expected), (last, expected[rows - 1]), (ends, expected[rows])):
        assert (found.float() - wanted).abs().max() < 0.1 * wanted.abs().max()


def test_a_cache_has_so_much_room() -> None:
    vlm = tiny_vlm()
    cache = KeyValueCache(slots=2, max_tokens=8)
    ids, positions, lengths = packed(tiny_documents([(0, 6), (0, 7)]))
    with pytest.raises(ValueError, match="different slots"):
        vlm.prefill(ids, positions, lengths, None, cache, [1, 1])
    vlm.prefill(ids, positions, lengths, None, cache, [1, 0])
    assert cache.lengths == [7, 6]
    vlm.decode(torch.tensor([5, 6]), cache, [0, 1])
    with pytest.raises(UsageError, match="9 tokens does not fit the cache of 8"):
        vlm.decode(torch.tensor([5, 6]), cache, [1, 0])
    assert cache.lengths == [8, 7]
    cache.truncate(0, 3)
    cache.clear(1)
    assert cache.lengths == [3, 0]


def test_what_a_slot_forgot_is_not_seen() -> None:
    """A slot cut back and continued, or cleared and used again, answers as a fresh one."""
    vlm = tiny_vlm()
    document = tiny_documents([(0, 20)])[0]
    other = tiny_documents([(0, 30)], seed=9)[0]
    used, fresh = KeyValueCache(1, 40), KeyValueCache(1, 40)
    vlm.prefill(*packed([other]), None, used, [0])
    used.clear(0)
    vlm.prefill(*packed([document]), None, used, [0])
    used.truncate(0, 10)
    vlm.prefill(*packed([document[:10]]), None, fresh, [0])
    token = torch.tensor([7])
    assert torch.allclose(vlm.decode(token, used, [0]), vlm.decode(token, fresh, [0]), atol=1e-5)
