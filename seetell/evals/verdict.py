"""Reading a judge's verdict: two scores of 1 to 10, or one grade of 0 to 1, or a reason why there is none.

Judges were told to put two numbers on the first line, and often do otherwise: labels, Markdown, prose first,
`8/10`, half points. What can mean only one thing is read; what can mean two is refused with a reason. Nothing is
ever guessed: a refused verdict is `Unscored`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

LOWEST, HIGHEST = 0.0, 10.0


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a verdict could not be read; reports count by it."""

    reason: str


NUMBER = r"(?:\d+(?:\.\d+)?|\.\d+)"
OF_TEN = r"(?:\s*(?:/|out\s+of)\s*10(?:\.0)?(?![\d.]*\d))?(?:\s*(?:points?|stars?)\b)?"
WHO = r"(?:assistant|answer|response|ai\s+assistant|model|candidate)"
FIRST = rf"(?:{WHO}\s*\#?\s*(?:1|one|(?-i:A))\b|first\s+{WHO})"
SECOND = rf"(?:{WHO}\s*\#?\s*(?:2|two|(?-i:B))\b|second\s+{WHO})"
_RATING = r"(?:(?:overall|final|total)\s+)?(?:score|rating|grade)"
# Between a label and its number: punctuation, or a few words that give a score.
_GIVES = rf"""(?:'s(?:\s+(?:answer|response))?)?(?:
    (?:\s+{_RATING})?\s*(?:[:=→–—|-]+|\()\s*(?:an?\s+)?(?:{_RATING}\s*(?:of|[:=]|is)?\s*)?
  | \s+{_RATING}\s+(?:is|of)\s+(?:an?\s+)?
  | \s+(?:(?:also|would)\s+)?(?:gets?|receives?|scores?|scored|earns?|deserves?|is\s+given|was\s+given|is\s+rated)\s+
    (?:an?\s+)?(?:{_RATING}\s+(?:of\s+)?)?(?:an?\s+)?
  | \s+(?:with\s+)?(?:an?\s+)?(?:{_RATING}\s+of\s+)?
)"""
_WORDS_AFTER = "and|while|whereas|because|for|since|but|as|due|with|vs|to|it|they|both"
_THEN = rf"(?!\d|\.\d)(?=\s*(?:$|[.,;:!|)\]–—\n-]|{WHO}\b|(?:{_WORDS_AFTER})\b))"
# `7-8`, `7, maybe 8`: more than one number for one assistant.
_NO_RANGE = r"(?!\s*[-–—,/]\s*(?:or\s+|maybe\s+|perhaps\s+|possibly\s+)?(?:\d|\.\d))"
_PAIR = re.compile(rf"({NUMBER}){OF_TEN}\s*(?:,|;|:|\||&|\band\b|\bvs\.?|\s|/)\s*({NUMBER}){OF_TEN}")
_LEAD = re.compile(
    r"[^\d\n]{0,80}?(?:scores?|ratings?|verdict|evaluation|result)s?\s*(?:\([^)]*\))?\s*(?:[:=-]|are|is)?\s*",
    re.IGNORECASE,
)
_TRAIL = re.compile(r"\s*\((?:out\s+of\s+10|of\s+10)\)\s*$", re.IGNORECASE)
_ONLY_NUMBER = re.compile(rf"({NUMBER}){OF_TEN}")


def read_pair(reply: str) -> tuple[float, float] | Refused:
    """The two scores that a reply gives, the first assistant's first."""
    text = _plain(reply)
    if not text:
        return Refused("empty verdict")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    for read in (_from_json, _from_first_line, _from_labels, _from_lone_lines):
        found = read(text, lines)
        if isinstance(found, Refused):
            return found
        if found is not None:
            return found if _in_range(found) else Refused("scores off the scale")
    return Refused("no two scores")


def _in_range(pair: tuple[float, float]) -> bool:
    return all(LOWEST <= score <= HIGHEST for score in pair)


def _plain(reply: str) -> str:
    """A reply without Markdown's marks; halves as decimals, and decimal commas as points where they can be nothing
    else."""
    text = reply.replace("\r\n", "\n").replace("\u00a0", " ").replace("½", ".5").strip()
    text = re.sub(r"\\(?:text|mathrm|textbf)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"</?[a-z_]+\d?>|\[\[|\]\]", " ", text)
    text = re.sub(r"\\[()\[\]]|[*`#>$]|(?<!\w)_+|_+(?!\w)|```\w*", " ", text)
    text = re.sub(r"(\d)\s+(1/2)(?!\d)", r"\1.5", text)
    lines = [re.sub(r"^\s*(?:[-•]|\d+[.)](?=\s+\D))\s+", "", line).strip() for line in text.split("\n")]
    return "\n".join(_decimal_points(line) for line in lines).strip()


def _decimal_points(line: str) -> str:
    """`8,5 7` and `8,5 7,5` hold decimal commas: read otherwise there would be three or four scores."""
    words = line.split()
    commas = [re.fullmatch(r"\d,5", word) is not None for word in words]
    if len(words) == 2 and any(commas) and all(re.fullmatch(r"\d+(?:,5)?", word) for word in words):
        return line.replace(",", ".")
    return line


def _from_json(text: str, lines: list[str]) -> tuple[float, float] | Refused | None:
    """An object with one number for each assistant."""
    del lines
    found = re.search(r"\{[^{}]*\}", text)
    if not found:
        return None
    try:
        row: object = json.loads(found[0])
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    scores: dict[int, float] = {}
    for name, value in row.items():  # pyright: ignore[reportUnknownVariableType]
        number = re.search(r"(?<![\d.])([12])(?![\d.])", str(name).replace("_", " "))  # pyright: ignore[reportUnknownArgumentType]
        if number and isinstance(value, int | float):
            scores[int(number[1])] = float(value)
    return (scores[1], scores[2]) if len(scores) == 2 else None


def _from_first_line(text: str, lines: list[str]) -> tuple[float, float] | Refused | None:
    """What was asked for: a first line of two numbers, however they are divided; or two lines of one score each. Scores
    beside the assistants' names must not say otherwise."""
    found = _first_pair(lines)
    labelled = _from_labels(text, lines[1:]) if isinstance(found, tuple) else None
    return Refused("several verdicts") if isinstance(labelled, tuple) and labelled != found else found


def _first_pair(lines: list[str]) -> tuple[float, float] | Refused | None:
    if len(lines) > 1 and (one := _score_of(lines[0])) is not None and (other := _score_of(lines[1])) is not None:
        return one, other
    pair = _pair_of(lines[0])
    others = {other for line in lines[1:] if isinstance(other := _pair_of(line), tuple)}
    return Refused("several verdicts") if pair is not None and others - {pair} else pair


def _pair_of(line: str) -> tuple[float, float] | Refused | None:
    """Two numbers that fill a line but for brackets and a word such as `Scores:` in front."""
    bare = _LEAD.sub("", line, count=1) if _LEAD.match(line) else line
    bare = _TRAIL.sub("", bare).strip().strip("()[]{}<>|").strip().rstrip(".,;").strip().strip("()[]")
    found = _PAIR.fullmatch(bare)
    if found is None:
        found = re.match(rf"{_PAIR.pattern}(?=\s*(?:[.;:–—-]|\s)\s*(?:[A-Z]|\n)|\s+[–—-]\s+[a-z])(?!\.\d)", bare)
        if found is None or re.search(r"\d", bare[found.end() : found.end() + 3]):
            return None
    if re.fullmatch(rf"{NUMBER}\s*/\s*10", bare):
        return Refused("one score of ten, or two scores?")
    return float(found[1]), float(found[2])


def _score_of(line: str) -> float | None:
    found = _ONLY_NUMBER.fullmatch(line.strip("()[] .").strip())
    return float(found[1]) if found else None


def _from_labels(text: str, lines: list[str]) -> tuple[float, float] | Refused | None:
    """A score beside the name of each assistant, in any order."""
    del lines
    one, other = _labelled(text, FIRST), _labelled(text, SECOND)
    if not one and not other:
        return None
    if len(one) > 1 or len(other) > 1:
        return Refused("several scores for one assistant")
    return (one.pop(), other.pop()) if one and other else None


def _labelled(text: str, who: str) -> set[float]:
    """The different numbers that stand as this assistant's score."""
    after = re.compile(
        rf"{who}{_GIVES}({NUMBER}){OF_TEN}(?!\s*(?:%|\d|/)){_NO_RANGE}{_THEN}", re.IGNORECASE | re.VERBOSE
    )
    before = re.compile(
        rf"(?<![\d.])({NUMBER}){OF_TEN}(?:\s+(?:for|to)\s+(?:the\s+)?|\s*\(){who}", re.IGNORECASE | re.VERBOSE
    )
    given = {float(found[1]) for found in before.finditer(text)}
    return given or {float(found[1]) for found in after.finditer(text)}


def _from_lone_lines(text: str, lines: list[str]) -> tuple[float, float] | Refused | None:
    """Prose first, then one line of two numbers; two such lines that differ are no verdict."""
    del text
    pairs = {pair for line in lines if isinstance(pair := _pair_of(line), tuple)}
    if len(pairs) > 1:
        return Refused("several verdicts")
    return pairs.pop() if pairs else None


def read_grade(reply: str) -> float | Refused:
    """One grade of 0 to 1, as MM-Vet's grader gives it: the only number of the reply's last line that has one."""
    lines = [line for line in _plain(reply).split("\n") if re.search(r"\d", line)]
    if not lines:
        return Refused("no grade" if reply.strip() else "empty verdict")
    # A dash after a digit is a range's (`0.5-0.6`), any other is a minus.
    numbers = {float(number) for number in re.findall(rf"(?<![\d.])(?<!(?<!\d)-){NUMBER}(?![\d]|\.\d)", lines[-1])}
    if len(numbers) != 1:
        return Refused("several grades" if numbers else "no grade")
    grade = numbers.pop()
    return grade if 0.0 <= grade <= 1.0 else Refused("grade off the scale")
