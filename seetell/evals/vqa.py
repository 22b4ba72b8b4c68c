"""The VQA measure: how far a short answer agrees with ten people's, after both were written the same way.

One answer's accuracy is the mean, over the ten ways to leave one person out, of min(1, how many of the other
nine said the same / 3). Writing the same way is the VQA challenge's: lower case, no articles, number words as
digits, apostrophes put back, punctuation taken out, with all its quirks, since published numbers stand on them
(a mark leaves a space behind unless it stands next to one anywhere in the answer).

Source: Antol et al. 2015, arXiv:1505.00468, and the challenge's evaluation rules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

ARTICLES = frozenset(("a", "an", "the"))
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten"
DIGITS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS.split())} | {"none": "0"}
PUNCTUATION = ';/[]"{}()=+\\_-><@`!'
MOST_PERIODS = 32  # as many as the official rule takes out: a flag of its was given in the count's place

# As they should be written; people leave the apostrophes out. In a word with several, any one may still stand.
_ONCE = """
ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's
isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't
should've shouldn't somebody'll somebody's someone'd someone'll someone's something'd something'll
that's there'd there're there's they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's
what've when's where'd where's where've who'd who'll who's who've why'll why're why's won't would've wouldn't
y'all you'd you'll you're you've
"""
_TWICE = """
couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've something'd've
there'd've they'd've we'd've who'd've wouldn't've y'all'll you'd've 'ow's'at y'all'd've
"""


def _without_one(word: str) -> set[str]:
    """The word with any one of its apostrophes left out."""
    at = [place for place, letter in enumerate(word) if letter == "'"]
    return {word[:place] + word[place + 1 :] for place in at}


APOSTROPHES = (
    {word.replace("'", ""): word for word in _ONCE.split()}
    | {short: word for word in _TWICE.split() for short in _without_one(word)}
    | {"somebody'd": "somebodyd"}  # the one entry of the challenge's table that goes the other way
)
_PERIOD = re.compile(r"\.(?!\d)")


def normal(answer: str) -> str:
    """An answer as the challenge compares it."""
    text = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = _without_punctuation(text.replace("\n", " ").replace("\t", " ").strip())
    words = [DIGITS.get(word, word) for word in text.lower().split()]
    return " ".join(APOSTROPHES.get(word, word) for word in words if word not in ARTICLES)


def _without_punctuation(text: str) -> str:
    result = text
    for mark in PUNCTUATION:
        loose = f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if loose else " ")
    return _PERIOD.sub("", result, count=MOST_PERIODS)


def accuracy(said: str, people: Sequence[str]) -> float:
    """The share of agreement of a normalized answer with people's normalized answers, one person left out at a time."""
    same = [person == said for person in people]
    if len(same) < 2:
        return float(any(same))
    held_out = combinations(same, len(same) - 1)
    return sum(min(1.0, sum(others) / 3) for others in held_out) / len(same)
