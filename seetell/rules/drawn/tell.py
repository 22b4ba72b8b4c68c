"""Detailed descriptions: the setting, every thing in raster order with its place, and at the end how many of each kind.

The numbers come last because by then a writer has named every thing: a small model counts its own words better than
the things in a picture.
"""

from __future__ import annotations

from collections import Counter

from seetell.rules.drawn.short import Writer, names
from seetell.rules.drawn.talk import counts_of, indefinite, relation_of, the
from seetell.rules.read import Facts, Thing
from seetell.rules.words import (
    GROUND_PHRASES,
    TIME_PHRASES,
    WEATHER_PHRASES,
    at_place,
    number,
    sentence,
)

REMARKS = 0.4  # how often a description ends with a remark on what the things have in common


def description(facts: Facts, writer: Writer) -> str:
    """Three to six sentences."""
    rng, things = writer.rng, sorted(facts.things, key=lambda thing: thing.cell)
    sentences: list[str] = []
    if facts.ground:
        ground, time = rng.choice(GROUND_PHRASES[facts.ground]), rng.choice(TIME_PHRASES[facts.time])
        opening = rng.choice(("this is a scene", "the picture shows a scene", "we look at a scene"))
        sentences.append(sentence(f"{opening} {ground} {time}, {rng.choice(WEATHER_PHRASES[facts.weather])}"))
    group = 1 if len(things) <= 2 else 2
    sentences += [_placed(things[at : at + group], writer) for at in range(0, len(things), group)]
    if len(things) > 1:
        in_all = rng.choice(("in all I count", "all in all the picture shows", "altogether one sees"))
        sentences.append(sentence(f"{in_all} {counts_of(things)}"))
    extra = [said for said in (_largest(facts, writer), _same_colour(facts), _related(facts, writer)) if said]
    if extra and rng.random() < REMARKS:
        sentences.append(rng.choice(extra))
    return " ".join(sentences)


def _placed(things: list[Thing], writer: Writer) -> str:
    rng = writer.rng
    what = [(indefinite(thing), at_place(thing.cell, rng)) for thing in things]
    if rng.random() < 0.5:
        first, *rest = [f"{place} there is {name}" for name, place in what]
    else:
        first, *rest = [f"{name} is {place}" for name, place in what]
    return sentence(f"{first}, and {rest[0]}" if rest else first)


def _largest(facts: Facts, writer: Writer) -> str:
    large = [thing for thing in facts.things if thing.size == "large"]
    if len(facts.things) < 2 or len(large) != 1 or not all(thing.size for thing in facts.things):
        return ""
    return sentence(f"{the(large[0], facts.things, writer)} is the largest of them")


def _same_colour(facts: Facts) -> str:
    colour, count = Counter(thing.colour for thing in facts.things).most_common(1)[0]
    return sentence(f"{number(count)} of them are {colour}") if 1 < count < len(facts.things) else ""


def _related(facts: Facts, writer: Writer) -> str:
    named = [thing for thing in facts.things if names(thing, facts.things)]
    if len(named) < 2:
        return ""
    one, other = writer.rng.sample(named, 2)
    where = relation_of(one, other, writer)
    return sentence(f"{the(one, facts.things, writer)} is {where} {the(other, facts.things, writer)}")
