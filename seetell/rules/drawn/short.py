"""Questions that a word or two answer: existence, count, colour, kind, place and relation.

Nothing is asked whose answer could be disputed: "the cat" is only said of a single cat, a relation only of
things whose columns (or rows) in the 3x3 grid of places differ. Existence is true half of the time, and what is
not there is mostly put together from parts that are there, so that neither word alone gives the answer away.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from seetell.rules.read import Facts, Thing
from seetell.rules.words import (
    COLOURS,
    DRAWN_KINDS,
    PLACES,
    at_place,
    number,
    plural,
    with_article,
)

Pair = tuple[str, str]
PAIRS = 8
PAIRS_PER_TYPE = 2
WORDINGS: dict[str, tuple[str, ...]] = {
    "existence": (
        "Is there {a}?",
        "Do you see {a}?",
        "Can you see {a} here?",
        "Is {a} in the picture?",
        "Is there {a} anywhere?",
        "Is {a} among the things here?",
    ),
    "count": (
        "How many {plural} are there?",
        "How many {plural} do you see?",
        "Count the {plural}.",
        "What is the number of {plural}?",
        "How many {plural} can you count?",
        "How many {plural} are in the picture?",
    ),
    "colour": (
        "What colour is the {kind}?",
        "Which colour does the {kind} have?",
        "What is the colour of the {kind}?",
        "The {kind} is of which colour?",
        "In which colour is the {kind}?",
        "What colour does the {kind} have?",
    ),
    "colour at": (
        "What colour is the thing {place}?",
        "Which colour does the thing {place} have?",
        "What is the colour of the thing {place}?",
    ),
    "kind": (
        "What is the {colour} thing?",
        "Which thing is {colour}?",
        "What thing is {colour} here?",
        "What is {colour} in this picture?",
        "What kind of thing is {colour}?",
    ),
    "kind at": (
        "What is {place}?",
        "What do you see {place}?",
        "Which thing is {place}?",
        "What can be seen {place}?",
        "What kind of thing is {place}?",
    ),
    "place": (
        "Where is the {thing}?",
        "In which part of the picture is the {thing}?",
        "Where do you see the {thing}?",
        "Where can the {thing} be found?",
        "Where in the picture is the {thing}?",
    ),
    "columns": (
        "Is the {one} to the left or to the right of the {other}?",
        "Is the {one} left or right of the {other}?",
        "On which side of the {other} is the {one}?",
        "Which side of the {other} is the {one} on, left or right?",
        "Left or right of the {other}: where is the {one}?",
    ),
    "rows": (
        "Is the {one} above or below the {other}?",
        "Is the {one} higher or lower than the {other}?",
        "Does the {one} lie above or below the {other}?",
        "Above or below the {other}: where is the {one}?",
        "Compared with the {other}, is the {one} above or below?",
    ),
}


@dataclass(slots=True)
class Writer:
    """What the makers of questions share: the dice, and the (kind, colour) pairs that are never to be spoken of."""

    rng: random.Random
    unspoken: Collection[tuple[str, str]] = ()
    asked: set[tuple[str | int, ...]] = field(default_factory=set[tuple[str | int, ...]])

    def ask(self, key: str, answer: str, subject: tuple[int, ...] = (), **words: str) -> Pair | None:
        """The question in one of its wordings; None if the same was asked before in any. `subject` says in numbers
        what it is about, where the same may go by several names."""
        about = (key, *(subject or words.values()))
        if about in self.asked:
            return None
        self.asked.add(about)
        return self.rng.choice(WORDINGS[key]).format(**words), answer


def short_pairs(facts: Facts, writer: Writer) -> list[Pair]:
    """Eight pairs, or as many as the facts allow, no type more than twice."""
    types = list(_OF_THINGS)
    writer.rng.shuffle(types)
    asked: Counter[str] = Counter()
    pairs: list[Pair] = []
    for _ in range(2 * PAIRS_PER_TYPE):
        for type in types:
            if len(pairs) < PAIRS and asked[type] < PAIRS_PER_TYPE and (pair := _OF_THINGS[type](facts, writer)):
                pairs.append(pair)
                asked[type] += 1
    writer.rng.shuffle(pairs)
    return pairs


def names(thing: Thing, things: Sequence[Thing]) -> list[str]:
    """The names that mean this thing and no other: `cat`, `red cat`."""
    meant = Counter(name for other in things for name in (other.kind, other.name))
    return [name for name in (thing.kind, thing.name) if meant[name] == 1]


def absent(things: Sequence[Thing], writer: Writer) -> tuple[str, str]:
    """A kind and a colour ("" for any) that no thing has together; mostly of a kind and a colour that are there."""
    rng = writer.rng
    kinds, pairs = {thing.kind for thing in things}, {(thing.kind, thing.colour) for thing in things}
    swapped = sorted({(one.kind, other.colour) for one in things for other in things} - pairs - set(writer.unspoken))
    if swapped and rng.random() < 0.6:
        return rng.choice(swapped)
    kind = rng.choice([kind for kind in DRAWN_KINDS if kind not in kinds])
    colours = [colour for colour in COLOURS if (kind, colour) not in writer.unspoken]
    return kind, rng.choice(colours) if rng.random() < 0.4 else ""


def _existence(facts: Facts, writer: Writer) -> Pair | None:
    things = facts.things
    if writer.rng.random() < 0.5:
        thing = writer.rng.choice(things)
        return writer.ask("existence", "yes", a=with_article(thing.kind if writer.rng.random() < 0.4 else thing.name))
    kind, colour = absent(things, writer)
    return writer.ask("existence", "no", a=with_article(f"{colour} {kind}".strip()))


def _count(facts: Facts, writer: Writer) -> Pair | None:
    """By kind, by colour or all; the number is drawn first, so that `one` is not most of the truth."""
    things = facts.things
    options: dict[int, list[str]] = {len(things): ["things"]}
    for kind, count in Counter(thing.kind for thing in things).items():
        options.setdefault(count, []).append(plural(kind))
    for colour, count in Counter(thing.colour for thing in things).items():
        options.setdefault(count, []).append(f"{colour} things")
    count = writer.rng.choice(sorted(options))
    return writer.ask("count", number(count), plural=writer.rng.choice(options[count]))


def _colour(facts: Facts, writer: Writer) -> Pair | None:
    things = facts.things
    thing = writer.rng.choice(things)
    if thing.kind in names(thing, things) and writer.rng.random() < 0.7:
        return writer.ask("colour", thing.colour, kind=thing.kind)
    return writer.ask("colour at", thing.colour, (thing.cell,), place=at_place(thing.cell, writer.rng))


def _kind(facts: Facts, writer: Writer) -> Pair | None:
    things = facts.things
    thing = writer.rng.choice(things)
    if sum(other.colour == thing.colour for other in things) == 1 and writer.rng.random() < 0.5:
        return writer.ask("kind", thing.kind, colour=thing.colour)
    return writer.ask("kind at", thing.kind, (thing.cell,), place=at_place(thing.cell, writer.rng))


def _place(facts: Facts, writer: Writer) -> Pair | None:
    things = facts.things
    thing = writer.rng.choice(things)
    fitting = names(thing, things)
    return writer.ask("place", PLACES[thing.cell], (thing.cell,), thing=writer.rng.choice(fitting)) if fitting else None


def _relation(facts: Facts, writer: Writer) -> Pair | None:
    things = facts.things
    named = [thing for thing in things if names(thing, things)]
    if len(named) < 2:
        return None
    one, other = writer.rng.sample(named, 2)
    one_name, other_name = (writer.rng.choice(names(thing, things)) for thing in (one, other))
    return relation(one, other, one_name, other_name, writer)


def relation(one: Thing, other: Thing, one_name: str, other_name: str, writer: Writer) -> Pair | None:
    """Left or right where the columns of their places differ, above or below where the rows do."""
    (row, column), (other_row, other_column) = divmod(one.cell, 3), divmod(other.cell, 3)
    ways = [way for way, differ in (("columns", column != other_column), ("rows", row != other_row)) if differ]
    if not ways:
        return None
    words = {"one": one_name, "other": other_name}
    cells = tuple(sorted((one.cell, other.cell)))
    if writer.rng.choice(ways) == "columns":
        return writer.ask("columns", "left" if column < other_column else "right", cells, **words)
    return writer.ask("rows", "above" if row < other_row else "below", cells, **words)


Maker = Callable[[Facts, Writer], Pair | None]
_OF_THINGS: dict[str, Maker] = {
    "existence": _existence,
    "count": _count,
    "colour": _colour,
    "kind": _kind,
    "place": _place,
    "relation": _relation,
}
