"""Detailed descriptions: the setting, then every thing in raster order with its place, and now and then a relation."""

from __future__ import annotations

from seetell.rules.drawn.short import Writer, names
from seetell.rules.drawn.talk import indefinite, relation_of, the
from seetell.rules.read import Facts, Thing
from seetell.rules.words import (
    GROUND_PHRASES,
    TIME_PHRASES,
    WEATHER_PHRASES,
    at_place,
    sentence,
)
from seetell.sources.drawn.words import OPENINGS, placed

RELATED = 0.4  # how often a description ends with a relation of two things


def description(facts: Facts, writer: Writer) -> str:
    """One to five sentences."""
    rng, things = writer.rng, sorted(facts.things, key=lambda thing: thing.cell)
    sentences: list[str] = []
    if facts.ground:
        ground, time = rng.choice(GROUND_PHRASES[facts.ground]), rng.choice(TIME_PHRASES[facts.time])
        opening = rng.choice(OPENINGS)
        sentences.append(sentence(f"{opening} {ground} {time}, {rng.choice(WEATHER_PHRASES[facts.weather])}"))
    group = 1 if len(things) <= 2 else 2
    sentences += [_placed(things[at : at + group], writer) for at in range(0, len(things), group)]
    if rng.random() < RELATED and (related := _related(facts, writer)):
        sentences.append(related)
    return " ".join(sentences)


def _placed(things: list[Thing], writer: Writer) -> str:
    named = [(at_place(thing.cell, writer.rng), indefinite(thing)) for thing in things]
    return placed(named, place_first=writer.rng.random() < 0.5)


def _related(facts: Facts, writer: Writer) -> str:
    named = [thing for thing in facts.things if names(thing, facts.things)]
    if len(named) < 2:
        return ""
    one, other = writer.rng.sample(named, 2)
    where = relation_of(one, other, writer)
    return sentence(f"{the(one, facts.things, writer)} is {where} {the(other, facts.things, writer)}")
