"""What a reply of sense does not do: say the same thing again and again, read the captions out, contradict itself.

Small models do all three; each has a name that reports count by. The checks compare words, so they find what is plain:
the same sentence twice, captions word for word, a sentence and its negation. Opinions on style are not theirs.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from seetell.ask.loops import REPEATS, repeats_itself
from seetell.types import Scene

COPIED = "captions copied"
CONTRADICTS = "contradicts itself"

LEAST_SENTENCE = 5  # words: shorter ones may well come twice
LEAST_ANSWER = 6  # words: shorter answers may well be the same
LEAST_CAPTION, COPIED_SHARE = 5, 0.8  # of a caption's words, in one piece
MOST_COPIED, COVERED = 2, 0.6  # captions; two are a copy where they make up most of a text

PHRASE, LEAST_PHRASED, PHRASES_AGAIN = 4, 30, 0.2  # words; of the phrases of so many words, GPT-4 repeats 0.1 at most
LIKE_CAPTION, MUCH_LONGER = 0.7, 1.5  # of the words of the shorter; a line that is longer says more
COPIES_IN_A_ROW = 3

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')]*\s+|\n+")
_CLAUSE_END = re.compile(r"[,;:.!?]\s*(?:(?:but|and|yet|while|although|though|however|so)\b,?\s*)*|\s(?:but|yet)\s")
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_SHORT_NOT = re.compile(r"\b(?:(ca|wo)|([a-z]{2,7}?))n['\u2019]t\b")
_OPENING = re.compile(r"^(?:yes|no|also|however|then|well|in fact|indeed)\b[,.]?\s*")
_NUMBER = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\\d{1,2}"
_COUNTED = re.compile(
    rf"\bthere (?:is|are) (?:only |exactly |a total of )?({_NUMBER}) ([a-z]+(?: [a-z]+)?)"
    r"(?: (?:in|on) (?:the|this) (?:image|picture|photo|photograph|scene))?(?=\s*[.!?;\n]|$)"
)
_NONE = re.compile(
    r"\bthere (?:is|are) (?:no|not an?|not any) ([a-z]+)(?: (?:visible|present|at all|here))?"
    r"(?: in the (?:image|picture|photo|photograph|scene|room))?(?=\s*[.,;!?\n]|$)"
)
_SOME = re.compile(
    rf"\bthere (?:is|are) (?:also )?(?:an?|some|several|many|{_NUMBER}) ([a-z]+)"
    r"(?=\s*[.,!?;]| (?:in|on|at|with|next|near|behind|beside|to|by|under|above)\b|$)"
)
_ITSELF = re.compile(
    r"\bthe ((?:[a-z]+ ){0,2}[a-z]+) (?:is|are|stands|lies|sits) (?:\w+ ){0,3}"
    r"(?:left of|right of|above|below|under|behind|beside|next to|in front of|on top of|larger than|smaller than|than)"
    r" the \1(?![a-z]| [a-z]+ing\b)(?=\s*(?:[.,!?;]|$|and\b|which\b))"
)


def without_sense(text: str, scene: Scene) -> tuple[str, str]:
    """What makes an answer, or several one after the other, one that is not kept, with a detail; else nothing."""
    if repeats_itself(text):
        return REPEATS, "it does not end"
    if twice := _said_twice(text):
        return REPEATS, twice
    if says_phrases_again(text):
        return REPEATS, "many phrases come again"
    if copied := copied_captions(text, scene):
        return COPIED, f"{copied} of {len(scene.captions)}"
    if contradiction := contradicts(text):
        return CONTRADICTS, contradiction
    return "", ""


def says_phrases_again(text: str) -> bool:
    """Whether a text of some length goes round the same few phrases."""
    words = _words(text)
    if len(words) < LEAST_PHRASED:
        return False
    phrases = [tuple(words[at : at + PHRASE]) for at in range(len(words) - PHRASE + 1)]
    return len(set(phrases)) < (1 - PHRASES_AGAIN) * len(phrases)


def same_answer(one: str, other: str) -> bool:
    """Whether two answers of some length are the same but for marks and cases."""
    words = _words(one)
    return len(words) >= LEAST_ANSWER and words == _words(other)


def copied_captions(text: str, scene: Scene) -> int:
    """How many captions the text copies, where it is made of them: three, or two that are most of its words, or three
    lines one under the other that are each a caption but for a few words."""
    words = _words(text)
    joined = f" {' '.join(words)} "
    copied = Counter(dict(filter(None, (_copied(caption, joined) for caption in scene.captions))))
    if len(copied) > MOST_COPIED or (len(copied) == MOST_COPIED and copied.total() > COVERED * len(words)):
        return len(copied)
    row = most = 0
    for line in filter(None, map(_words, text.split("\n"))):
        row = row + 1 if any(_is_like(line, _words(caption)) for caption in scene.captions) else 0
        most = max(most, row)
    return most if most >= COPIES_IN_A_ROW else 0


def _is_like(line: Sequence[str], caption: Sequence[str]) -> bool:
    """Whether a line is a caption with a few words changed."""
    shorter, longer = sorted((len(line), len(caption)))
    if shorter < LEAST_CAPTION or longer > MUCH_LONGER * shorter:
        return False
    return (Counter(line) & Counter(caption)).total() >= LIKE_CAPTION * shorter


def _copied(caption: str, joined: str) -> tuple[str, int] | None:
    """The piece of a caption that the text has, with its words, if it is most of the caption."""
    words = _words(caption)
    size = math.ceil(COPIED_SHARE * len(words))
    if size < LEAST_CAPTION - 1 or len(words) < LEAST_CAPTION:
        return None
    for at in range(len(words) - size + 1):
        piece = " ".join(words[at : at + size])
        if f" {piece} " in joined:
            return " ".join(words), size
    return None


def contradicts(text: str) -> str:
    """A statement that the text both makes and denies, or that cannot be; nothing where there is none."""
    plain = _SHORT_NOT.sub(_not, text.lower())
    if found := _ITSELF.search(plain):
        return found[0]
    counts: dict[str, str] = {}
    for number, thing in _COUNTED.findall(plain):
        if counts.setdefault(_stem(thing), number) != number:
            return f"{counts[_stem(thing)]} and {number} {thing}"
    some = {_stem(thing) for thing in _SOME.findall(plain)}
    if none := next((thing for thing in _NONE.findall(plain) if _stem(thing) in some), ""):
        return f"no {none} and some"
    said: dict[bool, set[tuple[str, ...]]] = {False: set(), True: set()}
    for clause in _clauses(plain):
        denied, words = _statement(clause)
        if len(words) < 3:
            continue
        if words in said[not denied]:
            return " ".join(words)
        said[denied].add(words)
    return ""


def _said_twice(text: str) -> str:
    """A sentence that comes twice."""
    seen: set[tuple[str, ...]] = set()
    for sentence in _SENTENCE_END.split(text):
        words = tuple(_words(sentence))
        if len(words) >= LEAST_SENTENCE and words in seen:
            return sentence.strip()
        seen.add(words)
    return ""


def _clauses(text: str) -> Iterator[str]:
    """Sentences, and their clauses; a question states nothing."""
    for sentence in _SENTENCE_END.split(text):
        if sentence.rstrip().endswith("?"):
            continue
        parts = [part for part in _CLAUSE_END.split(sentence) if part.strip()]
        yield from parts


def _statement(clause: str) -> tuple[bool, tuple[str, ...]]:
    """Whether a clause denies, and what it is about: its words without the denial, in their plain forms."""
    words = _words(_OPENING.sub("", clause.strip()))
    denied = words.count("not") % 2 == 1
    kept = [word for word in words if word not in ("not", "do", "does", "did", "really", "actually")]
    return denied, tuple(_stem(word) for word in kept)


def _not(found: re.Match[str]) -> str:
    return {"ca": "can not", "wo": "will not"}.get(found[1] or "", f"{found[2]} not")


def _stem(word: str) -> str:
    if word in ("has", "had"):
        return "have"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _words(text: str) -> Sequence[str]:
    return _WORD.findall(text.lower())
