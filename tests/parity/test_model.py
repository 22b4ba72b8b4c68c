"""Our packed model against transformers' LlavaForConditionalGeneration with the same random weights, float32."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlavaForConditionalGeneration

from seetell.model.tower import normalized
from seetell.model.vlm import VLM
from seetell.model.weights import save_model
from tests.tiny_models import packed, tiny_documents, tiny_pixels, tiny_vlm

TOLERANCE = 1e-5
KINDS = [(1, 9), (0, 5), (2, 12), (1, 9), (0, 1), (1, 2)]  # (images, words) of each document


def relative(ours: Tensor, theirs: Tensor) -> float:
    """max |difference| / max |theirs|"""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def theirs_of(vlm: VLM, folder: Path) -> LlavaForConditionalGeneration:
    """The same weights in transformers' own class; nothing may be missing or left over."""
    save_model(vlm, folder)
    family: Any = LlavaForConditionalGeneration
    model, report = family.from_pretrained(folder, output_loading_info=True)
    assert not any(report[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


def summed_loss(rows: Iterable[Tensor], documents: Iterable[Tensor]) -> Tensor:
    """Cross entropy of every next token. logits [n, vocabulary] and ids [n] of each document"""
    pairs = zip(rows, documents, strict=True)
    return torch.stack([functional.cross_entropy(row[:-1], ids[1:], reduction="sum") for row, ids in pairs]).sum()


def gradients(model: torch.nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("connector", ["linear", "mlp2"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("vision", "language", "feature_layer"), [("clip", "llama", -2), ("siglip", "qwen2", -1), ("clip", "mistral", 1)]
)
def test_packed_equals_transformers(
    tmp_path: Path, vision: str, language: str, feature_layer: int, tied: bool, connector: str
) -> None:
    vlm = tiny_vlm(vision, language, connector, tied=tied, feature_layer=feature_layer)
    theirs = theirs_of(vlm, tmp_path)
    documents = tiny_documents(KINDS)
    pixels = tiny_pixels(sum(images for images, _ in KINDS))
    ids, positions, lengths = packed(documents)

    logits = vlm.logits(vlm(ids, positions, lengths, pixels=pixels))
    lengths = [len(document) for document in documents]
    ours = gradients(vlm, summed_loss(logits.split(lengths), documents))

    numbers = normalized(pixels, vlm.pixel_mean, vlm.pixel_std, torch.float32)
    expected, seen = [], 0
    for (images, _), document in zip(KINDS, documents, strict=True):
        given = {"pixel_values": numbers[seen : seen + images]} if images else {}
        expected.append(theirs(input_ids=document[None], **given).logits[0])
        seen += images
    other = gradients(theirs, summed_loss(expected, documents))

    assert relative(logits, torch.cat(expected)) <= TOLERANCE
    for layer in ("linear_1",) if connector == "linear" else ("linear_1", "linear_2"):
        for kind in ("weight", "bias"):
            name = f"{layer}.{kind}"
            assert relative(ours[f"connector.{name}"], other[f"model.multi_modal_projector.{name}"]) <= TOLERANCE
    embedding = "language.model.embed_tokens.weight"
    if not tied:  # the image slot's row is overwritten, so its gradient is the head's alone
        assert relative(ours[embedding], other["model.language_model.embed_tokens.weight"]) <= TOLERANCE


def test_cls_kept(tmp_path: Path) -> None:
    vlm = tiny_vlm(keep_cls=True)
    theirs = theirs_of(vlm, tmp_path)
    pixels = tiny_pixels(2)
    features = vlm.see(pixels)
    numbers = normalized(pixels, vlm.pixel_mean, vlm.pixel_std, torch.float32)
    inner: Any = theirs.model
    expected: Any = inner.get_image_features(numbers).pooler_output
    assert features.shape[1] == vlm.slots_per_image == 17
    assert relative(features, torch.stack(list(expected))) <= TOLERANCE


def test_packed_padded_and_alone_are_the_same() -> None:
    vlm = tiny_vlm()
    documents = tiny_documents(KINDS)
    pixels = tiny_pixels(sum(images for images, _ in KINDS))

    def run(groups: list[list[int]]) -> tuple[Tensor, dict[str, Tensor]]:
        loss = torch.zeros(())
        for group in groups:
            ids, positions, lengths = packed([documents[index] for index in group])
            rows = [row for index in group for row in range(*image_rows(index))]
            logits = vlm.logits(vlm(ids, positions, lengths, pixels=pixels[rows]))
            chosen = [documents[index] for index in group]
            loss = loss + summed_loss(logits.split([len(document) for document in chosen]), chosen)
        return loss, gradients(vlm, loss)

    def image_rows(index: int) -> tuple[int, int]:
        before = sum(images for images, _ in KINDS[:index])
        return before, before + KINDS[index][0]

    def padded() -> tuple[Tensor, dict[str, Tensor]]:
        """One document a row, filled up at the right, in the language model's own attention."""
        vlm.language.set_attn_implementation("sdpa")
        longest = max(map(len, documents))
        rows = torch.stack([functional.pad(document, (0, longest - len(document))) for document in documents])
        embeddings = vlm.merge(rows.flatten(), vlm.see(pixels)).unflatten(0, rows.shape)
        mask = torch.stack([torch.arange(longest) < len(document) for document in documents])
        logits = vlm.language(inputs_embeds=embeddings, attention_mask=mask).logits
        loss = summed_loss((row[: len(document)] for row, document in zip(logits, documents, strict=True)), documents)
        return loss, gradients(vlm, loss)

    loss, together = run([list(range(len(KINDS)))])
    for other_loss, other in (run([[index] for index in range(len(KINDS))]), run([[3, 0], [5, 4, 2, 1]]), padded()):
        assert relative(loss, other_loss) <= TOLERANCE
        assert together.keys() == other.keys()
        for name, gradient in together.items():
            if gradient.any():
                assert relative(gradient, other[name]) <= TOLERANCE, name


def test_decoding_with_a_cache_equals_the_whole_forward() -> None:
    """Rows of different lengths, joined at different times, one slot continued by a second prefill."""
    from seetell.model.cache import KeyValueCache

    vlm = tiny_vlm()
    documents = tiny_documents([(1, 30), (0, 25), (2, 28), (0, 40)])
    pixels = tiny_pixels(3)
    images = [(0, 1), (1, 1), (1, 3), (3, 3)]
    features = vlm.see(pixels)
    whole = []
    for document, (first, last) in zip(documents, images, strict=True):
        ids, positions, lengths = packed([document])
        whole.append(vlm(ids, positions, lengths, pixels=pixels[first:last]).detach())

    cache = KeyValueCache(slots=6, max_tokens=96)
    slots, given = [4, 0, 2, 3], [20, 3, 40, 10]
    found: list[list[Tensor]] = [[] for _ in documents]

    def prefill(rows: list[int], pieces: list[Tensor]) -> None:
        ids, positions, lengths = packed(pieces)
        held = torch.cat(
            [torch.full((len(piece),), cache.lengths[slots[row]]) for row, piece in zip(rows, pieces, strict=True)]
        )
        new = torch.cat([features[slice(*images[row])] for row in rows]) if (ids == vlm.image_id).any() else None
        last = vlm.prefill(ids, positions + held, lengths, new, cache, [slots[row] for row in rows])
        for row, hidden in zip(rows, last, strict=True):
            found[row].append(hidden)
            given[row] = cache.lengths[slots[row]]

    def decode(rows: list[int]) -> None:
        ids = torch.stack([documents[row][given[row]] for row in rows])
        for row, hidden in zip(rows, vlm.decode(ids, cache, [slots[row] for row in rows]), strict=True):
            found[row].append(hidden)
            given[row] += 1

    def check(lengths: dict[int, int]) -> None:
        """The last hidden state of each row is the whole forward's at that length."""
        for row, length in lengths.items():
            assert given[row] == length
            assert relative(found[row][-1], whole[row][length - 1]) <= TOLERANCE

    prefill([0, 1], [documents[0][:20], documents[1][:3]])
    for step in range(5):
        decode([0, 1])
        check({0: 21 + step, 1: 4 + step})
    prefill([2], [documents[2][:40]])
    check({2: 40})
    decode([1, 2, 0])
    prefill([1, 3], [documents[1][9:15], documents[3][:10]])  # row 1 continues behind its 9 tokens
    check({1: 15, 3: 10})
    for _ in range(4):
        decode([3, 1])
    check({1: 19, 3: 14})
    decode([2, 0])
    check({2: 42, 0: 27})
    cache.clear(4)
    given[0] = 0
    prefill([0], [documents[0][:18]])
    decode([0, 2])
    check({0: 19, 2: 43})
