"""What surrounds the words of a conversation, and which part of it is learnt.

A template is data: the pieces before and after each speaker's words. `render` lays a conversation out as
spans of text and slots for pictures; nothing here knows a tokenizer, so a template can be read, tested and
turned into a Jinja template (`ChatTemplate.jinja`) without one.

Supervised is what the model has to say by itself after the prompt: the space that leads the answer in (if
the template has one), the answer's words and its stop, and never a role tag, the question or a picture.
LLaVA-0's own code supervised its role tags and separators too; the paper's text, which is followed here,
does not.

Texts of the system prompts and separators: LLaVA (arXiv:2304.08485, 2310.03744), Vicuna, Llama 2 and 3, ChatML.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from seetell.types import Conversation, Image, Turn

IMAGE_TOKEN = "<image>"


@dataclass(frozen=True, slots=True)
class Control:
    """A token that no text can spell, by its name in the vocabulary; `BOS` and `EOS` are the tokenizer's own."""

    token: str


BOS, EOS = Control("bos_token"), Control("eos_token")
Pieces = tuple[str | Control, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the prompt. `control`: the text is a control token's name and becomes exactly that id."""

    text: str
    supervised: bool = False
    control: bool = False


@dataclass(frozen=True, slots=True)
class ImageSlot:
    """Where a picture stands in the prompt."""

    image: Image


Rendered = list[Span | ImageSlot]


class BadTurns(ValueError):
    """These turns are no conversation; the message is a short phrase that reports can count by."""


@runtime_checkable
class Template(Protocol):
    """Lays a conversation out. `stop` is what ends an answer; a stop of text alone is a stop string."""

    @property
    def name(self) -> str: ...

    @property
    def stop(self) -> Pieces: ...

    def pieces(self, conversation: Conversation, prompt: bool) -> Rendered: ...

    def jinja(self, bos: str, eos: str) -> str: ...


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """Each field is what stands there, in the order of a conversation.

    `lead` stands between the assistant's opening and its words, and the model says it: "ASSISTANT:" is the
    end of a prompt, " A cat." the answer, because most tokenizers make one token of a space and its word.
    `trim` takes white space off both ends of what anybody says, as the published Llama 3 template does:
    where the opening ends with a line break, one at the start of an answer would melt into it.
    """

    name: str
    assistant: Pieces
    stop: Pieces
    system: str = ""
    before_system: Pieces = ()
    after_system: Pieces = ()
    first_user: Pieces = ()
    user: Pieces = ()
    after_user: Pieces = ()
    lead: str = ""
    after_stop: Pieces = ()
    between_parts: str = "\n"
    questions: bool = True
    trim: bool = False

    def pieces(self, conversation: Conversation, prompt: bool) -> Rendered:
        """All answered rounds; for a prompt also the open question and the assistant's opening."""
        system, rounds, question = rounds_of(conversation)
        if prompt and question is None:
            raise BadTurns("nothing asked: the last turn of a prompt has to be the user's")
        out: Rendered = [*_spans(self.before_system)]
        if system is None:
            out += _spans((self.system,))
        elif self.questions:
            out += self._said(system)
        out += _spans(self.after_system)
        for number, (asked, answer) in enumerate(rounds):
            out += self._asked(asked, number == 0)
            out += _spans((self.lead,), supervised=True)
            out += [replace(piece, supervised=True) for piece in self._said(answer) if isinstance(piece, Span)]
            out += _spans(self.stop, supervised=True)
            out += _spans(self.after_stop)
        if prompt and question is not None:
            out += self._asked(question, not rounds)
        return out

    def _asked(self, turn: Turn, first: bool) -> Rendered:
        opening = self.first_user if first else self.user
        return [*_spans(opening), *self._said(turn), *_spans(self.after_user), *_spans(self.assistant)]

    def _said(self, turn: Turn) -> Rendered:
        parts: list[str | Image] = [
            part.strip() if isinstance(part, str) and self.trim else part for part in turn.parts
        ]
        if turn.role == "user" and not self.questions:
            parts = [part for part in parts if isinstance(part, Image)]
        return joined(parts, self.between_parts)

    def jinja(self, bos: str, eos: str) -> str:
        """The same layout as a Jinja template, for everybody else's software; read by transformers, vLLM and others."""

        def quoted(pieces: Pieces) -> str:
            names = {BOS.token: bos, EOS.token: eos}
            texts = (piece if isinstance(piece, str) else names.get(piece.token, piece.token) for piece in pieces)
            return json.dumps("".join(texts))

        only = "" if self.questions else "message.role == 'assistant' and "
        text, whole = (
            ("(part.text | trim)", "(message.content | trim)") if self.trim else ("part.text", "message.content")
        )
        system = "said(messages[0])" if self.questions else quoted(())
        return f"""\
{{%- macro said(message) -%}}
  {{%- if message.content is string -%}}
    {{{{- {only or "true and "}{whole} or "" -}}}}
  {{%- else -%}}
    {{%- set last = namespace(type="") -%}}
    {{%- for part in message.content -%}}
      {{%- set picture = part.type in ("image", "image_url") -%}}
      {{%- if picture or ({only}part.type == "text" and {text}) -%}}
        {{{{- {quoted((self.between_parts,))} if last.type and (picture or last.type == "image") else "" -}}}}
        {{{{- {quoted((IMAGE_TOKEN,))} if picture else {text} -}}}}
        {{%- set last.type = "image" if picture else "text" -%}}
      {{%- endif -%}}
    {{%- endfor -%}}
  {{%- endif -%}}
{{%- endmacro -%}}
{{{{- {quoted(self.before_system)} -}}}}
{{%- if messages and messages[0].role == "system" -%}}
  {{{{- {system} -}}}}
  {{%- set turns = messages[1:] -%}}
{{%- else -%}}
  {{{{- {quoted((self.system,))} -}}}}
  {{%- set turns = messages -%}}
{{%- endif -%}}
{{{{- {quoted(self.after_system)} -}}}}
{{%- for message in turns -%}}
  {{%- if message.role == "user" -%}}
    {{{{- {quoted(self.first_user)} if loop.first else {quoted(self.user)} -}}}}
    {{{{- said(message) -}}}}
    {{{{- {quoted(self.after_user)} -}}}}
  {{%- else -%}}
    {{{{- {quoted((*self.assistant, self.lead))} -}}}}
    {{{{- said(message) -}}}}
    {{{{- {quoted((*self.stop, *self.after_stop))} -}}}}
  {{%- endif -%}}
{{%- endfor -%}}
{{%- if add_generation_prompt -%}}
  {{{{- {quoted(self.assistant)} -}}}}
{{%- endif -%}}
"""


def render(conversation: Conversation, template: Template) -> Rendered:
    """The answered rounds of a conversation; a question at the end that nobody answered teaches nothing and is left."""
    return template.pieces(conversation, prompt=False)


def render_prompt(conversation: Conversation, template: Template) -> Rendered:
    """The conversation up to where the assistant begins: always the beginning of what is trained on."""
    return template.pieces(conversation, prompt=True)


def rounds_of(conversation: Conversation) -> tuple[Turn | None, list[tuple[Turn, Turn]], Turn | None]:
    """The system turn if there is one, the answered rounds, the question still open."""
    turns = list(conversation.turns)
    system = turns.pop(0) if turns and turns[0].role == "system" else None
    if system is not None and system.images:
        raise BadTurns("a picture in the system turn")
    for index, turn in enumerate(turns):
        if turn.role != ("user", "assistant")[index % 2]:
            raise BadTurns("turns out of order: a user's turn first, then by turns")
        if turn.role == "assistant" and turn.images:
            raise BadTurns("a picture in an answer")
    rounds = list(zip(turns[::2], turns[1::2], strict=False))
    return system, rounds, turns[-1] if len(turns) % 2 else None


def first_rounds(conversation: Conversation, count: int) -> Conversation:
    """The conversation with only its first `count` answered rounds."""
    opening = 1 if conversation.turns and conversation.turns[0].role == "system" else 0
    return replace(conversation, turns=conversation.turns[: opening + 2 * count])


def joined(parts: Sequence[str | Image], between: str) -> Rendered:
    """The parts of a turn in order, empty ones left out; `between` joins a picture to its neighbour."""
    parts = [part for part in parts if part != ""]
    out: Rendered = []
    for index, part in enumerate(parts):
        if index and between and (isinstance(part, Image) or isinstance(parts[index - 1], Image)):
            out.append(Span(between))
        out.append(ImageSlot(part) if isinstance(part, Image) else Span(part))
    return out


def _spans(pieces: Sequence[str | Control], supervised: bool = False) -> list[Span]:
    return [
        Span(piece, supervised) if isinstance(piece, str) else Span(piece.token, supervised, control=True)
        for piece in pieces
        if piece
    ]


_HUMAN = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
_USER = _HUMAN.replace("human", "user")
_SEES = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)
_IM_START, _IM_END = Control("<|im_start|>"), Control("<|im_end|>")
_HEADER, _END_HEADER, _EOT = Control("<|start_header_id|>"), Control("<|end_header_id|>"), Control("<|eot_id|>")

# Stage 1 of LLaVA-1 and 1.5: a picture and its caption; whatever was asked is left out, and no stop token is taught.
PLAIN = ChatTemplate("plain", assistant=(), stop=("\n",), between_parts="", questions=False)

VICUNA_V1 = ChatTemplate(
    "vicuna-v1",
    system=_USER,
    after_system=(" ",),
    first_user=("USER: ",),
    user=("USER: ",),
    after_user=(" ",),
    assistant=("ASSISTANT:",),
    lead=" ",
    stop=(EOS,),
)

# The stop is text, "###", and the next speaker's tag stands on the same line.
VICUNA_V0 = ChatTemplate(
    "vicuna-v0",
    system=_HUMAN,
    after_system=("\n\n",),
    first_user=("### Human: ",),
    user=(" Human: ",),
    after_user=("\n",),
    assistant=("### Assistant:",),
    lead=" ",
    stop=("\n###",),
)

LLAMA_2 = ChatTemplate(
    "llama-2",
    system=_SEES,
    before_system=("[INST] <<SYS>>\n",),
    after_system=("\n<</SYS>>\n\n",),
    user=(BOS, "[INST] "),
    after_user=(" [/INST]",),
    assistant=(),
    lead=" ",
    stop=(" ", EOS),
)

CHATML = ChatTemplate(
    "chatml",
    system=_SEES,
    before_system=(_IM_START, "system\n"),
    after_system=(_IM_END, "\n"),
    first_user=(_IM_START, "user\n"),
    user=(_IM_START, "user\n"),
    after_user=(_IM_END, "\n"),
    assistant=(_IM_START, "assistant\n"),
    stop=(_IM_END,),
    after_stop=("\n",),
    trim=True,
)

LLAMA_3 = ChatTemplate(
    "llama-3",
    system=_SEES,
    before_system=(_HEADER, "system", _END_HEADER, "\n\n"),
    after_system=(_EOT,),
    first_user=(_HEADER, "user", _END_HEADER, "\n\n"),
    user=(_HEADER, "user", _END_HEADER, "\n\n"),
    after_user=(_EOT,),
    assistant=(_HEADER, "assistant", _END_HEADER, "\n\n"),
    stop=(_EOT,),
    trim=True,
)

OWN = "own"  # the language model's chat template (`jinja.py`)

TEMPLATES: dict[str, ChatTemplate] = {
    "plain": PLAIN,
    "vicuna-v1": VICUNA_V1,
    "vicuna-v0": VICUNA_V0,
    "llama-2": LLAMA_2,
    "chatml": CHATML,
    "llama-3": LLAMA_3,
}
