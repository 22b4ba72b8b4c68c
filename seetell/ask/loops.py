"""A text that repeats itself without end, as small models do: found while it arrives, or in the whole text.

Two kinds. The text *ends in a loop*: its last words are one group of words, three times or more one after the other.
Or it *says little new*: most of its words stand in sentences that it had before. The numbers of a list do not count.
People repeat a word for emphasis, a refrain twice; the bounds are above both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

REPEATS = "repeats itself"
"""The finish reason of a reply that was cut because it repeats itself; also the reason that it is rejected by."""
LONGEST_UNIT = 80  # words
TIMES, LOOP_WORDS = 3, 24  # so often at least, and so many words in all
LEAST_SENTENCE, LEAST_WORDS, SAID_BEFORE = 3, 40, 0.55

_WORD = re.compile(r"[^\W\d_]+|\d+")
_LIST_NUMBER = re.compile(r"^[^\S\n]{0,9}\d{1,4}[.)]", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


def repeats_itself(text: str) -> bool:
    """Whether the text ends in a loop or says little new."""
    return _ends_in_loop(_words(text)) or _says_little_new(text)


def _words(text: str) -> list[str]:
    return _WORD.findall(_LIST_NUMBER.sub("", text.lower()))


def _ends_in_loop(words: Sequence[str]) -> bool:
    for unit in range(1, min(LONGEST_UNIT, len(words) // TIMES) + 1):
        times = max(TIMES, -(-LOOP_WORDS // unit))
        if unit * times > len(words):
            continue
        end = len(words)
        if all(words[end - at - 1] == words[end - at - 1 - unit] for at in range(unit * (times - 1))):
            return True
    return False


def _says_little_new(text: str) -> bool:
    seen: set[tuple[str, ...]] = set()
    again = total = 0
    for sentence in _SENTENCE_END.split(text):
        words = tuple(_words(sentence))
        if len(words) < LEAST_SENTENCE:
            continue
        total += len(words)
        again += len(words) * (words in seen)
        seen.add(words)
    return total >= LEAST_WORDS and again > SAID_BEFORE * total
