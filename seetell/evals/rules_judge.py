"""The built-in judge: counts the statements of each answer that the prompt's captions and boxes confirm or contradict.

It reads what a language model would read, the prompt's text, and nothing else: the context between its fences, the
question, the two answers. A statement is a thing that is named (or denied), with the colour, number or place that is
given to it; a short answer is read together with its question. What the context neither confirms nor contradicts
counts for nothing. It lets the paper's tables be done again offline, on scenes; it is no judge of style or reasoning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from seetell.ask.chat import Completion, Message
from seetell.rules.read import Facts, read_facts
from seetell.rules.words import CELL_OF_PHRASE, COLOURS, DRAWN_KINDS, NUMBERS, SIZES, plural

COCO_KINDS = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
ENOUGH = 4  # confirmed statements after which more of them add nothing
_ARTICLES = {"a": 1, "an": 1, "one": 1}
_NUMBER_WORDS = {word: number for number, word in enumerate(NUMBERS)} | {str(number): number for number in range(21)}


def _either(words: Sequence[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(set(words), key=len, reverse=True))


_KINDS = tuple(dict.fromkeys((*DRAWN_KINDS, *COCO_KINDS)))
_KIND_OF = {plural(kind): kind for kind in _KINDS} | {kind: kind for kind in _KINDS}
_THING = re.compile(
    rf"\b(?:(?P<no>no|without|not)\s+(?:any\s+|an?\s+)?)?(?:(?P<count>{_either(tuple(_NUMBER_WORDS))})\s+)?"
    rf"(?:(?:an?|the|some|{_either(SIZES)})\s+)*(?:(?P<colour>{_either(COLOURS)})\s+)?(?P<kind>{_either(tuple(_KIND_OF))})\b"
    rf"(?:\s+(?:is\s+|are\s+|lies?\s+)?(?P<place>{_either(tuple(CELL_OF_PHRASE))}))?"
)
_IS_COLOURED = re.compile(
    rf"\b(?:the|this)\s+(?P<kind>{_either(tuple(_KIND_OF))})\s+is\s+(?P<colour>{_either(COLOURS)})\b"
)
_SECTION = re.compile(r"^\[(Context|Question|System|.+ [12])\]$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """A thing that is said to be there, or not, and what is said of it."""

    kind: str
    colour: str = ""
    count: int | None = None
    cell: int | None = None
    denied: bool = False
    presumed: bool = False  # that it is there was the question's word, not the answer's


class RulesJudge:
    """A chat model that only knows how to judge."""

    name = "rules"

    async def complete(
        self, messages: Sequence[Message], *, temperature: float | None = 0.0, max_tokens: int | None = None
    ) -> Completion:
        del temperature, max_tokens
        return Completion(judged(messages[-1].content), model=self.name)


def judged(prompt: str) -> str:
    """A verdict in the form that was asked for: two scores, then what they stand on."""
    parts = _sections(prompt)
    if not {"context", "question", "1", "2"} <= set(parts):
        return "This prompt has no context, question and two answers between fences."
    facts = read_facts([Message("user", parts["context"])])
    counted = [weigh(statements(parts[number], parts["question"]), facts) for number in ("1", "2")]
    told = [f"Assistant {at}: {good} confirmed, {bad} contradicted." for at, (good, bad) in enumerate(counted, start=1)]
    return "\n".join([" ".join(f"{points(good, bad):g}" for good, bad in counted), *told])


def _sections(prompt: str) -> dict[str, str]:
    """What stands between the fences."""
    pieces = _SECTION.split(prompt)
    found: dict[str, str] = {}
    for name, text in zip(pieces[1::2], pieces[2::2], strict=True):
        ends = name.startswith("End of ")
        found.setdefault(f"end {name}" if ends else name[-1] if name[-1] in "12" else name.lower(), text.strip())
    return found


def points(confirmed: int, contradicted: int) -> float:
    """1 to 10 in halves: the share that is confirmed, and half of it for how much is said."""
    if not confirmed:
        return 1.0
    share = confirmed / (confirmed + contradicted)
    return round(2 * (1 + 9 * share * (0.5 + 0.5 * min(confirmed, ENOUGH) / ENOUGH))) / 2


def weigh(said: Sequence[Statement], facts: Facts) -> tuple[int, int]:
    """How many different statements the context confirms, and how many it contradicts."""
    verdicts: dict[tuple[str, object], bool] = {}
    for statement in said:
        for aspect, verdict in _verdicts(statement, facts):
            verdicts[aspect] = verdicts.get(aspect, True) and verdict
    return sum(verdicts.values()), len(verdicts) - sum(verdicts.values())


def _verdicts(said: Statement, facts: Facts) -> Iterator[tuple[tuple[str, object], bool]]:
    told = " ".join(facts.captions).lower()
    regions = [region for region in facts.regions if region.label == said.kind]
    there = bool(regions) or re.search(rf"\b(?:{_either((said.kind, plural(said.kind)))})\b", told) is not None
    coloured = {
        found["colour"] for found in _THING.finditer(told) if _KIND_OF[found["kind"]] == said.kind and found["colour"]
    }
    if said.denied:
        absent = said.colour not in coloured if said.colour and (coloured or not there) else not there
        yield (f"no {said.colour} {said.kind}", ""), absent
        return
    if not said.presumed:
        yield (said.kind, ""), there
    if there and said.colour and coloured:
        yield (said.kind, said.colour), said.colour in coloured
    if there and said.count is not None and said.kind in facts.counts:
        yield (said.kind, said.count), facts.counts[said.kind] == said.count
    if regions and said.cell is not None:
        yield (said.kind, f"cell {said.cell}"), any(region.cell == said.cell for region in regions)


def statements(answer: str, question: str = "") -> list[Statement]:
    """What an answer says is there; a few words are read as the answer to the question."""
    text = " ".join(answer.lower().split())
    found = [_statement(match) for match in _THING.finditer(text)]
    found += [Statement(_KIND_OF[match["kind"]], match["colour"]) for match in _IS_COLOURED.finditer(text)]
    words = re.findall(r"[a-z0-9]+", text)
    if found and words[:1] not in (["yes"], ["no"]):
        return found
    asked = [_statement(match) for match in _THING.finditer(" ".join(question.lower().split()))]
    return found + list(_in_answer_to(asked, words, text))


def _statement(match: re.Match[str]) -> Statement:
    count = _NUMBER_WORDS.get(match["count"] or "")
    cell = CELL_OF_PHRASE.get(match["place"] or "")
    return Statement(_KIND_OF[match["kind"]], match["colour"] or "", count, cell, bool(match["no"]))


def _in_answer_to(asked: Sequence[Statement], words: Sequence[str], text: str) -> Iterator[Statement]:
    """A short answer's statements: what was asked about, completed, affirmed or denied."""
    if not asked or not words or len(words) > 8:
        return
    if words[0] in ("yes", "no"):
        yield replace(asked[0], denied=words[0] == "no", count=None)
        return
    colour = next((word for word in words if word in COLOURS), "")
    count = next((_NUMBER_WORDS[word] for word in words if word in _NUMBER_WORDS), None)
    cell = next(
        (cell for phrase, cell in CELL_OF_PHRASE.items() if phrase in text or phrase.split(" ", 2)[-1] == text), None
    )
    if colour or count is not None or cell is not None:
        yield Statement(asked[0].kind, colour, count, cell, presumed=True)
