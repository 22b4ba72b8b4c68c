"""Multiple choice by letter: what is asked, and which letter an answer gives. MMBench and SEED-Bench share it.

Source of the prompt's form: LLaVA-1.5's evaluation (arXiv:2310.03744, appendix).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from seetell.evals.task import Score, right_or_wrong
from seetell.types import Answer, Item

LETTERS = "ABCDEF"
TAIL = "Answer with the option's letter from the given choices directly."
_LETTER = re.compile(r"\(?([A-F])\)?(?:[.:)]|\s|$)")


def question_text(question: str, choices: Sequence[str], hint: str = "", tail: str = TAIL) -> str:
    lines = [f"{LETTERS[at]}. {choice}" for at, choice in enumerate(choices)]
    return "\n".join([*([hint] if hint else []), question, *lines, tail])


def letter_of(text: str, choices: Sequence[str]) -> str:
    """The letter that an answer opens with, or whose choice it repeats word for word; else nothing."""
    said = text.strip()
    if (found := _LETTER.match(said)) and LETTERS.index(found[1]) < len(choices):
        return found[1]
    same = [at for at, choice in enumerate(choices) if said.lower().rstrip(".") == choice.strip().lower().rstrip(".")]
    return LETTERS[same[0]] if len(same) == 1 else ""


def choices_of(facts: Mapping[str, str]) -> list[str]:
    return facts["choices"].split("\n")


def score(item: Item, answer: Answer) -> Score:
    letter = letter_of(answer.text, choices_of(item.facts))
    names = (item.facts["columns"]).split("\n")
    return right_or_wrong(item, float(letter in item.accepted), *names, parsed=bool(letter), evidence=letter)
