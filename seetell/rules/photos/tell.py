"""Detailed descriptions of photographs: what is shown, which things there are and how many, where, and the rest.

A description names a thing once with its number, and whatever follows agrees with it. Words of a caption stand in the
first sentence alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from seetell.rules.photos.clauses import Clause, clauses_of
from seetell.rules.photos.evidence import Evidence, call
from seetell.rules.photos.mentions import PERSON, mentions_of, words_in
from seetell.rules.photos.places import placed, relations
from seetell.rules.photos.scenery import place_of, sport_of, time_of, weather_of
from seetell.rules.photos.statements import (
    MANY,
    SETTINGS,
    clothing,
    colour_of,
    fills,
    holding,
    inside,
    is_plural,
    lead,
    named,
    phrase,
    pronoun,
    saying,
    there,
)
from seetell.rules.words import join, number, sentence

LEAST = 3


def description(evidence: Evidence, rng: random.Random) -> str:
    """Three to seven sentences; empty where less is certain."""
    clauses = clauses_of(evidence)
    first = lead(evidence, clauses, alone=True)
    if not first:
        return ""
    sentences = [
        f"{rng.choice(('the picture shows', 'this picture shows', 'the photo shows', 'here one sees'))} {first}"
    ]
    sentences += _setting(evidence, first)
    sentences += _person(evidence, clauses)
    sentences += _more_of(evidence, clauses, first)
    sentences += _things(evidence, " ".join(sentences), rng)
    sentences += _colours(evidence, sentences)
    sentences += _places(evidence, rng)
    sentences += _rest(evidence, sentences, rng)
    return " ".join(map(sentence, sentences)) if len(sentences) >= LEAST else ""


def _setting(evidence: Evidence, first: str) -> list[str]:
    place, hour = place_of(evidence), time_of(evidence)
    weather = {"sunny": "the weather is sunny", "foggy": "it is foggy", "rainy": "everything is wet from rain"}
    sky = weather.get(weather_of(evidence), "")
    where = f"the photo was taken {SETTINGS[place]}" if place and not _says(first, place) else ""
    if where and hour:
        where += {"day": " by day", "evening": " in the evening", "night": " at night"}[hour]
    elif hour and not sky:
        sky = f"it is {hour}"
    if where and sky:
        return [f"{where}, and {sky}"]
    return [said for said in (where or sky,) if said]


def _says(first: str, place: str) -> bool:
    return any(word in first for word in place.split() if word not in ("place", "city", "room")) or (
        place == "grassy place" and any(word in first for word in ("grass", "meadow"))
    )


def _person(evidence: Evidence, clauses: Sequence[Clause]) -> list[str]:
    """What the one person wears and holds."""
    worn, piece = clothing(evidence)
    said = [f"is wearing {worn}"] if worn and not any(piece in clause.predicate for clause in clauses[:1]) else []
    if (held := holding(evidence)) and not any("holding" in clause.predicate for clause in clauses[:1]):
        said.append(held.split(" is ", 1)[1].replace("holding", "is holding"))
    if not said:
        return []
    named_first = clauses and clauses[0].label == PERSON and not clauses[0].plural
    who = pronoun(evidence) if named_first else f"the {evidence.person()}"
    return [f"{who} {' and '.join(said)}"]


def _more_of(evidence: Evidence, clauses: Sequence[Clause], first: str) -> list[str]:
    """A second clause about the same subject, if it says something else; and what a bowl or plate holds."""
    words = set(first.replace(",", "").split())
    said: list[str] = []
    for clause in clauses[1:]:
        own = clause.predicate.replace(",", "").split()
        if clause.label == clauses[0].label and own[0] not in words and 2 * len(words & set(own)) < len(own):
            said = [saying(evidence, clause)]
            break
    return said + [held for held in (inside(evidence),) if held]


def _things(evidence: Evidence, before: str, rng: random.Random) -> list[str]:
    """What else there is: first what captions name, then what only boxes mark; then numbers that are still open."""
    told = [mention.label for mention in mentions_of(words_in(before))]
    more = [label for label in named(evidence) if label not in told]
    alone = [label for label in evidence.sure if label not in told and label not in more]
    sentences: list[str] = []
    if more:
        where = "it" if place_of(evidence) and not clauses_of(evidence) else "the picture"
        sentences.append(f"{there(evidence, more[:6])} in {where}")
    if alone:
        things = join([phrase(evidence, label) for label in alone[:6]])
        sentences.append(f"{rng.choice(('besides', 'in addition', 'apart from that'))}, {things} can be seen")
    for label in dict.fromkeys(told):
        count = evidence.count(label)
        if count and count > 1 and not _is_numbered(evidence, label, before):
            sentences.append(f"there are {phrase(evidence, label)} in all")
    return sentences


def _is_numbered(evidence: Evidence, label: str, before: str) -> bool:
    """Whether `two men` stands there already, under any name of the label."""
    first = number(evidence.count(label) or 0)
    return any(f"{first} {word}" in before for word in (call(evidence, label, plural=True), "people"))


def _rest(evidence: Evidence, before: Sequence[str], rng: random.Random) -> list[str]:
    """What fills the picture; the game; that nobody is there."""
    said: list[str] = []
    if label := fills(evidence):
        name = call(evidence, label)
        said.append(f"the {name} {rng.choice(('takes up', 'fills'))} a large part of the picture")
    game = sport_of(evidence)
    if game and not evidence.depicted and not any(game in text for text in before):
        said.append(f"the game that is played is {game.removeprefix('a ')}")
    if evidence.boxes[PERSON] >= MANY and not evidence.depicted and not any("many people" in text for text in before):
        others = "other " * any(mention.label == PERSON for mention in mentions_of(words_in(" ".join(before))))
        said.append(f"many {others}people can be seen in the picture")
    if evidence.nobody():
        said.append(rng.choice(("there are no people in the picture", "nobody can be seen in the picture")))
    return said


def _colours(evidence: Evidence, before: Sequence[str]) -> list[str]:
    said: list[str] = []
    for label in evidence.sure:
        colour = colour_of(evidence, label)
        if colour and not any(colour in words for words in before):
            plural = is_plural(evidence, label) or (evidence.count(label) or 1) > 1
            said.append(f"the {call(evidence, label, plural=plural)} {'are' if plural else 'is'} {colour}")
    return [join(said[:2])] if said else []


def _places(evidence: Evidence, rng: random.Random) -> list[str]:
    """Where the first two single things are, and how two of them lie to one another."""
    places = list(placed(evidence).items())[:2]
    told = [
        f"the {call(evidence, label)} {'are' if is_plural(evidence, label) else 'is'} {place}"
        for label, place in places
    ]
    if len(told) == 2 and places[0][1] == places[1][1]:
        told = [f"the {call(evidence, places[0][0])} and the {call(evidence, places[1][0])} are {places[0][1]}"]
    sentences = [", and ".join(told)] if told else []
    found = [triple for triple in relations(evidence) if not {"dining table", "skis"} & set(triple)]
    fresh = [t for t in found if not ({t[0], t[2]} <= {label for label, _ in places})]
    if fresh:
        one, way, other = rng.choice(fresh)
        sentences.append(f"the {call(evidence, one)} is {way} the {call(evidence, other)}")
    return sentences
