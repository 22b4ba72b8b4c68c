"""What captions mention: which things, how many of them, with which colours, and which words are in them at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from seetell.rules.photos.nouns import (
    CATEGORIES,
    GATHERINGS,
    HEADS,
    PEOPLE,
    PERSON_PLURAL,
    PERSON_SINGULAR,
    UNCOUNTED,
    plural_of,
)
from seetell.rules.photos.words import ADJECTIVES, COLOURS, MANY, NONE, NUMBER_WORDS, PREPOSITIONS

PERSON = "person"
AT_LEAST = {"some": 2, "many": 3}


@dataclass(frozen=True, slots=True)
class Amount:
    """How many a caption speaks of: exactly `count`, or `count` and more."""

    count: int
    exact: bool

    def allows(self, count: int) -> bool:
        return count == self.count if self.exact else count >= self.count


@dataclass(frozen=True, slots=True)
class Mention:
    """A thing in a caption: its category, the words for it, how many, the colour, and where it stands in the text."""

    label: str
    name: str
    amount: Amount
    colour: str
    start: int
    end: int


def words_in(text: str) -> list[str]:
    """Lower-case words, with `'s` and commas as words of their own."""
    return re.findall(r"[a-z0-9]+(?:-[a-z]+)*|'s|[,.;:&]", text.lower())


def _forms() -> dict[tuple[str, ...], tuple[str, str, bool]]:
    """The words of every name, one and many, with category, name and whether it is the plural."""
    forms: dict[tuple[str, ...], tuple[str, str, bool]] = {}
    for category in CATEGORIES.values():
        for name in category.names:
            forms[tuple(plural_of(name).split())] = (category.label, name, True)
            forms[tuple(name.split())] = (category.label, name, False)
    for word in PEOPLE:
        forms[(word,)] = (PERSON, PERSON_SINGULAR.get(word, word), word in PERSON_SINGULAR)
    forms[("someone",)] = (PERSON, "person", False)
    return forms


FORMS = _forms()
LONGEST = max(map(len, FORMS))


def mentions_of(words: list[str]) -> Iterator[Mention]:
    at = 0
    while at < len(words):
        for length in range(LONGEST, 0, -1):
            found = FORMS.get(tuple(words[at : at + length]))
            if found and len(words[at : at + length]) == length:
                mention = _mention(words, at, at + length, *found)
                if mention:
                    yield mention
                at += length - 1
                break
        at += 1


def _mention(words: list[str], start: int, end: int, label: str, name: str, plural: bool) -> Mention | None:
    following = words[end] if end < len(words) else ""
    if following in HEADS and label != PERSON:
        return None
    if label == PERSON and (following == "'s" or _is_no_person(name, following, words[start - 1 : start])):
        return None
    amount, colour = _before(words, start, plural, name)
    return Mention(label, name, amount, colour, start, end)


def _is_no_person(name: str, following: str, before: list[str]) -> bool:
    """`a baby elephant`, `baby carrots`, `an mp3 player`."""
    return (name == "baby" and ((following,) in FORMS or following.endswith("s"))) or before == ["mp3"]


def _before(words: list[str], start: int, plural: bool, name: str) -> tuple[Amount, str]:
    """Number and colour from the words before a noun, which is read back to its article or number."""
    colours: list[str] = []
    at = start - 1
    while at >= 0 and start - at <= 5:
        word = words[at]
        if word in COLOURS:
            colours.insert(0, word)
        elif word in NONE:
            return Amount(0, exact=True), ""
        elif word in NUMBER_WORDS:
            return Amount(NUMBER_WORDS[word], exact=True), " and ".join(colours)
        elif (word == "of" and at > 0 and words[at - 1] in ("couple", "pair")) or word in ("couple", "pair"):
            return Amount(2, exact=True), " and ".join(colours)
        elif word in MANY:
            return Amount(3 if word not in ("group", "few") else 2, exact=False), " and ".join(colours)
        elif word in ("other", "some", "different", "these", "those"):
            return Amount(2, exact=False), " and ".join(colours)
        elif (
            word in ("a", "an", "another", "the", "his", "her", "its", "their", "this", "each")
            or (word not in ADJECTIVES and word not in ("and", "of", ",", "bunch") and word in PREPOSITIONS)
            or (word == "and" and not colours)
            or word in (",", ".", "with", "is", "are", "'s")
            or word in PEOPLE
            or word.endswith("ing")
        ):
            break
        at -= 1
    if plural:
        return Amount(2, exact=False), " and ".join(colours)
    if name in UNCOUNTED:
        return Amount(1, exact=False), " and ".join(colours)
    return Amount(1, exact=True), " and ".join(colours)


def gathers(words: list[str]) -> bool:
    """Whether a caption speaks of people whose number it leaves open: a crowd, a family, others."""
    return any(word in GATHERINGS for word in words)


def person_word(sex: str, age: str, plural: bool) -> str:
    """What people are called where captions agree on their sex and age as far as `m`, `f`, `adult`, `child` say."""
    word = {
        ("m", "adult"): "man",
        ("f", "adult"): "woman",
        ("m", "child"): "boy",
        ("f", "child"): "girl",
        ("-", "child"): "child",
    }.get((sex, age), PERSON)
    return PERSON_PLURAL[word] if plural else word
