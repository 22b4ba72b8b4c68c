"""Two models on ScienceQA, as the LLaVA paper joins its model with text-only GPT-4.

*Complement*: the second model's answer, and the first's where the second gives none that can be read. *Judge*:
where the two differ, a language model is shown the question and both outcomes and gives the final answer; the
first's stands where that cannot be read either.

Source: Liu et al. 2023, arXiv:2304.08485 §5.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seetell.ask.chat import Message
from seetell.evals.judge import Judge, without_fences
from seetell.evals.scienceqa import LETTERS, parse
from seetell.evals.task import Judging, Score
from seetell.types import Answer, Item, Unscored

SYSTEM = "You are a careful teacher who settles disagreements between two students about multiple-choice questions."
REQUEST = (
    "Two students answered the question differently. You cannot see the image, if there is one. Weigh both outcomes, "
    'then give your own final answer as the last sentence, in the form "The answer is B."'
)


@dataclass(frozen=True, slots=True)
class Joined:
    """The final answers, with how many came from where."""

    answers: tuple[Answer, ...]
    asked: int = 0  # questions that went to the judge
    fell_back: int = 0  # of the first model's answers that stand because the other gave none


def letter(item: Item, text: str) -> str:
    """The letter that an answer gives, if the question has such a choice."""
    found = parse(text.strip())
    return found if found and found in LETTERS[: int(item.facts["choices"])] else ""


def complement(items: Sequence[Item], first: Mapping[str, str], second: Mapping[str, str]) -> Joined:
    """The second's answers, the first's where the second has none."""
    taken = [letter(item, second[item.id]) for item in items]
    answers = tuple(Answer(item.id, said or first[item.id]) for item, said in zip(items, taken, strict=True))
    return Joined(answers, fell_back=sum(not said for said in taken))


def judged(items: Sequence[Item], first: Mapping[str, str], second: Mapping[str, str], judge: Judge) -> Joined:
    """What both say where they agree; else what the judge says, and the first's where it says nothing readable."""

    def prompt(item: Item, answer: str, swapped: bool) -> list[Message]:
        del swapped
        outcomes = "\n\n".join(
            f"[Student {at}]\n{without_fences(text)}\n[End of Student {at}]"
            for at, text in enumerate((answer, second[item.id]), start=1)
        )
        return [Message("system", SYSTEM), Message("user", f"[Question]\n{item.question}\n\n{outcomes}\n\n{REQUEST}")]

    def verdict(item: Item, reply: str, swapped: bool) -> Score | Unscored:
        del swapped
        said = letter(item, reply)
        return Score(item, 0.0, evidence=said) if said else Unscored(item.id, "no answer", reply)

    differ = [item for item in items if letter(item, first[item.id]) != letter(item, second[item.id])]
    pairs = [(item, Answer(item.id, first[item.id])) for item in differ]
    final = {
        judgement.item.id: judgement.result.evidence
        for judgement in judge.judge(Judging(prompt, verdict), pairs)
        if isinstance(judgement.result, Score)
    }
    answers = tuple(Answer(item.id, final.get(item.id) or first[item.id]) for item in items)
    return Joined(answers, len(differ), len(differ) - len(final))
