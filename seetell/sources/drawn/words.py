"""Names for what a drawn scene holds, and its five captions.

Captions play the part of COCO's: each says something true, no two say the same thing the same way, and only
some of them name everything. They are written from the layout; nothing that is hidden is mentioned, because
the caller leaves hidden things out.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

from seetell.sources.drawn.layout import Layout, Thing

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
IRREGULAR_PLURALS = {"fish": "fish", "person": "people"}
PLACE_PHRASES = {
    "top left": ("at the top left", "in the top left corner", "in the upper left"),
    "top": ("at the top", "at the top in the middle", "in the upper middle"),
    "top right": ("at the top right", "in the top right corner", "in the upper right"),
    "left": ("on the left", "at the left side", "halfway down on the left"),
    "middle": ("in the middle", "in the center", "in the very middle"),
    "right": ("on the right", "at the right side", "halfway down on the right"),
    "bottom left": ("at the bottom left", "in the bottom left corner", "in the lower left"),
    "bottom": ("at the bottom", "at the bottom in the middle", "in the lower middle"),
    "bottom right": ("at the bottom right", "in the bottom right corner", "in the lower right"),
}
GROUND_PHRASES = {
    "grass": ("on the grass", "over a green meadow"),
    "sand": ("on the sand", "over a sandy beach"),
    "snow": ("on the snow", "over snowy ground"),
    "street": ("on the street", "over a grey road"),
    "water": ("on the water", "over a calm lake"),
}
TIME_PHRASES = {
    "day": ("by day", "in the daytime"),
    "evening": ("in the evening", "at dusk"),
    "night": ("at night", "in the dark of night"),
}
WEATHER_PHRASES = {
    "clear": ("in clear weather", "under a clear sky"),
    "rain": ("in the rain", "on a rainy day"),
    "snow": ("in falling snow", "while it snows"),
    "fog": ("in the fog", "on a foggy day"),
}
SETTING_PHRASES = {"ground": GROUND_PHRASES, "time": TIME_PHRASES, "weather": WEATHER_PHRASES}
OPENINGS = (
    "this is a scene",
    "the picture shows a scene",
    "we look at a scene",
)  # of a description


def plural(kind: str) -> str:
    return IRREGULAR_PLURALS.get(kind, kind + "s")


def with_article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def counted(kind: str, count: int) -> str:
    return with_article(kind) if count == 1 else f"{NUMBERS[count]} {plural(kind)}"


def join(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def sentence(words: str) -> str:
    return words[0].upper() + words[1:] + "."


def named(thing: Thing, rng: random.Random, *, size: bool = True, place: bool = True) -> str:
    """`a large red car at the top left`."""
    words = with_article(f"{thing.size} {thing.colour} {thing.kind}" if size else f"{thing.colour} {thing.kind}")
    return f"{words} {rng.choice(PLACE_PHRASES[thing.place])}" if place else words


def counts_of(kinds: Iterable[str]) -> str:
    """`two cats and a car`, in the order in which kinds first come."""
    return join([counted(kind, count) for kind, count in Counter(kinds).items()])


def placed(things: Sequence[tuple[str, str]], *, place_first: bool) -> str:
    """A sentence of places and what is there: `At the top there is a cat, and ...`, or `A cat is at the top, ...`."""
    form = "{place} there is {name}" if place_first else "{name} is {place}"
    return sentence(", and ".join(form.format(name=name, place=place) for place, name in things))


def setting(layout: Layout, rng: random.Random) -> str:
    """`on the grass in the evening, in the rain`."""
    ground, time = rng.choice(GROUND_PHRASES[layout.ground]), rng.choice(TIME_PHRASES[layout.time])
    return f"{ground} {time}, {rng.choice(WEATHER_PHRASES[layout.weather])}"


def captions(layout: Layout, things: Sequence[Thing], rng: random.Random) -> tuple[str, ...]:
    """Five captions: two name everything with its place, the others count, set the scene or relate two things."""
    mixed = rng.sample(list(things), len(things))
    raster = sorted(things, key=lambda thing: (thing.row, thing.column))
    where = setting(layout, rng)
    opening = rng.choice(("there is ", "the picture shows ", "we see ", "here is ", ""))
    return (
        sentence(join([named(thing, rng) for thing in raster])),
        sentence(f"{counts_of(thing.kind for thing in mixed)} {where}"),
        sentence(opening + join([named(thing, rng, size=False) for thing in mixed])),
        sentence(_relation(mixed, rng) if len(mixed) > 1 else f"{named(mixed[0], rng, place=False)} {where}"),
        sentence(
            f"a drawing of {join([named(thing, rng, size=rng.random() < 0.5, place=False) for thing in mixed])} {where}"
        ),
    )


def _relation(things: Sequence[Thing], rng: random.Random) -> str:
    one, other = rng.sample(list(things), 2)
    return f"{named(one, rng, place=False)} is {relation(one, other, rng)} {named(other, rng, place=False)}"


def relation(one: Thing, other: Thing, rng: random.Random) -> str:
    """Where `one` lies as seen from `other`, by column or by row, whichever differs."""
    said: list[str] = []
    if one.column != other.column:
        said.append("to the left of" if one.column < other.column else "to the right of")
    if one.row != other.row:
        said.append("above" if one.row < other.row else "below")
    return rng.choice(said)
