"""Any language model's own chat template, made safe to learn from.

A chat template in Jinja is a program. What it puts around the words is found by giving it unique placeholders
for the contents, once for each shape of conversation; the words are then filled in here. That is only sound
where each content stands in the result once, in order, and changes nothing around it: a template that drops,
repeats, reorders or branches on the contents is refused, by name, before anything is trained with it. White space
at both ends of what anybody says is taken off first, here and in the exported template: where an opening ends with
a line break, one at the start of an answer would melt into it.

Supervised is what the model has to say by itself: all that stands between the end of the generation prompt and
the first control token after the answer, that token included (where there is none: all that always follows).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import pairwise

from seetell.encode.templates import (
    IMAGE_TOKEN,
    OWN,
    BadTurns,
    Control,
    ImageSlot,
    Pieces,
    Rendered,
    Span,
    joined,
    rounds_of,
)
from seetell.encode.tokenizer import Tokenizer
from seetell.errors import UsageError
from seetell.types import Conversation, Turn

_ASKS_TODAY = re.compile(r"\bstrftime_now\s*\(")
_TODAY = re.compile(r"""\bstrftime_now\s*\(\s*(['"])((?:(?!\1).)*)\1\s*\)""")
_LINE = "\n"  # between a picture and the words beside it
# Contents that templates are known to look into, around a placeholder.
_PROBES = (
    ("", "?"),
    ("One line.\nAnother, and a much longer one. " * 8, ""),
    ("<think>\nhm\n</think>\n\n", ""),
    ("", " <think> </think>"),
    ('{"name": "look", "arguments": {}} ', ""),
    ("<tool_call>", "</tool_call>"),
    ("7", "0"),
    ("/no_think ", ""),
)


class RefusedTemplate(UsageError, BadTurns):
    """Where the template is met first it is the user's error; where one odd conversation shows it, that one's."""


@dataclass(frozen=True)
class JinjaTemplate:
    """`source` is the chat template; `tokenizer` supplies its special tokens and renders it.

    `today` is the date that it is told when it asks, for as long as this object lives: past midnight too.
    """

    source: str
    tokenizer: Tokenizer = field(repr=False)
    name: str = OWN
    today: date = field(default_factory=lambda: date.today(), compare=False)
    _shapes: dict[tuple[tuple[str, ...], bool], list[str]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        shape = ("user", "assistant", "user", "assistant")
        self._surroundings(shape, prompt=False)
        for before, after in _PROBES:
            if self._render_around(shape, before, after) != self._surroundings(shape, prompt=False):
                raise self._branches(before, after)
        if self._rendered(shape, [""] * 4, prompt=False) != "".join(self._surroundings(shape, prompt=False)):
            raise self._refused("branches on the contents: it treats an empty one apart")
        bos = self.tokenizer.bos
        if self.tokenizer.prefix_ids and bos and self._surroundings(shape, prompt=False)[0].startswith(bos):
            raise self._refused(f"begins with {bos!r} twice")
        if not self.stop:
            raise self._refused("ends no answer: nothing follows the last one")

    @property
    def stop(self) -> Pieces:
        pieces: list[str | Control] = []
        for span in self._split(self._surroundings(("user", "assistant"), prompt=False)[-1]):
            pieces.append(Control(span.text) if span.control else span.text)
            if span.control:
                break
        return tuple(pieces)

    def pieces(self, conversation: Conversation, prompt: bool) -> Rendered:
        system, rounds, question = rounds_of(conversation)
        if prompt and question is None:
            raise BadTurns("nothing asked: the last turn of a prompt has to be the user's")
        turns = [] if system is None else [system]
        turns += [turn for both in rounds for turn in both]
        if prompt and question is not None:
            turns.append(question)
        if not turns:
            return []
        roles = (*(turn.role for turn in turns),)
        around = self._surroundings(roles, prompt)
        self._check_words(turns, roles, around, prompt)
        stop = "".join(piece if isinstance(piece, str) else piece.token for piece in self.stop)
        out: Rendered = []
        for index, turn in enumerate(turns):
            out += self._between(around[index], roles[: index + 1], stop)
            supervised = turn.role == "assistant"
            out += [Span(part.text, supervised) if isinstance(part, Span) else part for part in _said(turn)]
        return out + self._between(around[-1], (*roles, "nobody"), stop)

    def _between(self, text: str, roles: tuple[str, ...], stop: str) -> list[Span]:
        """What stands before the last of `roles`: after an answer its stop, before one what the model says first."""
        cut = len(stop) if roles[-2:-1] == ("assistant",) else 0
        if text[:cut] != stop[:cut]:
            raise self._refused(f"ends answers in different ways: {stop!r} and {text!r}")
        lead = len(text)
        if roles[-1] == "assistant":
            opening = self._surroundings(roles[:-1], prompt=True)[-1]
            if not text.startswith(opening):
                raise self._refused(f"asks for an answer with {opening!r}, but puts {text!r} in front of a given one")
            lead = len(opening)
        return [
            *self._split(text[:cut], supervised=True),
            *self._split(text[cut:lead]),
            *self._split(text[lead:], supervised=True),
        ]

    def _check_words(self, turns: Sequence[Turn], roles: tuple[str, ...], around: Sequence[str], prompt: bool) -> None:
        """The probes cannot foresee every word that a template may look for, so the words themselves are tried too."""
        said = [
            "".join(IMAGE_TOKEN if isinstance(part, ImageSlot) else part.text for part in _said(turn)) for turn in turns
        ]
        filled = "".join(before + words for before, words in zip(around, said, strict=False)) + around[-1]
        if self._rendered(roles, said, prompt) != filled:
            raise BadTurns("the chat template treats these words apart")

    def _surroundings(self, roles: tuple[str, ...], prompt: bool) -> list[str]:
        """The texts before, between and after the contents of such a conversation."""
        found = self._shapes.get((roles, prompt))
        if found is None:
            found = self._shapes[roles, prompt] = self._render_around(roles, "", "", prompt)
        return found

    def _render_around(self, roles: tuple[str, ...], before: str, after: str, prompt: bool = False) -> list[str]:
        marks = [f"Seetell{index}Content" for index in range(len(roles))]
        text = self._rendered(roles, [before + mark + after for mark in marks], prompt)
        places = [text.find(mark) for mark in marks]
        for role, mark, place in zip(roles, marks, places, strict=True):
            if place < 0:
                raise self._refused(f"drops what the {role} says")
            if text.count(mark) > 1:
                raise self._refused(f"repeats what the {role} says")
        if any(first > second for first, second in pairwise(places)):
            raise self._refused("reorders the turns")
        parts = re.split("|".join(marks), text)
        for index in range(len(roles)):  # before and after belong to the contents, not to what is around them
            if not (parts[index].endswith(before) and parts[index + 1].startswith(after)):
                raise self._branches(before, after)
            parts[index] = parts[index].removesuffix(before)
            parts[index + 1] = parts[index + 1].removeprefix(after)
        return parts

    def _rendered(self, roles: Sequence[str], contents: Sequence[str], prompt: bool) -> str:
        messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
        try:
            rendered = self.tokenizer.hf.apply_chat_template(
                messages, chat_template=self._source_of_today, tokenize=False, add_generation_prompt=prompt
            )
        except Exception as error:  # a template is a program, and fails as programs do
            raise self._refused(f"takes no such turns ({' '.join(str(error).split())})") from error
        return str(rendered)

    def _split(self, text: str, supervised: bool = False) -> list[Span]:
        """Text with its control tokens apart, as a tokenizer would find them: the longest at each place."""
        names = sorted(self.tokenizer.added_tokens, key=len, reverse=True)
        parts = re.split("(" + "|".join(map(re.escape, names)) + ")", text)
        return [Span(part, supervised, control=bool(index % 2)) for index, part in enumerate(parts) if part]

    @cached_property
    def _source_of_today(self) -> str:
        """What is rendered."""
        return dated(self._without_first_bos(), self.today)

    def _without_first_bos(self) -> str:
        """The source; where the tokenizer puts a BOS in front by itself, the one that the source begins with is left
        out. Later ones stay: Llama 2's template has one before every user's turn."""
        if not (self.tokenizer.prefix_ids and self.tokenizer.bos):
            return self.source
        bos = json.dumps(self.tokenizer.bos)
        # The newline goes with its tag, and lets the source begin a line: blanks before its first tag are dropped then.
        return (
            f"{{%- set whole %}}\n{self.source.removesuffix(_LINE)}{{%+ endset -%}}"
            f"{{{{- whole[{len(self.tokenizer.bos)}:] if whole.startswith({bos}) else whole -}}}}"
        )

    def _branches(self, before: str, after: str) -> RefusedTemplate:
        return self._refused(f"branches on the contents: it treats {before[:24] + '…' + after[:24]!r} apart")

    def _refused(self, why: str) -> RefusedTemplate:
        return RefusedTemplate(
            f"the chat template {self.name!r} cannot be trained on, because it {why}; choose another template"
        )

    def jinja(self, bos: str, eos: str) -> str:
        """The same template for messages whose contents are lists of texts and pictures."""
        del bos, eos
        return f"""\
{{%- set flat = namespace(messages=[], text="", last="") -%}}
{{%- for message in messages -%}}
  {{%- set flat.text = "" -%}}
  {{%- set flat.last = "" -%}}
  {{%- if message.content is string -%}}
    {{%- set flat.text = message.content -%}}
  {{%- else -%}}
    {{%- for part in message.content -%}}
      {{%- set picture = part.type in ("image", "image_url") -%}}
      {{%- if picture or (part.type == "text" and part.text) -%}}
        {{%- set line = "\\n" if flat.last and (picture or flat.last == "image") else "" -%}}
        {{%- set flat.text = flat.text ~ line ~ ("{IMAGE_TOKEN}" if picture else part.text) -%}}
        {{%- set flat.last = "image" if picture else "text" -%}}
      {{%- endif -%}}
    {{%- endfor -%}}
  {{%- endif -%}}
  {{%- set flat.messages = flat.messages + [dict(role=message.role, content=flat.text | trim)] -%}}
{{%- endfor -%}}
{{%- set messages = flat.messages -%}}
{self._without_first_bos()}"""


def _said(turn: Turn) -> Rendered:
    """A turn's words and pictures, without white space at either end."""
    out = joined(turn.parts, _LINE)
    for end, strip in ((0, str.lstrip), (-1, str.rstrip)):
        while out and isinstance(part := out[end], Span):
            if kept := strip(part.text):
                out[end] = Span(kept)
                break
            del out[end]
    return out


def own_template(tokenizer: Tokenizer, today: date | None = None) -> JinjaTemplate:
    """The chat template that a language model's tokenizer brings along; with `today`, that date stands in it."""
    source = tokenizer.hf.chat_template
    if isinstance(source, dict):  # several, for tools and the like
        source = source.get("default")
    if not isinstance(source, str):
        raise UsageError("this language model brings no chat template of its own; name one, such as vicuna-v1")
    if today is None:
        return JinjaTemplate(source, tokenizer)
    source = dated(source, today)
    if _ASKS_TODAY.search(source):
        raise UsageError(
            "this language model's chat template asks for the date in a form that it makes up itself, so what was "
            "trained on could not be known later; name another template, such as vicuna-v1"
        )
    return JinjaTemplate(source, tokenizer)


def dated(source: str, today: date) -> str:
    """A chat template in which a date stands where it asks for today's, so that it says the same on any other day."""
    return _TODAY.sub(lambda asked: json.dumps(today.strftime(asked[2]), ensure_ascii=False), source)
