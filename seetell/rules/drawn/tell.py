"""Detailed descriptions: three to six sentences, from the whole to its parts."""

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

MAX_SENTENCES = 6


def description(facts: Facts, writer: Writer) -> str:
    sentences = _of_things(facts, writer)
    return " ".join(sentences[:MAX_SENTENCES])


def _of_things(facts: Facts, writer: Writer) -> list[str]:
    rng, things = writer.rng, facts.things
    what = counts_of(rng.sample(things, len(things)))
    opening = rng.choice((f"the picture shows {what}", f"this is a drawing of {what}", f"here we see {what}"))
    sentences = [sentence(opening)]
    if facts.ground:
        ground, time = rng.choice(GROUND_PHRASES[facts.ground]), rng.choice(TIME_PHRASES[facts.time])
        sky = rng.choice(WEATHER_PHRASES[facts.weather])
        sentences = [sentence(f"{opening} {ground}"), sentence(f"it all happens {time}, {sky}")]
    told = list(things) if rng.random() < 0.7 else rng.sample(things, len(things))
    group = 1 if len(told) <= 2 else 2
    sentences += [_placed(told[at : at + group], writer) for at in range(0, len(told), group)]
    if extra := [said for said in (_largest(facts, writer), _same_colour(facts), _related(facts, writer)) if said]:
        sentences.append(rng.choice(extra))
    return sentences


def _placed(things: list[Thing], writer: Writer) -> str:
    rng = writer.rng
    what = [(indefinite(thing, size=True), at_place(thing.cell, rng)) for thing in things]
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
