"""Conversations in whole sentences: what there is, how many, in which colours, where, and under which sky.

The captions of a drawn scene say everything, so every turn is about its things and its setting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from seetell.rules.drawn.reason import reasons
from seetell.rules.drawn.short import WORDINGS, Pair, Writer, absent, names
from seetell.rules.read import Facts, Thing
from seetell.rules.words import (
    at_place,
    counted,
    join,
    number,
    plural,
    sentence,
    with_article,
)

Maker = Callable[[Facts, Writer], Pair | None]
OVERVIEWS = (
    "What is in the picture?",
    "What do you see?",
    "What can you see in this picture?",
    "What is this a picture of?",
    "What is shown here?",
)
TIMES_OF_DAY = {"day": "It is day.", "evening": "It is evening.", "night": "It is night."}
WEATHERS = {
    "clear": ("The weather is clear.", "The sky is clear."),
    "rain": ("It is raining.", "It is a rainy hour."),
    "snow": ("It is snowing.", "Snow is falling."),
    "fog": ("It is foggy.", "There is fog in the air."),
}

GROUNDS = {
    "grass": ("It is a green meadow.", "There is grass on the ground."),
    "sand": ("It is a sandy beach.", "There is sand on the ground."),
    "snow": ("It is a place full of snow.", "There is snow on the ground."),
    "street": ("It is a street.", "There is a grey road on the ground."),
    "water": ("It is a calm lake.", "There is water below."),
}


def conversation(facts: Facts, writer: Writer) -> list[Pair]:
    """Three to six turns: an overview, details in any order, and mostly a question that takes thinking."""
    wanted = writer.rng.randint(2, 4)
    makers = writer.rng.sample(_DETAILS_OF_THINGS, len(_DETAILS_OF_THINGS))
    pairs = [_overview(facts, writer)]
    for maker in makers:
        if len(pairs) <= wanted and (pair := maker(facts, writer)):
            pairs.append(pair)
    if writer.rng.random() < 0.7 and (pair := next(iter(reasons(facts, writer)), None)):
        pairs.append(pair)
    return pairs


def _pick(writer: Writer, *wordings: str) -> str:
    return writer.rng.choice(wordings)


def the(thing: Thing, things: Sequence[Thing], writer: Writer) -> str:
    """`the cat`, where that is one; else with all that tells it apart."""
    fitting = names(thing, things)
    return f"the {writer.rng.choice(fitting)}" if fitting else f"the {thing.name} {at_place(thing.cell, writer.rng)}"


def indefinite(thing: Thing, *, size: bool = False) -> str:
    return with_article(f"{thing.size} {thing.name}" if size and thing.size else thing.name)


def counts_of(things: Sequence[Thing]) -> str:
    """`two cats and a car`."""
    return join([counted(kind, count) for kind, count in Counter(thing.kind for thing in things).items()])


def _overview(facts: Facts, writer: Writer) -> Pair:
    things = sorted(facts.things, key=lambda thing: thing.cell)
    what = _pick(writer, counts_of(things), join([indefinite(thing) for thing in things]))
    said = _pick(writer, f"I see {what}", f"the picture shows {what}", f"this is a drawing of {what}")
    return _pick(writer, *OVERVIEWS), sentence(said)


def _count(facts: Facts, writer: Writer) -> Pair:
    things = facts.things
    kind, count = writer.rng.choice(sorted(Counter(thing.kind for thing in things).items()))
    question = _pick(writer, *WORDINGS["count"]).format(plural=plural(kind))
    if count == 1:
        return question, f"There is one {kind}."
    each = join([f"a {thing.colour} one {at_place(thing.cell, writer.rng)}" for thing in things if thing.kind == kind])
    plain = f"There are {number(count)} {plural(kind)}"
    return question, f"{plain}." if writer.rng.random() < 0.5 else f"{plain}: {each.replace('a orange', 'an orange')}."


def _count_all(facts: Facts, writer: Writer) -> Pair:
    count = len(facts.things)
    question = _pick(writer, "How many things are there in all?", "How many things can you see altogether?")
    return question, f"There {'is one thing' if count == 1 else f'are {number(count)} things'} in all."


def _colour(facts: Facts, writer: Writer) -> Pair | None:
    thing = writer.rng.choice(facts.things)
    if thing.kind not in names(thing, facts.things):
        return None
    answer = _pick(writer, f"The {thing.kind} is {thing.colour}.", f"It is {thing.colour}.")
    return _pick(writer, *WORDINGS["colour"]).format(kind=thing.kind), answer


def _kind_at(facts: Facts, writer: Writer) -> Pair:
    thing = writer.rng.choice(facts.things)
    place = at_place(thing.cell, writer.rng)
    answer = _pick(writer, f"There is {indefinite(thing)} {place}.", f"It is {indefinite(thing)}.")
    return _pick(writer, *WORDINGS["kind at"]).format(place=place), answer


def _place(facts: Facts, writer: Writer) -> Pair | None:
    thing = writer.rng.choice(facts.things)
    fitting = names(thing, facts.things)
    if not fitting:
        return None
    name, place = writer.rng.choice(fitting), at_place(thing.cell, writer.rng)
    answer = _pick(writer, f"The {name} is {place}.", f"It is {place}.", f"You can find it {place}.")
    return _pick(writer, *WORDINGS["place"]).format(thing=name), answer


def _there(facts: Facts, writer: Writer) -> Pair:
    thing = writer.rng.choice(facts.things)
    name, place = writer.rng.choice((thing.kind, thing.name)), at_place(thing.cell, writer.rng)
    answer = _pick(writer, f"Yes, there is {indefinite(thing)} {place}.", f"Yes, {place} there is {indefinite(thing)}.")
    return _pick(writer, *WORDINGS["existence"]).format(a=with_article(name)), answer


def _not_there(facts: Facts, writer: Writer) -> Pair:
    kind, colour = absent(facts.things, writer)
    asked = with_article(f"{colour} {kind}".strip())
    same = sorted({thing.colour for thing in facts.things if thing.kind == kind})
    if same and sum(thing.kind == kind for thing in facts.things) == 1:
        answer = f"No, there is {with_article(kind)}, but it is {same[0]}."
    elif same:
        answer = f"No, the {plural(kind)} here are {join(same)}."
    else:
        answer = _pick(
            writer, f"No, there is no {kind} in the picture.", f"No, I do not see {with_article(kind)} here."
        )
    return _pick(writer, *WORDINGS["existence"]).format(a=asked), answer


def _relation(facts: Facts, writer: Writer) -> Pair | None:
    named = [thing for thing in facts.things if names(thing, facts.things)]
    if len(named) < 2:
        return None
    one, other = writer.rng.sample(named, 2)
    where = relation_of(one, other, writer)
    name, other_name = (the(thing, facts.things, writer) for thing in (one, other))
    question = _pick(
        writer,
        f"Where is {name} as seen from {other_name}?",
        f"How does {name} lie to {other_name}?",
        f"Where do you find {name} in relation to {other_name}?",
    )
    return question, f"{name[0].upper()}{name[1:]} is {where} {other_name}."


def relation_of(one: Thing, other: Thing, writer: Writer) -> str:
    said: list[str] = []
    if one.column != other.column:
        said.append("to the left of" if one.column < other.column else "to the right of")
    if one.row != other.row:
        said.append("above" if one.row < other.row else "below")
    return writer.rng.choice(said)


def _size(facts: Facts, writer: Writer) -> Pair | None:
    sized = [thing for thing in facts.things if thing.size and names(thing, facts.things)]
    if not sized:
        return None
    thing = writer.rng.choice(sized)
    name = the(thing, facts.things, writer)
    question = _pick(writer, f"How big is {name}?", f"Is {name} small, medium or large?")
    return question, _pick(writer, f"It is {thing.size}.", f"{name[0].upper()}{name[1:]} is {thing.size}.")


def _time(facts: Facts, writer: Writer) -> Pair | None:
    question = _pick(writer, "What time of day is it?", "Is it day or night here?", "Which part of the day is it?")
    return (question, TIMES_OF_DAY[facts.time]) if facts.time else None


def _weather(facts: Facts, writer: Writer) -> Pair | None:
    question = _pick(writer, "How is the weather?", "What is the weather like?", "What weather do they have here?")
    return (question, writer.rng.choice(WEATHERS[facts.weather])) if facts.weather else None


def _ground(facts: Facts, writer: Writer) -> Pair | None:
    if not facts.ground:
        return None
    question = _pick(writer, "What sort of place is this?", "Where does the scene take place?", "Where is all this?")
    return question, writer.rng.choice(GROUNDS[facts.ground])


_DETAILS_OF_THINGS: tuple[Maker, ...] = (
    _count,
    _count_all,
    _colour,
    _kind_at,
    _place,
    _there,
    _not_there,
    _relation,
    _size,
    _time,
    _weather,
    _ground,
)
