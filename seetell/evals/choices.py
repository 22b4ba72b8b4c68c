"""Multiple choice by letter: what is asked, and which letter an answer gives. MMBench and SEED-Bench share it.

An answer gives a letter in one of four ways, tried in this order; any other answer gives none.

    B   (B)   B.                   the letter alone, on the answer's first line
    A man riding a bike            one choice, word for word, before any letter: "A cat" is no letter A
    B. A man   (B) ...   B: ...    the letter, with a mark behind it
    B A man riding a bike          the letter, and its own choice

"Answer: B" and "The answer is B." are read without what leads up to the letter.

Source of the prompt's form: LLaVA-1.5's evaluation (arXiv:2310.03744, appendix).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from seetell.evals.task import Score, right_or_wrong
from seetell.types import Answer, Item

LETTERS = "ABCDEF"
TAIL = "Answer with the option's letter from the given choices directly."
_WRAPPING = "*` \t\r\n"  # what chat models put around a letter
_LEAD = re.compile(
    r"(?:(?:so|therefore|thus),?\s+)?(?:the\s+)?(?:(?:correct|right|best|final)\s+)?(?:answer|option|choice)\b"
    r"(?:\s+is\b)?\s*:?\s*(?:(?:option|choice)\s+)?",
    re.IGNORECASE,
)
_ALONE = re.compile(r"\(?([A-F])[.:)]*\s*(?:\n|$)")
_MARKED = re.compile(r"(?:\(([A-F])\)|([A-F])[.:)])")
_SPACED = re.compile(r"([A-F])\s+(.+)", re.DOTALL)


def question_text(question: str, choices: Sequence[str], hint: str = "", tail: str = TAIL) -> str:
    lines = [f"{LETTERS[at]}. {choice}" for at, choice in enumerate(choices)]
    return "\n".join([*([hint] if hint else []), question, *lines, tail])


def letter_of(text: str, choices: Sequence[str]) -> str:
    """The letter that an answer gives, by the rule above; else nothing."""
    stated = text.strip(_WRAPPING)
    return _letter(stated, choices) or (_letter(stated[lead.end() :], choices) if (lead := _LEAD.match(stated)) else "")


def _letter(stated: str, choices: Sequence[str]) -> str:
    letters = LETTERS[: len(choices)]
    if (found := _ALONE.match(stated)) and found[1] in letters:
        return found[1]
    same = [letter for letter, choice in zip(LETTERS, choices, strict=False) if _plain(choice) == _plain(stated)]
    if same:
        return same[0] if len(same) == 1 else ""
    if (found := _MARKED.match(stated)) and (found[1] or found[2]) in letters:
        return found[1] or found[2]
    if (found := _SPACED.match(stated)) and found[1] in letters:
        return found[1] if _plain(found[2]) == _plain(choices[LETTERS.index(found[1])]) else ""
    return ""


def _plain(text: str) -> str:
    """A text as it is compared: no case, white space folded, no full stop at its end."""
    return " ".join(text.split()).rstrip(".").rstrip().casefold()


def facts_of_choices(choices: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """What an item says of itself for `score`. As JSON: a choice may hold any character, a newline too."""
    return {"choices": json.dumps(list(choices)), "columns": json.dumps(list(columns))}


def choices_of(facts: Mapping[str, str]) -> list[str]:
    return json.loads(facts["choices"])


def score(item: Item, answer: Answer) -> Score:
    letter = letter_of(answer.text, choices_of(item.facts))
    names: list[str] = json.loads(item.facts["columns"])
    return right_or_wrong(item, float(letter in item.accepted), *names, parsed=bool(letter), evidence=letter)
