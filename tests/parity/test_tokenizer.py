"""Llama's sentencepiece files give sentencepiece's ids, here and after saving; the ids are LLaVA's."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
from transformers import AutoTokenizer

from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor
from seetell.encode.sample import Sample
from seetell.encode.templates import TEMPLATES
from seetell.encode.tokenizer import Tokenizer, convert_sentencepiece, load_tokenizer
from seetell.errors import BadInput, ServiceError
from seetell.types import Conversation, Image, Turn
from tests import tiny_tokenizers

Outside = Callable[[str], Path]
PARTS = (
    "the",
    "Hello",
    "ASSISTANT:",
    "don't",
    "1234",
    "...",
    "aaaa",
    "(((",
    "-----",
    "▁",
    "▁▁",
    " ▁",
    "</s>",
    "<0x41>",
    "<unk>",
)


def texts(count: int, seed: int = 0) -> list[str]:
    """Words, runs of spaces and line breaks, repeated characters, any Unicode, control tokens spelled."""
    lots = random.Random(seed)

    def characters() -> str:
        spans = ((0x20, 0x7F), (0xA0, 0x3000), (0x4E00, 0xA000), (0x1F300, 0x1F700), (0, 0x20))
        return "".join(chr(lots.randrange(*lots.choice(spans))) for _ in range(lots.randint(1, 5)))

    made = ["", " ", "  ", "\n", " a", "a ", "   a  b    c" + " " * 40]
    while len(made) < count:
        pieces = (
            lots.choice(PARTS) * lots.randint(1, 3),
            " " * lots.randint(1, 20),
            "\n" * lots.randint(1, 3),
            characters(),
        )
        made.append("".join(lots.choice(pieces) + lots.choice(("", " ")) for _ in range(lots.randint(0, 10))))
    return made


@pytest.fixture(scope="module")
def llama_file(outside: Outside) -> Path:
    return outside("tokenizers/llama") / "tokenizer.model"


@pytest.fixture(scope="module")
def llama(llama_file: Path) -> Tokenizer:
    return Tokenizer(convert_sentencepiece(llama_file))


def test_the_real_llama_equals_sentencepiece(llama_file: Path, llama: Tokenizer) -> None:
    reference = sentencepiece.SentencePieceProcessor(model_file=str(llama_file))
    for text in texts(2_000):
        assert llama.encode_text(text) == reference.encode(text), repr(text)


def test_published_ids(llama_file: Path, llama: Tokenizer) -> None:
    golden = json.loads((llama_file.parent / "GOLDEN_TOKENS.json").read_text())
    rows = next(rows for name, rows in golden.items() if name.startswith("llama"))
    assert len(rows) == 5
    for text, ids in rows:
        assert [*llama.prefix_ids, *llama.encode_text(text)] == ids
        assert llama.hf(text)["input_ids"] == ids


@pytest.mark.parametrize("size", [340, 600])
def test_small_models_equal_sentencepiece(tmp_path: Path, size: int) -> None:
    spaced = ("def f(x):", "    if x:", "        return   x", "a  b   c    d", "aaa bbb aaaa bbbb")
    file = tiny_tokenizers.train_sentencepiece(tmp_path, size, (*tiny_tokenizers.TEXT, *spaced * 4))
    reference = sentencepiece.SentencePieceProcessor(model_file=str(file))
    ours = Tokenizer(convert_sentencepiece(file))
    for text in texts(1_000, seed=size):
        assert ours.encode_text(text) == reference.encode(text), repr(text)


@pytest.mark.parametrize("family", tiny_tokenizers.FAMILIES)
@pytest.mark.parametrize("model_type", [None, "llava", "llama"])
def test_reloading_keeps_the_ids(tmp_path: Path, family: str, model_type: str | None) -> None:
    before = tiny_tokenizers.FAMILIES[family]()
    before.save(tmp_path)
    if model_type:  # the class that a model's config suggests must not take the tokenizer's place
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    after, theirs = load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert (after.image_id, after.pad_id, after.prefix_ids) == (before.image_id, before.pad_id, before.prefix_ids)
    assert len(after) == len(before) == len(theirs)
    for text in texts(200, seed=1):
        assert after.encode_text(text) == before.encode_text(text)
        assert theirs(text)["input_ids"] == before.hf(text)["input_ids"]


@pytest.mark.parametrize("legacy", [True, False])
def test_transformers_own_llama_class_is_made_to_agree(tmp_path: Path, legacy: bool) -> None:
    """It builds its own treatment of spaces, whatever tokenizer.json says, and old and new differ."""
    converted = tiny_tokenizers.llama()
    converted.save(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "LlamaTokenizer", "legacy": legacy}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    loaded = load_tokenizer(tmp_path)
    for text in texts(200, seed=2):
        assert loaded.encode_text(text) == converted.encode_text(text)
        assert loaded.hf(text)["input_ids"] == converted.hf(text)["input_ids"]


def test_a_folder_with_nothing_but_a_sentencepiece_file_loads(tmp_path: Path) -> None:
    tiny_tokenizers.train_sentencepiece(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|im_start|>": 480}))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"pad_token": {"content": "<unk>"}, "chat_template": "x"})
    )
    loaded = load_tokenizer(tmp_path)
    assert "<|im_start|>" in loaded.added_tokens
    assert loaded.hf.pad_token == "<unk>"
    assert loaded.hf.chat_template == "x"
    assert loaded.encode_text("a red  house") == tiny_tokenizers.llama().encode_text("a red  house")


def test_a_tokenizer_of_no_use_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "merges.txt").write_text("#version\n")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "ctrl"}))
    with pytest.raises(BadInput, match=r"without a tokenizer\.json: choose another"):
        load_tokenizer(tmp_path)

    def fail(*_: object) -> None:
        raise ImportError

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", fail)
    with pytest.raises(BadInput, match=r"no tokenizer can be loaded from .*: ImportError"):
        load_tokenizer(tmp_path)
    with pytest.raises(ServiceError, match="nor is it in the hub's cache"):
        load_tokenizer("nobody/nothing")


# -------------------------------------------------------------------- ids of LLaVA's own code, real Llama tokenizer

QUESTION = Turn("user", (Image(path="p.png"), "What is this?"))
COLOUR = (Turn("user", ("Color?",)), Turn("assistant", ("Black.",)))
TWO_ROUNDS = Conversation("two", (QUESTION, Turn("assistant", ("A cat.",)), *COLOUR))


def _marked(llama: Tokenizer, template: str, conversation: Conversation) -> tuple[int, list[str]]:
    """The length, and the tokens that are learnt."""
    sample = Processor(llama, TEMPLATES[template], ImageProcessor(336), 1).encode(conversation)
    assert isinstance(sample, Sample)
    tokens = llama.hf.convert_ids_to_tokens(sample.ids.tolist())
    return len(sample), [token for token, learnt in zip(tokens, sample.supervised, strict=True) if learnt]


def test_plain_is_llavas(llama: Tokenizer) -> None:
    caption = Conversation("caption", (Turn("user", (QUESTION.parts[0],)), Turn("assistant", ("a cat on a mat",))))
    assert _marked(llama, "plain", caption) == (8, ["▁a", "▁cat", "▁on", "▁a", "▁mat", "<0x0A>"])


def test_vicuna_v1_is_llavas(llama: Tokenizer) -> None:
    assert _marked(llama, "vicuna-v1", TWO_ROUNDS) == (64, ["▁A", "▁cat", ".", "</s>", "▁Black", ".", "</s>"])


def test_vicuna_v0_learns_the_answer_and_its_stop_alone(llama: Tokenizer) -> None:
    """LLaVA-0's own text has one token more, the space behind its last "###"."""
    stop = ["<0x0A>", "##", "#"]
    assert _marked(llama, "vicuna-v0", TWO_ROUNDS) == (72, ["▁A", "▁cat", ".", *stop, "▁Black", ".", *stop])


def test_llama_2_is_llavas(llama: Tokenizer) -> None:
    assert _marked(llama, "llama-2", TWO_ROUNDS)[1] == ["▁A", "▁cat", ".", "▁", "</s>", "▁Black", ".", "▁", "</s>"]


def test_a_picture_has_a_space_piece_on_both_sides(llama: Tokenizer) -> None:
    """ "USER: <image>\\nWhat is this? ASSISTANT:" has 17 ids in LLaVA's code."""
    prompt = Conversation("p", (Turn("system", ("",)), QUESTION))
    ids = Processor(llama, TEMPLATES["vicuna-v1"], ImageProcessor(336), 1).encode_prompt(prompt).ids.tolist()
    tokens = llama.hf.convert_ids_to_tokens(ids)
    at = tokens.index("<image>")
    assert tokens[at - 1 : at + 4] == ["▁", "<image>", "▁", "<0x0A>", "What"]
    assert tokens[at + 4 :] == ["▁is", "▁this", "?", "▁A", "SS", "IST", "ANT", ":"]
