"""Captions as clauses: who or what, and what it does or where it is.

"A man riding a wave on a surfboard" is a subject (person, one) and a predicate ("riding a wave on a surfboard"). A
predicate is kept only if every word of it is known or said twice, if it names nothing that boxes or other captions
deny, and if another caption supports it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from seetell.rules.photos.evidence import LOOSE, PERSON, Evidence, call
from seetell.rules.photos.mentions import FORMS, Mention, mentions_of, words_in
from seetell.rules.photos.nouns import CONFUSED, DEPICTIONS, FEMALE, GATHERINGS, MALE, PEOPLE, word_set
from seetell.rules.photos.words import (
    ADJECTIVES,
    CLOTHES,
    COLOURS,
    ING,
    KNOWN,
    MANY,
    NONE,
    NUMBER_WORDS,
    PLACE_STARTS,
    PLACED,
    PREPOSITIONS,
    STATES,
    STOPS,
)

MOST_WORDS = 13
_OPENING = re.compile(
    r"^(?:there (?:is|are) |this is |these are |here is |it is |(?:the |a )?(?:close ?-?up )?"
    r"(?:view|picture|image|photo) (?:of |shows )|a close ?-?up (?:of |shot of )|closeup of )"
)
_LITTLE = word_set(
    """
    a an the his her its their some and or of to it itself himself herself
    """
)
_TAKEN = ("holding", "carrying", "using", "playing", "eating", "wearing", "cutting", "making", "throwing", "pulling")
ARTICLES = word_set("a an the his her its their some each one this another")
BEFORE_ARTICLE = PREPOSITIONS | {"with", "of"} - {"down", "up", "along", "around", "next", "to", "front"}
STUFF = word_set(
    """
    water grass snow rain fog concrete cement sand dirt wood metal horseback traffic front top clothing food
    wool broccoli fruit rice cheese bread tennis baseball frisbee air mid luggage sunlight bananas
    """
)
_ENDS = PREPOSITIONS | word_set("a an the his her its their and or very of some is are")


@dataclass(frozen=True, slots=True)
class Clause:
    """`verb` is the first word of the predicate as it is said after "is"; `caption` is the caption's index."""

    label: str
    name: str
    plural: bool
    verb: str
    predicate: str
    caption: int

    @property
    def is_place(self) -> bool:
        return self.verb in PLACED | STATES or self.predicate.startswith(tuple(f"{start} " for start in PLACE_STARTS))


def clauses_of(evidence: Evidence) -> list[Clause]:
    """All clauses that may be repeated, the best supported first."""
    found: list[tuple[int, Clause]] = []
    raw = [_clause(evidence, index) for index in range(len(evidence.captions))]
    heads = [clause for clause in raw if clause]
    for clause in heads:
        support = _support(evidence, clause)
        same = [other for other in heads if other.label == clause.label]
        if (
            _stands(evidence, clause)
            and support > 0
            and not (_postures_differ(same, clause) or _numbers_differ(same, clause))
        ):
            found.append((support, clause))
    found.sort(key=lambda pair: -pair[0])
    return [clause for _, clause in found]


def _clause(evidence: Evidence, index: int) -> Clause | None:
    text = " ".join(evidence.captions[index].split()).rstrip(" .!")
    text = _OPENING.sub("", text.lower())
    words = words_in(text)
    subject = next(mentions_of(words), None)
    if not subject or subject.amount.count == 0 or subject.start > 5:
        return None
    before = words[: subject.start]
    if any(word in PREPOSITIONS | set(ING) | {",", "and", "with", "'s", "where"} for word in before):
        return None
    rest = words[subject.end :]
    if rest and rest[0] in ("who", "that", "which"):
        rest = rest[1:]
    if rest[:1] == ["is"] or rest[:1] == ["are"]:
        rest = rest[1:]
    predicate = _predicate(rest)
    if not predicate or (before[-1:] in (["a"], ["an"]) and subject_words(words, subject) not in FORMS_OF_ONE):
        return None
    gathered = any(word in GATHERINGS | {"group"} for word in before)
    plural = subject.amount.count > 1 or gathered or subject.name not in FORMS_OF_ONE
    return Clause(subject.label, subject.name, plural, predicate[0], _spaced(predicate), index)


def _spaced(words: list[str]) -> str:
    """The words as a text, with a comma before a second verb: `sitting on the floor, holding a phone`."""
    text = words[0]
    for before, word, after in zip(words[:-1], words[1:], [*words[2:], ""], strict=True):
        second = word in ING.values() and before not in PREPOSITIONS - {"outside"} | set(ING) | ARTICLES | set(
            PEOPLE
        ) | {"and", "to"}
        text += f", {word}" if second and after in ARTICLES | PREPOSITIONS | {"tennis", "with", ""} else f" {word}"
    return text


def subject_words(words: list[str], subject: Mention) -> str:
    return " ".join(words[subject.start : subject.end])


FORMS_OF_ONE = frozenset(" ".join(form) for form, (_, _, plural) in FORMS.items() if not plural)


def _predicate(words: list[str]) -> list[str]:
    """The words of the predicate up to where another clause begins; empty if this is no predicate."""
    if not words:
        return []
    first = words[0]
    if first in ING and first not in ING.values():
        words = [ING[first], *words[1:]]
    elif first not in ING and first not in STATES and not _starts_place(words):
        return []
    kept: list[str] = []
    for at, word in enumerate(words):
        more = words[at + 1 : at + 3]
        if word in ("that", "which", "who"):
            return []
        if at and (word in STOPS or word in (",", ".", ";", "&", "'s", ":")):
            break
        if at and word == "and" and more and (more[0] in ING or more[:1] in (["a"], ["an"], ["one"], ["the"])):
            break
        if at and word == "with" and not _with_thing(more):
            break
        kept.append("lying" if word == "laying" else ING.get(word, word) if at == 0 else word)
    while kept and kept[-1] in _ENDS:
        kept.pop()
    return kept if 2 <= len(kept) <= MOST_WORDS else []


def _with_thing(more: list[str]) -> bool:
    return bool(more) and more[0] in ("a", "an", "his", "her", "its", "their", "the")


def _starts_place(words: list[str]) -> bool:
    text = " ".join(words) + " "
    return text.startswith(tuple(f"{start} " for start in PLACE_STARTS))


def _stands(evidence: Evidence, clause: Clause) -> bool:
    """Whether nothing speaks against the predicate, and every word of it may be repeated."""
    words = clause.predicate.replace(",", "").split()
    if clause.label in evidence.disputed or set(words) & (
        DEPICTIONS - {"mirror", "screen"} | NONE | MANY | {"couple", "other", "another"}
    ):
        return False
    if any(word in NUMBER_WORDS for word in words) or _is_clumsy(words):
        return False
    if _contradicts_the_sky(evidence, words) or _kinds_differ(evidence, words):
        return False
    if any(word not in KNOWN and evidence.said_in(word) < 2 for word in words):
        return False
    confusing = {w for label in evidence.boxes for w in CONFUSED.get(label, "").split() if label in evidence.disputed}
    if confusing & set(words) or _sexes_clash(evidence, words):
        return False
    return not any(_denied(evidence, mention) for mention in mentions_of(words))


def _sexes_clash(evidence: Evidence, words: list[str]) -> bool:
    """Words of a sex where captions do not agree on one."""
    return bool(set(words) & (MALE | FEMALE)) and evidence.sex == "-"


def _denied(evidence: Evidence, mention: Mention) -> bool:
    if mention.label in evidence.disputed:
        return True
    boxes, amount = evidence.boxes[mention.label], mention.amount
    if not evidence.regions or (mention.label in LOOSE and not boxes):
        return False
    if mention.label in evidence.crowds or boxes > 4:
        return False
    counted = [other for other in evidence.amounts(mention.label) if other.exact]
    return any(not other.allows(amount.count) for other in counted) or (amount.count > 1 and boxes == 1)


def _support(evidence: Evidence, clause: Clause) -> int:
    """In how many other captions the words of the predicate that matter stand; 0 if some of them stand alone."""
    words = clause.predicate.replace(",", "").split()
    others = [set(own) for index, own in enumerate(evidence.words) if index != clause.caption]
    marked = {word for label in evidence.boxes for word in label.split()}
    weighty = [word for word in words if word not in _LITTLE and word not in PREPOSITIONS]
    if not weighty or not others:
        return 0

    def support(word: str) -> int:
        ing = ING.get(word, word)
        same = {other for other, form in ING.items() if form == ing} | {word, word.rstrip("s"), word + "s"}
        return sum(bool(same & own) for own in others) + (word in marked)

    if words[0] in _TAKEN and any(not support(word) for word in weighty[1:]):
        return 0
    supported = [word for word in weighty if support(word)]
    if 2 * len(supported) < len(weighty) or (words[0] in ING and not support(words[0]) and len(supported) < 2):
        return 0
    return 10 * sum(support(word) for word in weighty) // len(weighty) + min(len(weighty), 5)


def _postures_differ(clauses: list[Clause], clause: Clause) -> bool:
    """Whether one caption has it sitting and another standing."""
    postures = {"lying" if other.verb == "laying" else other.verb for other in clauses if other.verb in PLACED}
    return clause.verb in PLACED and len(postures) > 1


def _numbers_differ(clauses: list[Clause], clause: Clause) -> bool:
    """Whether most captions speak of one where this one speaks of several, or the other way round."""
    several = sum(other.plural for other in clauses)
    return clause.plural != (2 * several >= len(clauses))


def _is_clumsy(words: list[str]) -> bool:
    """A verb too many, an article too few or too many: slips that one reads over and would not write."""
    pairs = list(pairwise(words))
    if any(word in ("is", "are", "was", "it") or (word in ING and word.endswith("s")) for word in words[1:]):
        return True
    if any(word in ING.values() and after in ING.values() for word, after in pairs) or words.count("next") > 1:
        return True
    if words[0] == "in" and set(words[:5]) & (set(CLOTHES) | {"skis"}):
        return True
    if any(word in ARTICLES and after in ARTICLES for word, after in pairs):
        return True
    return any(word in BEFORE_ARTICLE and _lacks_article(words[at + 1 :]) for at, word in enumerate(words))


def _lacks_article(words: list[str]) -> bool:
    """`in white jacket`, `at pitch`: a thing that can be counted, alone, without an article."""
    while words and words[0] in ADJECTIVES:
        words = words[1:]
    if not words or words[0] in ARTICLES or words[0] in ING.values() or words[0] in PREPOSITIONS:
        return False
    if words[0].endswith("s") or words[0] in STUFF or words[0] in ("people", "some", "sheep"):
        return False
    return not (len(words) > 1 and words[1].endswith("s"))


def _contradicts_the_sky(evidence: Evidence, words: list[str]) -> bool:
    """Weather that another caption denies, or that no second one has where captions differ."""
    said = evidence.all_words
    dull, fair = said & {"gray", "grey", "cloudy", "overcast"}, said & {"clear", "sunny"}
    if dull and fair and set(words) & (dull | fair):
        return True
    return bool({"rain", "rainy"} & set(words)) and not said.isdisjoint({"fog", "foggy", "sunny"})


def _kinds_differ(evidence: Evidence, words: list[str]) -> bool:
    """`vultures` here and `turkeys` there: nobody knows which birds these are."""
    kinds = {m.name for mentions in evidence.mentions for m in mentions if m.label == "bird" and m.name != "bird"}
    return len(kinds) > 1 and any(mention.name in kinds for mention in mentions_of(words))


def subject_of(evidence: Evidence, clause: Clause) -> str:
    """The words for a clause's subject, without an article."""
    if clause.label != PERSON:
        return call(evidence, clause.label, plural=clause.plural)
    if clause.plural and PEOPLE.get(clause.name, ("-", "-"))[0] == "-":
        return "people"
    return evidence.person(plural=clause.plural)


def pronoun_of(evidence: Evidence, clause: Clause) -> str:
    """`He`, `She`, `It` or `They`; people whose sex is open are named again."""
    if clause.plural:
        return "they"
    if clause.label != PERSON:
        return "it"
    return {"m": "he", "f": "she"}.get(evidence.sex, f"the {subject_of(evidence, clause)}")


def held_thing(evidence: Evidence) -> str:
    """The label of what the one person of the captions holds, where two captions or a box confirm it."""
    for words, mentions in zip(evidence.words, evidence.mentions, strict=True):
        for mention in mentions:
            before = [word for word in words[: mention.start] if word not in COLOURS]
            if before[-1:] and before[-1] in ("a", "an", "his", "her", "the", "their"):
                before = before[:-1]
            before = before[:-1] if before[-1:] == ["up"] else before
            sure = mention.label in evidence.sure and mention.label != PERSON and mention.amount.allows(1)
            if sure and before[-1:] and before[-1] in ("holding", "holds") and set(before) & set(PEOPLE):
                return mention.label
    return ""
