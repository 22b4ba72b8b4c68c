"""From a teacher's reply to a conversation, or to the reason why it is none.

The grammar is strict: `Question:`, its words, `===`, `Answer:`, its words, `===`, and so on; a description is plain
prose. A reply that strays a little is mended, and each way of mending has a name that reports count by. A reply that
cannot be mended, or says what it must not, is a `Rejected` with the raw text.

Source: the format of the published examples of Liu et al. 2023 (arXiv:2304.08485); how to read it is ours.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from seetell.ask.chat import Completion
from seetell.ask.loops import REPEATS, repeats_itself
from seetell.ask.service import NOTHING_CERTAIN, TOO_LONG
from seetell.generate import check, sense
from seetell.generate.prompts import Kind
from seetell.types import Conversation, Image, Rejected, Scene, Turn

ASKED: dict[Kind, tuple[int, int]] = {"conversation": (3, 8), "complex": (1, 1), "short": (1, 8)}
"""The fewest and the most pairs that a prompt asks for; fewer are kept and counted, more are cut."""
MAX_SHORT_WORDS = 6
SEPARATOR = "==="

_ODD = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2018\u2019\u201a", "'"),
        **dict.fromkeys("\u00a0\u202f\u2007", " "),
        **dict.fromkeys("\u2028\u2029\u0085", "\n"),
        **dict.fromkeys("\u200b\u200e\u200f\u2060\ufeff\ufffd\x7f", None),
        **dict.fromkeys(map(chr, (*range(9), 11, 12, *range(14, 32))), None),
    }
)
_THOUGHTS, _THOUGHTS_END = "<think>", "</think>"
_FENCE = re.compile(r"\s*```[a-z]*\n(.*?)\n?```\s*", re.DOTALL)
_HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]+", re.MULTILINE)
_INLINE_SEPARATOR = re.compile(r"(?<=[^\s=])[^\S\n]{0,3}={3,}[^\S\n]{0,3}|(?<!=)={3,}[^\S\n]{0,3}(?=[^\s=])")
_SEPARATOR = re.compile(r"[^\S\n]*(?:=+|-{3,}|\*{3,}|_{3,})[^\S\n]*")
_MARKER = re.compile(
    r"[^\S\n]*(?:\d{1,2}[.)][^\S\n]*|[-*\u2022][^\S\n]+)?[*_]{0,3}(question|answer|q|a)[^\S\n]{0,3}#?\d{0,2}"
    r"[^\S\n]{0,3}[*_]{0,3}[:\uff1a][*_]{0,3}[^\S\n]*(.*)",
    re.IGNORECASE,
)
_ANNOUNCED = re.compile(r"\s*(?:sure|certainly|of course|okay|here(?:'s| is))\b[^\n]{0,160}:[ \t]*\n+", re.IGNORECASE)
_LABEL = re.compile(r"\W*(?:detailed )?description\W{0,4}:\W*", re.IGNORECASE)
_BAD_PAIR = {
    check.LEAK: "leaking pair dropped",
    check.COORDINATES: "pair with coordinates dropped",
    check.REFUSAL: "refusing pair dropped",
    check.ABSENT: "pair about an absent thing dropped",
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """A conversation, and the name of each thing that had to be mended, once for each time."""

    conversation: Conversation
    repairs: tuple[str, ...] = ()


class _Unfit(Exception):
    """Why a reply is no conversation: the phrase that reports count by, and the detail."""


@dataclass(slots=True)
class _Block:
    """The words after one marker, and words without a marker that came after its separator."""

    role: str
    lines: list[str] = field(default_factory=list[str])
    closed: bool = False
    stray: list[str] = field(default_factory=list[str])


def parse(
    kind: Kind, completion: Completion, scene: Scene, *, question: str | None = None, seed: int = 0
) -> Parsed | Rejected:
    """`question` is what a detailed description answers; no other kind takes one. The picture stands before or after
    the first question, drawn by `seed`."""
    if (kind == "detail") != (question is not None):
        wish = "needs the question that it answers" if question is None else "takes no question: it brings its own"
        raise ValueError(f"A reply of kind {kind!r} {wish}.")
    if scene.image is None:
        return Rejected(scene.id, "no picture", "", completion.text)
    repairs: list[str] = []
    try:
        text = _readable(completion, repairs)
        cut = completion.finish_reason == "length"
        if question is not None:
            pairs = [(question, _description(question, text, cut, scene, repairs))]
        else:
            blocks = _blocks(text, cut, repairs)
            pairs = _kept(kind, _paired(blocks, cut, repairs), scene, repairs)
    except _Unfit as unfit:
        reason, detail = unfit.args
        return Rejected(scene.id, reason, detail, completion.text)
    return Parsed(_conversation(kind, pairs, scene.id, scene.image, seed), tuple(repairs))


def _readable(completion: Completion, repairs: list[str]) -> str:
    """The reply without what hides or wraps its words."""
    if completion.finish_reason == "content_filter":
        raise _Unfit("withheld by the service", "the finish reason is content_filter")
    if completion.finish_reason == TOO_LONG:
        raise _Unfit("too long for the service", completion.text)
    if completion.finish_reason == NOTHING_CERTAIN:
        raise _Unfit("nothing certain to say", completion.text)
    if completion.finish_reason == REPEATS:
        raise _Unfit(REPEATS, "it was cut while it arrived")
    text = completion.text.replace("\r\n", "\n").replace("\r", "\n")
    plain = text.translate(_ODD).encode(errors="ignore").decode()
    if plain != text:
        repairs.append("odd characters replaced")
    begun, (thoughts, ended, rest) = plain.lstrip().startswith(_THOUGHTS), plain.partition(_THOUGHTS_END)
    if begun and not ended:
        raise _Unfit("cut off", "the reply is thoughts without an end")
    if ended and (begun or _THOUGHTS not in thoughts):  # where the prompt began them, the reply holds their end alone
        plain = rest.lstrip()
        repairs.append("thoughts removed")
    if fenced := _FENCE.fullmatch(plain):
        plain = fenced[1]
        repairs.append("code fence removed")
    without = _HEADING.sub("", plain)
    if without != plain:
        repairs.append("heading marks removed")
    if not without.strip():
        raise _Unfit("empty", "the reply holds no words")
    if repeats_itself(without):
        raise _Unfit(REPEATS, "")
    return without


def _blocks(text: str, cut: bool, repairs: list[str]) -> list[_Block]:
    """The reply cut at its markers; what stands outside of them is mended or dropped, and named."""
    apart = _INLINE_SEPARATOR.sub(f"\n{SEPARATOR}\n", text) if re.search(r"={3}", text) else text
    repairs += ["separator mended"] * (apart.count("\n") > text.count("\n"))
    blocks: list[_Block] = []
    before = False
    for line in apart.split("\n"):
        last = blocks[-1] if blocks else None
        if marker := _MARKER.fullmatch(line):
            _settle(last, marker, repairs)
            blocks.append(_Block(marker[1][0].lower(), [marker[2]]))
        elif _SEPARATOR.fullmatch(line):
            _close(last, line, repairs)
        elif last is None:
            before = before or bool(line.strip())
        elif not last.closed:
            last.lines.append(line)
        elif line.strip() and last.role == "q":
            repairs.append("answer marker supplied")
            blocks.append(_Block("a", [line]))
        elif line.strip() or last.stray:
            last.stray.append(line)
    if not blocks:
        raise _Unfit(*((check.REFUSAL, "") if check.refuses(text) else ("wrong format", "no question is marked")))
    repairs += ["words before the first marker dropped"] * before
    repairs += ["words after the last answer dropped"] * bool(blocks[-1].stray)
    repairs += ["final separator supplied"] * (not blocks[-1].closed and not cut)
    return blocks


def _close(last: _Block | None, line: str, repairs: list[str]) -> None:
    """A separator ends the block before it; one too many is passed over."""
    if line != SEPARATOR or last is None or last.closed:
        repairs.append("separator mended")
    if last is not None:
        last.closed = True


def _settle(last: _Block | None, marker: re.Match[str], repairs: list[str]) -> None:
    """What a new marker says about itself and about the block before it."""
    if marker[0] not in ("Question:", "Answer:"):
        strict = re.match(r"(?:Question|Answer):", marker[0])
        repairs.append("marker on the line of its words" if strict and marker[2] else "marker mended")
    if last is None:
        return
    if not last.closed:
        repairs.append("separator supplied")
    if last.stray:
        repairs.append("separator within an answer dropped")
        last.lines += ["", *last.stray]
        last.stray = []


def _paired(blocks: Sequence[_Block], cut: bool, repairs: list[str]) -> list[tuple[str, str]]:
    """Questions with the answers that follow them; a pair that the token limit cut is left out."""
    whole = list(blocks)
    if cut and not (whole[-1].closed and whole[-1].role == "a"):
        repairs.append("cut-off pair dropped")
        whole.pop()
        if whole and whole[-1].role == "q":
            whole.pop()
    pairs: list[tuple[str, str]] = []
    question: str | None = None
    for block in whole:
        text = _tidy("\n".join(block.lines))
        if block.role == "q":
            repairs += ["unanswered question dropped"] * (question is not None)
            question = text
        elif question is None:
            repairs.append("orphan answer dropped")
        else:
            pairs.append((question, text))
            question = None
    repairs += ["unanswered question dropped"] * (question is not None)
    if not pairs:
        raise _Unfit(*(("cut off", "no pair came whole") if cut else ("wrong format", "no question has an answer")))
    return pairs


def _tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.split("\n"))).strip()


def _kept(kind: Kind, pairs: Sequence[tuple[str, str]], scene: Scene, repairs: list[str]) -> list[tuple[str, str]]:
    """The pairs that may stand; a reply with none has the first pair's fault."""
    kept: list[tuple[str, str]] = []
    faults: list[str] = []
    asked: Counter[str] = Counter()
    again = 0
    for question, answer in pairs:
        if kind == "short":
            trimmed = answer.removesuffix(".")
            repairs += ["full stop removed"] * (trimmed != answer)
            answer = trimmed
        fault, name = _fault(kind, question, answer, scene)
        same = " ".join(re.findall(r"\w+", question.lower()))
        if not fault and asked[same]:
            fault, name = "repeated question", "repeated question dropped"
        asked[same] += 1
        if not fault and any(sense.same_answer(answer, before) for _, before in kept):
            fault, name, again = REPEATS, "repeated answer dropped", again + 1
        if fault:
            faults.append(fault)
            repairs.append(name)
        else:
            kept.append((question, answer))
    if not kept:
        raise _Unfit(faults[0], f"none of {len(pairs)} pairs may stand")
    if again >= len(kept):
        raise _Unfit(REPEATS, f"{again} answers are the same as others")
    if contradiction := sense.contradicts("\n".join(answer for _, answer in kept)):
        raise _Unfit(sense.CONTRADICTS, contradiction)
    fewest, most = ASKED[kind]
    repairs += ["surplus pair dropped"] * (len(kept) - most)
    repairs += ["fewer pairs than asked"] * (len(kept) < fewest)
    return kept[:most]


def _fault(kind: Kind, question: str, answer: str, scene: Scene) -> tuple[str, str]:
    """What is wrong with a pair, and what dropping it is called; poison spoils the whole reply."""
    both = f"{question}\n{answer}"
    if not question or not answer:
        return "empty", "empty pair dropped"
    _refuse_poison(both)
    if kind == "short" and len(answer.split()) > MAX_SHORT_WORDS:
        return "long answer", "long answer dropped"
    refused = check.refuses(question) or check.refuses(answer)
    fault = check.REFUSAL if refused else check.leaks(both, scene)
    if not fault and check.absent(question, answer, scene, short=kind == "short"):
        fault = check.ABSENT
    if not fault:
        _refuse_nonsense(answer, scene)
    return (fault, _BAD_PAIR[fault]) if fault else ("", "")


def _refuse_poison(text: str) -> None:
    if reason := check.poison(text):
        raise _Unfit(reason, "a chat template would read it as structure")
    if check.has_format_marks(text):
        raise _Unfit("wrong format", "a marker or a separator is left within the words")


def _refuse_nonsense(text: str, scene: Scene) -> None:
    """Who writes one answer without sense is not believed the others."""
    reason, detail = sense.without_sense(text, scene)
    if reason:
        raise _Unfit(reason, detail)


def _description(question: str, text: str, cut: bool, scene: Scene, repairs: list[str]) -> str:
    """The prose of a detailed description; one that came as a question with its answer gives the answer."""
    if any(_MARKER.fullmatch(line) for line in text.split("\n")):
        pairs = _paired(_blocks(text, cut, repairs), cut, repairs)
        if len(pairs) > 1:
            raise _Unfit("wrong format", "several questions instead of a description")
        repairs.append("answer taken as the description")
        text = pairs[0][1]
    elif cut:
        raise _Unfit("cut off", "the description came to the token limit")
    for name, pattern in (("announcement dropped", _ANNOUNCED), ("label dropped", _LABEL)):
        if found := pattern.match(text):
            repairs.append(name)
            text = text[found.end() :]
    lines = text.split("\n")
    prose = [line for line in lines if not _SEPARATOR.fullmatch(line)]
    repairs += ["separator removed"] * (len(prose) < len(lines))
    text = _tidy("\n".join(prose))
    if not text:
        raise _Unfit("empty", "the reply holds no words")
    _refuse_poison(text)
    if text.startswith(("{", "[", "<")):
        raise _Unfit("wrong format", "a description is prose")
    fault = check.REFUSAL if check.refuses(text) else check.leaks(text, scene)
    if fault or check.absent(question, text, scene):
        raise _Unfit(fault or check.ABSENT, check.absent(question, text, scene))
    _refuse_nonsense(text, scene)
    return text


def _conversation(kind: Kind, pairs: Sequence[tuple[str, str]], id: str, image: Image, seed: int) -> Conversation:
    """Turns by turns; the picture is in the first, before or after its words."""
    turns = [turn for asked, told in pairs for turn in (Turn("user", (asked,)), Turn("assistant", (told,)))]
    image_first = random.Random(f"picture:{seed}:{kind}:{id}").random() < 0.5
    turns[0] = Turn("user", (image, pairs[0][0]) if image_first else (pairs[0][0], image))
    return Conversation(id, tuple(turns), source=kind)
