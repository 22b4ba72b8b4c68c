"""Small tokenizers of three families, trained in-process on a few lines and kept for the session.

Every one has the control tokens of all shipped templates, so that each goes with each.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AddedToken, PreTrainedTokenizerFast

from seetell.encode import tokenizer as seetell_tokenizer

TEXT = """A chat between a curious user and an artificial intelligence assistant.
The assistant gives helpful, detailed, and polite answers to the user's questions.
USER: What is this? ASSISTANT: A red house stands beside a small green tree.
### Human: How many boats are there? ### Assistant: Two boats, one of them blue.
[INST] Where is the cat? [/INST] The cat is left of the car, under a white cloud.
The sun shines over the sea and three birds fly above the yellow boat at night.
Is there a purple dog in the picture? No, there is no dog; the cat is black.
1 2 3 4 5 6 7 8 9 10 (a) {b} [c] <d> "e" 'f' don't isn't it's we'll 3.14 = 22/7
a photo of the sky with clouds, a road, a fence and a little grey stone bridge
""".splitlines()

CONTROLS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)

# How Llama 3 and Qwen cut text into words, before any merge.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@cache
def byte_level_hf() -> PreTrainedTokenizerFast:
    """Byte-level BPE in the manner of Llama 3: BOS in front, ids of control tokens after the text's."""
    backend = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(_WORDS), behavior="isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    backend.train_from_iterator(TEXT, trainer)
    return _finished(backend, bos="<|begin_of_text|>", eos="<|end_of_text|>")


@cache
def llama_hf() -> PreTrainedTokenizerFast:
    """Sentencepiece BPE in the manner of Llama 2: byte fallback, spaces as pieces, BOS in front."""
    with tempfile.TemporaryDirectory() as folder:
        hf = seetell_tokenizer.convert_sentencepiece(train_sentencepiece(Path(folder)))
    hf.add_tokens([AddedToken(name, special=True, normalized=False) for name in CONTROLS], special_tokens=True)
    return hf


def train_sentencepiece(folder: Path, vocab_size: int = 480, lines: tuple[str, ...] = tuple(TEXT)) -> Path:
    """A sentencepiece model file with Llama's settings."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=vocab_size,
        character_coverage=1.0,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return folder / "tokenizer.model"


@cache
def unigram_hf() -> PreTrainedTokenizerFast:
    """A Unigram model over bytes, no BOS; its control tokens stand in the model's own vocabulary."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.UnigramTrainer(
        vocab_size=400,
        special_tokens=["<unk>", "</s>", *CONTROLS],
        unk_token="<unk>",
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(TEXT, trainer)
    return _finished(backend, bos=None, eos="</s>", unk="<unk>")


def _finished(backend: Tokenizer, bos: str | None, eos: str, unk: str | None = None) -> PreTrainedTokenizerFast:
    roles = {"bos_token": bos, "eos_token": eos, "unk_token": unk}
    roles = {role: name for role, name in roles.items() if name is not None}
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in (*roles.values(), *CONTROLS)])
    if bos is not None:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, backend.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **roles)


@cache
def byte_level() -> seetell_tokenizer.Tokenizer:
    return seetell_tokenizer.Tokenizer(byte_level_hf())


@cache
def llama() -> seetell_tokenizer.Tokenizer:
    return seetell_tokenizer.Tokenizer(llama_hf())


@cache
def unigram() -> seetell_tokenizer.Tokenizer:
    return seetell_tokenizer.Tokenizer(unigram_hf())


FAMILIES = {"byte-level": byte_level, "llama": llama, "unigram": unigram}
