"""What the processor keeps, drops and refuses."""

from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizerFast

from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor, template_named
from seetell.encode.sample import Sample
from seetell.encode.templates import EOS, TEMPLATES, ChatTemplate, Control, first_rounds
from seetell.encode.tokenizer import Tokenizer, load_tokenizer
from seetell.errors import BadInput, ConfigError, HalfSupervised, UsageError
from seetell.types import Conversation, Image, Rejected, Turn
from tests import tiny_tokenizers

IMAGE = Image(path="a.png")


def _processor(template: str = "vicuna-v1", slots: int = 4, family: str = "llama") -> Processor:
    return Processor(tiny_tokenizers.FAMILIES[family](), TEMPLATES[template], ImageProcessor(32), slots)


def _conversation(*texts: str | tuple[str | Image, ...], system: str | None = None) -> Conversation:
    turns = [] if system is None else [Turn("system", (system,))]
    for index, text in enumerate(texts):
        parts = (text,) if isinstance(text, str) else text
        turns.append(Turn("user" if index % 2 == 0 else "assistant", parts))
    return Conversation("c", tuple(turns))


def _sample(encoded: Sample | Rejected) -> Sample:
    assert isinstance(encoded, Sample), encoded
    return encoded


def test_a_picture_takes_its_slots_where_it_stands() -> None:
    processor = _processor()
    before, after = ((IMAGE, "What?"), "A cat."), (("What?", IMAGE), "A cat.")
    for parts in (before, after):
        sample = _sample(processor.encode(_conversation(*parts)))
        slots = sample.ids == processor.tokenizer.image_id
        assert slots.sum() == 4
        assert not sample.supervised[slots].any()
        assert sample.images == (IMAGE,)
        assert len(sample) == processor.length(_conversation(*parts))
    first, second = (_sample(processor.encode(_conversation(*parts))).ids.tolist() for parts in (before, after))
    assert first != second
    assert processor.tokenizer.decode(first).index("What") > processor.tokenizer.decode(second).index("What")


def test_what_is_too_long_loses_whole_rounds() -> None:
    processor = _processor()
    long = _conversation(
        (IMAGE, "What?"), "A cat.", ("And this?", IMAGE), "A dog.", "Sure?", "Yes.", system="Be brief."
    )
    lengths = [processor.length(first_rounds(long, count)) for count in (1, 2, 3)]
    for limit in range(lengths[0], lengths[2] + 2):
        kept = sum(length <= limit for length in lengths)
        sample = _sample(processor.encode(long, max_tokens=limit))
        assert len(sample) == lengths[kept - 1]
        assert len(sample.images) == min(kept, 2)
    refused = processor.encode(long, max_tokens=lengths[0] - 1)
    assert isinstance(refused, Rejected)
    assert (refused.id, refused.reason) == ("c", "too long")


@pytest.mark.parametrize(
    ("conversation", "reason"),
    [
        (_conversation("Nobody answers"), "nothing supervised"),
        (Conversation("c", ()), "nothing supervised"),
        (Conversation("c", (Turn("assistant", ("Hi",)), Turn("user", ("Hi",)))), "turns out of order"),
        (
            Conversation("c", (Turn("user", ("Hi",)), Turn("user", ("Hi",)), Turn("assistant", ("?",)))),
            "turns out of order",
        ),
        (_conversation("Draw", ("Here", IMAGE)), "a picture in an answer"),
        (Conversation("c", (Turn("system", (IMAGE,)), *_conversation("a", "b").turns)), "a picture in the system turn"),
        (_conversation("a", "half a pair \ud83d"), "text is not Unicode"),
    ],
)
def test_no_conversation_is_refused(conversation: Conversation, reason: str) -> None:
    refused = _processor().encode(conversation)
    assert isinstance(refused, Rejected)
    assert refused.reason.startswith(reason)


def test_an_open_question_at_the_end_is_left() -> None:
    processor = _processor()
    whole = processor.encode(_conversation("a", "b", ("What?", IMAGE)))
    assert torch.equal(_sample(whole).ids, _sample(processor.encode(_conversation("a", "b"))).ids)
    assert _sample(whole).images == ()


def test_a_prompt_ends_where_the_assistant_begins() -> None:
    processor = _processor()
    prompt = processor.encode_prompt(_conversation((IMAGE, "What?")))
    assert not prompt.supervised.any()
    assert processor.tokenizer.decode(prompt.ids.tolist()).endswith("What? ASSISTANT:")
    with pytest.raises(UsageError, match="nothing asked"):
        processor.encode_prompt(_conversation("a", "b"))


@pytest.mark.parametrize(
    ("template", "ids", "strings"),
    [
        ("vicuna-v1", ["</s>"], ()),
        ("chatml", ["</s>", "<|im_end|>"], ()),
        ("vicuna-v0", ["</s>"], ("\n###",)),
        ("plain", ["</s>"], ("\n",)),
    ],
)
def test_what_stops_an_answer(template: str, ids: list[str], strings: tuple[str, ...]) -> None:
    processor = _processor(template)
    assert processor.stop_ids == {processor.tokenizer.control(name)[0] for name in ids}
    assert processor.stop_strings == strings


def test_the_first_token_is_never_supervised() -> None:
    sample = _sample(_processor("plain", family="unigram").encode(_conversation("", "a caption")))
    assert not sample.supervised[0]
    assert sample.supervised[1:].all()


def test_a_template_that_the_tokenizer_cannot_follow_is_refused() -> None:
    tokenizer = tiny_tokenizers.llama()
    image = ImageProcessor(32)
    with pytest.raises(UsageError, match="no control token"):
        Processor(tokenizer, ChatTemplate("odd", (), (Control("<|nowhere|>"),)), image, 1)
    # The prompt ends with a space, which the first word of the answer wants for itself.
    with pytest.raises(UsageError, match="one token covers"):
        Processor(tokenizer, ChatTemplate("odd", ("ASSISTANT: ",), (EOS,)), image, 1)
    with pytest.raises(UsageError, match="no bos_token"):
        Processor(tiny_tokenizers.unigram(), TEMPLATES["llama-2"], image, 1)
    with pytest.raises(UsageError, match="at least one image token"):
        Processor(tokenizer, TEMPLATES["plain"], image, 0)
    with pytest.raises(ConfigError, match="vicuna-v1"):
        template_named("vicuna-1", tokenizer)


def test_a_half_supervised_token_raises() -> None:
    """A piece that joins a template's line break with what follows it appears only with some answers."""
    pieces = dict.fromkeys(["<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz\n :.,?'-#3+47ACWIQ", "\nq"])
    vocab = {piece: index for index, piece in enumerate(pieces)}
    backend = Backend(models.BPE(vocab, [("\n", "q")], unk_token="<unk>"))
    hf = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")
    processor = Processor(Tokenizer(hf), ChatTemplate("lines", ("\n",), (EOS,)), ImageProcessor(32), 1)
    assert isinstance(processor.encode(_conversation("a", "b")), Sample)
    with pytest.raises(HalfSupervised, match=r"'\\nq'"):
        processor.encode(_conversation("a", "q"))


def test_control_tokens_may_swallow_white_space() -> None:
    """As Phi-3's do: "<|say|>\\n" is one token."""
    hf = tiny_tokenizers.byte_level_hf()
    backend = Backend.from_str(hf.backend_tokenizer.to_str())
    backend.add_special_tokens([AddedToken("<|say|>", rstrip=True, lstrip=True, normalized=False)])
    tokenizer = Tokenizer(
        PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=hf.eos_token, bos_token=hf.bos_token)
    )
    template = ChatTemplate("phi", (Control("<|say|>"), "\n"), (EOS,), after_user=(" \n",))
    processor = Processor(tokenizer, template, ImageProcessor(32), 1)
    sample = _sample(processor.encode(_conversation("Hi", "\n\nyes")))
    assert sample.ids.tolist() == tokenizer.hf("Hi \n<|say|>\n\n\nyes<|end_of_text|>")["input_ids"]
    assert tokenizer.decode(sample.ids[sample.supervised].tolist(), skip_special_tokens=False) == "yes<|end_of_text|>"


@pytest.mark.parametrize("scheme", ["first", "always"])
def test_sentencepiece_spaces_are_put_before_every_stretch(scheme: str) -> None:
    """Transformers' newer Llama tokenizers put one before the first stretch only; both take a leading space for it."""
    state = Backend.from_str(tiny_tokenizers.llama_hf().backend_tokenizer.to_str())
    state.normalizer = None  # pyright: ignore[reportAttributeAccessIssue]
    state.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    hf = PreTrainedTokenizerFast(tokenizer_object=state, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    settled, converted = Tokenizer(hf), tiny_tokenizers.llama()
    for text in ("a house", " a house", "   a", "\na", ""):
        assert settled.encode_text(text) == converted.encode_text(text)
        assert settled.hf(f"x</s>{text}")["input_ids"] == converted.hf(f"x</s>{text}")["input_ids"]


def test_unigram_models_with_spaces_too() -> None:
    """The control tokens of a Unigram model stand in its vocabulary, where any text could match them."""
    pieces = [
        "<unk>",
        "</s>",
        "<|im_start|>",
        "<|im_end|>",
        "▁",
        *map(chr, range(32, 127)),
        "\n",
        "▁is",
        "▁this",
        "▁yes",
    ]
    backend = Backend(models.Unigram([(piece, -1.0 if len(piece) > 1 else -4.0) for piece in pieces], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    backend.add_special_tokens(["<unk>", "</s>", "<|im_start|>", "<|im_end|>"])
    tokenizer = Tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>"))
    assert not {1, 2, 3} & set(tokenizer.encode_text("this</s><|im_start|> is <|im_end|>"))
    assert tokenizer.decode(tokenizer.encode_text("this is </s>")) == "this is </s>"
    for name in ("vicuna-v1", "chatml"):
        Processor(tokenizer, TEMPLATES[name], ImageProcessor(32), 1)


def test_a_tokenizer_that_ends_every_text_is_refused() -> None:
    backend = Backend.from_str(tiny_tokenizers.llama_hf().backend_tokenizer.to_str())
    hf = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", bos_token="<s>", add_eos_token=True)
    with pytest.raises(UsageError, match="add_eos_token"):
        Tokenizer(hf)


def test_folders_that_hold_no_processor(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no seetell\.json"):
        Processor.load(tmp_path)
    (tmp_path / "seetell.json").write_text('{"template": "plain"}')
    with pytest.raises(BadInput, match="slots_per_image"):
        Processor.load(tmp_path)
    (tmp_path / "seetell.json").write_text('{"template": "plain", "slots_per_image": 4}')
    with pytest.raises(BadInput, match="no tokenizer"):
        Processor.load(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"\xff\xff no protobuf")
    with pytest.raises(BadInput, match="sentencepiece"):
        load_tokenizer(tmp_path)
