"""Words as they come: the pieces joined are the text, no broken character, no part of a stop string."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from seetell.infer.words import BROKEN, Words

CORPUS = ["the cat sat on the mat", "two boats and a tree", "naïve café", "it's 3 o'clock"]


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def byte_fallback() -> Tokenizer:
    """Shaped as Llama's: a space becomes part of the next word, rare characters become their bytes."""
    vocab = {"<unk>": 0, **{f"<0x{byte:02X}>": 1 + byte for byte in range(256)}, "▁": 257}
    for character in "abcdefghijklmnopqrstuvwxyz .,#":
        vocab.setdefault(character, len(vocab))
    for merged in ("▁c", "▁t", "at"):
        vocab[merged] = len(vocab)
    merges = [("▁", "c"), ("▁", "t"), ("a", "t")]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


TOKENIZERS = {"byte-level": byte_level(), "byte-fallback": byte_fallback()}


def listen(words: Words, ids: list[int]) -> list[str]:
    """All pieces; an id that comes after the stop is not said."""
    pieces: list[str] = []
    for number in ids:
        pieces.append(words.push(number))
        if words.stopped:
            break
    return [*pieces, words.finish()]


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters=BROKEN), max_size=30))
def test_the_pieces_are_the_text(kind: str, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    words = Words(tokenizer.decode)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    pieces = listen(words, ids)
    assert "".join(pieces) == words.text == tokenizer.decode(ids).strip()
    assert not any(BROKEN in piece for piece in pieces)


@settings(max_examples=200, deadline=None)
@given(text=st.text("ab# \n", max_size=24), stop=st.lists(st.text("ab#\n", min_size=1, max_size=3), max_size=2))
def test_nothing_of_a_stop_string_is_said(text: str, stop: list[str]) -> None:
    words = Words(lambda ids: "".join(map(chr, ids)), stop)
    pieces = listen(words, [ord(character) for character in text])
    ends = [at + len(one) for one in stop if (at := text.find(one)) >= 0]
    first_end = min(ends, default=-1)
    starts = [text[:first_end].find(one) for one in stop if one in text[:first_end]]
    expected = text if first_end < 0 else text[: min(starts)]
    assert words.stopped == (first_end >= 0)
    assert "".join(pieces) == words.text == expected.strip()


def test_half_a_character_at_the_end_is_left_out() -> None:
    tokenizer = TOKENIZERS["byte-level"]
    ids = tokenizer.encode("a ☂").ids
    words = Words(tokenizer.decode)
    assert "".join(listen(words, ids[:-1])) == "a"
    words = Words(tokenizer.decode)
    assert "".join(listen(words, ids)) == "a ☂"
