"""A language model's own chat template: learnt from where that is sound, refused by name where it is not."""

from datetime import date
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from seetell.encode.image import ImageProcessor
from seetell.encode.jinja import JinjaTemplate, own_template
from seetell.encode.processor import Processor, template_named
from seetell.encode.sample import Sample
from seetell.encode.templates import TEMPLATES, Span, render
from seetell.encode.tokenizer import Tokenizer
from seetell.errors import UsageError
from seetell.types import Conversation, Image, Rejected, Turn
from tests import tiny_tokenizers

CHATML = """\
{%- if messages[0].role == 'system' -%}
  {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- else -%}
  {{- '<|im_start|>system\nYou see.<|im_end|>\n' }}
{%- endif -%}
{%- for message in messages if message.role != 'system' -%}
  {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}
"""
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
    "{% else %}{{ raise_exception('no system turn') }}{% endif %}{% endfor %}"
)
TALK = (
    Turn("user", (Image(path="a.png"), "What is this?")),
    Turn("assistant", ("\n A cat, </s> I'd say.",)),
    Turn("user", ("Really?",)),
    Turn("assistant", ("",)),
)


def _learnt(source: str, turns: tuple[Turn, ...] = TALK) -> str:
    tokenizer = tiny_tokenizers.byte_level()
    processor = Processor(tokenizer, JinjaTemplate(source, tokenizer), ImageProcessor(32), 1)
    sample = processor.encode(Conversation("c", turns))
    assert isinstance(sample, Sample), sample
    return "".join(
        tokenizer.decode([token], skip_special_tokens=False)
        for token, learnt in zip(sample.ids.tolist(), sample.supervised.tolist(), strict=True)
        if learnt
    )


def test_the_answer_and_its_stop_are_learnt() -> None:
    words = "A cat, </s> I'd say."
    assert _learnt(CHATML) == words + "<|im_end|>" * 2
    assert _learnt(INST) == f" {words}<|end_of_text|> <|end_of_text|>"


def test_chatml_in_jinja_is_our_chatml() -> None:
    tokenizer = tiny_tokenizers.byte_level()
    system = Turn("system", ("You look.",))
    jinja, ours = (
        Processor(tokenizer, template, ImageProcessor(32), 1).encode(Conversation("c", (system, *TALK)))
        for template in (JinjaTemplate(CHATML, tokenizer), TEMPLATES["chatml"])
    )
    assert isinstance(jinja, Sample)
    assert isinstance(ours, Sample)
    assert jinja.ids.tolist() == ours.ids.tolist()
    assert jinja.supervised.tolist() == ours.supervised.tolist()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (CHATML.replace("for message in messages", "for message in messages[2:]"), "drops what the user says"),
        (CHATML.replace("'<|im_end|>' + '\n'", "'<|im_end|>' + message.content"), "repeats what the user says"),
        (CHATML.replace("in messages if", "in messages | reverse if"), "reorders the turns"),
        (CHATML.replace("message.content +", "message.content.split('</think>')[-1] +"), "branches on the contents"),
        (
            CHATML.replace(
                "message.content +", "('long: ' if message.content | length > 99 else '') + message.content +"
            ),
            "branches",
        ),
        (CHATML.replace("message.content +", "message.content | upper +"), "drops what the user says"),
        (
            INST.replace("m.content + eos_token", "(m.content + eos_token if m.content else '')"),
            "treats an empty one apart",
        ),
        (INST.replace(" + eos_token", ""), "ends no answer"),
        (INST.replace("bos_token", "bos_token ~ bos_token"), "begins with '<|begin_of_text|>' twice"),
        (CHATML.replace("message.content +", "message.content + 3 +"), "takes no such turns"),
        ("{{ 1 // 0 }}", "takes no such turns (integer division"),
        ("{{ raise_exception('never') }}", "takes no such turns"),
        ("{% for %}", "takes no such turns"),
    ],
)
def test_unsound_templates_are_refused_by_name(source: str, why: str) -> None:
    with pytest.raises(UsageError, match="the chat template 'own' cannot be trained on") as refused:
        JinjaTemplate(source, tiny_tokenizers.byte_level())
    assert why in str(refused.value)


def test_an_opening_that_is_no_beginning_of_an_answer_is_refused() -> None:
    tokenizer = tiny_tokenizers.byte_level()
    template = JinjaTemplate(
        CHATML.replace("<|im_start|>assistant\n' }}{%- endif", "<|im_start|>bot\n' }}{%- endif"), tokenizer
    )
    with pytest.raises(UsageError, match="asks for an answer with"):
        Processor(tokenizer, template, ImageProcessor(32), 1)


def test_words_that_no_probe_foresaw_reject_their_conversation() -> None:
    tokenizer = tiny_tokenizers.byte_level()
    secret = CHATML.replace("message.content +", "message.content | replace('abracadabra', '') +")
    processor = Processor(tokenizer, JinjaTemplate(secret, tokenizer), ImageProcessor(32), 1)
    refused = processor.encode(Conversation("c", (Turn("user", ("abracadabra!",)), TALK[1])))
    assert isinstance(refused, Rejected)
    assert "these words" in refused.reason
    assert isinstance(processor.encode(Conversation("c", TALK)), Sample)


def test_a_template_that_looks_for_common_words_is_refused() -> None:
    tokenizer = tiny_tokenizers.byte_level()
    template = JinjaTemplate(
        CHATML.replace("message.content +", "message.content | replace('cat', 'dog') +"), tokenizer
    )
    with pytest.raises(UsageError, match="the chat template 'own' cannot be trained on"):
        Processor(tokenizer, template, ImageProcessor(32), 1)


def test_inner_begin_tokens_are_kept_and_the_first_is_there_once() -> None:
    tokenizer = tiny_tokenizers.byte_level()
    turn = "{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}"
    for begin in ("", "{{ bos_token }}"):
        source = f"{begin}{INST.removeprefix('{{ bos_token }}')}".replace(
            "{{ '[INST] ' + m.content + ' [/INST]' }}", turn
        )
        if begin:
            source = source.replace("bos_token + '[", "('' if loop.first else bos_token) + '[")
        processor = Processor(tokenizer, JinjaTemplate(source, tokenizer), ImageProcessor(32), 1)
        sample = processor.encode(Conversation("c", TALK))
        assert isinstance(sample, Sample)
        places = (sample.ids == tokenizer.control("bos_token")[0]).nonzero().flatten().tolist()
        assert len(places) == 2
        assert places[0] == 0


@pytest.mark.parametrize("before", ["", "  ", "\n", "\n  ", "  {# a remark #}\n"])
@pytest.mark.parametrize("after", ["", "\n", "\n\n"])
def test_only_the_first_begin_token_is_left_out_whatever_stands_around_the_source(before: str, after: str) -> None:
    tokenizer = tiny_tokenizers.byte_level()
    source = f"{before}{{% if true %}}{{{{ bos_token }}}}{{% endif %}}{INST.removeprefix('{{ bos_token }}')}{after}"
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
    own = tokenizer.hf.apply_chat_template(messages, chat_template=source, tokenize=False)
    template = JinjaTemplate(source, tokenizer)
    ours = render(Conversation("c", (Turn("user", ("Hi",)), Turn("assistant", ("Yes",)))), template)
    assert "".join(span.text for span in ours if isinstance(span, Span)) == str(own).removeprefix(tokenizer.bos or "")


def test_turns_that_a_template_has_no_place_for_reject_their_conversation() -> None:
    tokenizer = tiny_tokenizers.byte_level()
    processor = Processor(tokenizer, JinjaTemplate(INST, tokenizer), ImageProcessor(32), 1)
    refused = processor.encode(Conversation("c", (Turn("system", ("Be brief.",)), *TALK)))
    assert isinstance(refused, Rejected)
    assert "no system turn" in refused.reason


def test_the_own_template_comes_with_the_tokenizer() -> None:
    with pytest.raises(UsageError, match="no chat template"):
        own_template(tiny_tokenizers.llama())
    hf = tiny_tokenizers.byte_level_hf()
    tokenizer = Tokenizer(hf)
    tokenizer.hf.chat_template = CHATML
    assert own_template(tokenizer).source == CHATML


class _Calendar(date):
    """A date whose today can be turned."""

    turned = 28

    @classmethod
    def today(cls) -> date:
        return date(2026, 11, cls.turned)


DATED = CHATML.replace("You see.", "Today Date: ' + strftime_now(\"%d %b %Y\") + '.").replace(
    "{%- if messages[0]",
    "{%- if not strftime_now is defined %}{{ raise_exception('no date') }}{% endif %}{%- if messages[0]",
)


def _text(template: JinjaTemplate) -> str:
    return "".join(span.text for span in render(Conversation("c", TALK), template) if isinstance(span, Span))


def test_a_template_is_told_one_date_also_past_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seetell.encode.jinja.date", _Calendar)
    tokenizer = tiny_tokenizers.byte_level()
    processor = Processor(tokenizer, JinjaTemplate(DATED, tokenizer), ImageProcessor(32), 1)
    evening = processor.encode(Conversation("c", TALK))
    monkeypatch.setattr(_Calendar, "turned", 29)
    morning = processor.encode(Conversation("c", (*TALK, *TALK)))  # another shape, met for the first time
    assert isinstance(evening, Sample)
    assert isinstance(morning, Sample)
    texts = [tokenizer.decode(sample.ids.tolist(), skip_special_tokens=False) for sample in (evening, morning)]
    assert all("Today Date: 28 Nov 2026." in text for text in texts)


def test_a_date_that_is_given_stands_in_what_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seetell.encode.jinja.date", _Calendar)
    tokenizer = Tokenizer(tiny_tokenizers.byte_level_hf())
    tokenizer.hf.chat_template = DATED
    template = template_named("own", tokenizer, date(2026, 2, 3))
    assert isinstance(template, JinjaTemplate)
    processor = Processor(tokenizer, template, ImageProcessor(32), 4)
    processor.save(tmp_path)
    again = Processor.load(tmp_path).template
    assert isinstance(again, JinjaTemplate)
    assert _text(again) == _text(template)
    assert "Today Date: 03 Feb 2026." in _text(again)
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
    theirs = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(messages, tokenize=False)
    assert "Today Date: 03 Feb 2026." in str(theirs)
    assert "28 Nov" in _text(own_template(tokenizer))  # without one: the day's


def test_a_date_in_a_form_that_nobody_wrote_down_is_refused() -> None:
    tokenizer = Tokenizer(tiny_tokenizers.byte_level_hf())
    tokenizer.hf.chat_template = DATED.replace('now("%d %b %Y")', "now('%d' + ' %b')")
    with pytest.raises(UsageError, match="asks for the date in a form that it makes up itself"):
        own_template(tokenizer, date(2026, 2, 3))
