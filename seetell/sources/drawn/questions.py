"""Questions about a drawn scene, with the answers that its truth accepts.

Six types: existence, count, colour, kind, place, relation. Each has several wordings; those under HELD_OUT
occur in no training text, so that the test also asks in words the model has not been drilled on. A question is
only asked where the truth is beyond dispute (`the cat` when there is one cat). Types are balanced by how they
are drawn: existence is half yes and prefers pairs whose parts are there separately; no constant answer wins.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from seetell.sources.drawn.layout import COLOURS, HELD_OUT_PAIRS, KINDS, Thing
from seetell.sources.drawn.words import NUMBERS, PLACE_PHRASES, plural, with_article

WORDINGS: dict[str, tuple[str, ...]] = {
    "existence": ("Is there {a}?", "Do you see {a}?", "Can you see {a} here?", "Is {a} in the picture?"),
    "count": ("How many {plural} are there?", "How many {plural} do you see?", "Count the {plural}.",
              "What is the number of {plural}?"),
    "colour": ("What colour is the {kind}?", "Which colour does the {kind} have?", "What is the colour of the {kind}?",
               "The {kind} is of which colour?"),
    "kind": ("What is the {colour} thing?", "Which thing is {colour}?", "What thing is {colour} here?"),
    "kind at": ("What is {place}?", "What do you see {place}?", "Which thing is {place}?"),
    "place": ("Where is the {thing}?", "In which part of the picture is the {thing}?", "Where do you see the {thing}?",
              "Where can the {thing} be found?"),
    "columns": ("Is the {one} to the left or to the right of the {other}?",
                "Is the {one} left or right of the {other}?",
                "On which side of the {other} is the {one}?"),
    "rows": ("Is the {one} above or below the {other}?", "Is the {one} higher or lower than the {other}?",
             "Does the {one} lie above or below the {other}?"),
}  # fmt: skip
HELD_OUT: dict[str, tuple[str, ...]] = {
    "existence": ("Does the picture show {a}?", "Is there {a} to be seen?"),
    "count": ("How many {plural} does the picture show?",),
    "colour": ("Tell me the colour of the {kind}.",),
    "kind": ("Name the {colour} thing.",),
    "kind at": ("Name the thing {place}.",),
    "place": ("Tell me where the {thing} is.",),
    "columns": ("Do you see the {one} left or right of the {other}?",),
    "rows": ("Do you see the {one} above or below the {other}?",),
}
EVERY_WORDING = {key: WORDINGS[key] + HELD_OUT[key] for key in WORDINGS}
ARTICLES = re.compile(r"\b(a|an|the)\b")
TYPES = ("existence", "count", "colour", "kind", "place", "relation")


@dataclass(frozen=True, slots=True)
class Question:
    """`accepted[0]` is the answer one would give; `unseen` marks a question whose answer turns on a held-out pair."""

    type: str
    text: str
    accepted: tuple[str, ...]
    unseen: bool = False


def normal(text: str) -> str:
    """A short answer as it is compared: lower-cased, without articles and the final stop."""
    return " ".join(ARTICLES.sub(" ", text.lower().strip().removesuffix(".")).split())


def is_right(text: str, accepted: Iterable[str]) -> bool:
    """Whether an answer equals an accepted one."""
    return normal(text) in {normal(each) for each in accepted}


def ask(
    things: Sequence[Thing], type: str, rng: random.Random, *, wordings: Mapping[str, Sequence[str]] = WORDINGS
) -> Question | None:
    """One question of a type about these things in one of the `wordings`, or None where the scene allows none."""
    return _ASKERS[type](list(things), _Wording(rng, wordings))


@dataclass(frozen=True, slots=True)
class _Wording:
    rng: random.Random
    wordings: Mapping[str, Sequence[str]]

    def __call__(self, key: str, **words: str) -> str:
        return self.rng.choice(self.wordings[key]).format(**words)


def _reference(thing: Thing, things: list[Thing], rng: random.Random) -> str | None:
    """A name that means this thing and no other: `cat`, `red cat`."""
    kinds = Counter(other.kind for other in things)
    pairs = Counter((other.kind, other.colour) for other in things)
    names = [f"{thing.colour} {thing.kind}"] if pairs[thing.kind, thing.colour] == 1 else []
    if kinds[thing.kind] == 1:
        names.append(thing.kind)
    return rng.choice(names) if names else None


def _unseen(*things: Thing) -> bool:
    return any((thing.kind, thing.colour) in HELD_OUT_PAIRS for thing in things)


def _existence(things: list[Thing], word: _Wording) -> Question:
    rng = word.rng
    there = rng.random() < 0.5
    kinds, pairs = {thing.kind for thing in things}, {(thing.kind, thing.colour) for thing in things}
    if there:
        thing = rng.choice(things)
        name = thing.kind if rng.random() < 0.4 else f"{thing.colour} {thing.kind}"
        return Question(
            "existence", word("existence", a=with_article(name)), ("yes",), name != thing.kind and _unseen(thing)
        )
    swapped = sorted({(one.kind, other.colour) for one in things for other in things} - pairs - HELD_OUT_PAIRS)
    if swapped and rng.random() < 0.6:
        kind, colour = rng.choice(swapped)
        return Question("existence", word("existence", a=with_article(f"{colour} {kind}")), ("no",))
    kind = rng.choice([kind for kind in KINDS if kind not in kinds])
    name = kind if rng.random() < 0.6 else f"{rng.choice(tuple(COLOURS))} {kind}"
    return Question("existence", word("existence", a=with_article(name)), ("no",))


def _count(things: list[Thing], word: _Wording) -> Question:
    """By kind, by colour or all; the number asked for is drawn first, so that `one` is not most of the truth."""
    options: dict[int, list[str]] = {}
    for kind, count in Counter(thing.kind for thing in things).items():
        options.setdefault(count, []).append(plural(kind))
    for colour, count in Counter(thing.colour for thing in things).items():
        options.setdefault(count, []).append(f"{colour} things")
    options.setdefault(len(things), []).append("things")
    count = word.rng.choice(sorted(options))
    return Question("count", word("count", plural=word.rng.choice(options[count])), (NUMBERS[count], str(count)))


def _colour(things: list[Thing], word: _Wording) -> Question | None:
    kinds = Counter(thing.kind for thing in things)
    unique = [thing for thing in things if kinds[thing.kind] == 1]
    if not unique:
        return None
    thing = word.rng.choice(unique)
    return Question("colour", word("colour", kind=thing.kind), (thing.colour,), _unseen(thing))


def _kind(things: list[Thing], word: _Wording) -> Question:
    colours = Counter(thing.colour for thing in things)
    unique = [thing for thing in things if colours[thing.colour] == 1]
    if unique and word.rng.random() < 0.5:
        thing = word.rng.choice(unique)
        text = word("kind", colour=thing.colour)
    else:
        thing = word.rng.choice(things)
        text = word("kind at", place=word.rng.choice(PLACE_PHRASES[thing.place]))
    return Question("kind", text, (thing.kind, f"{thing.colour} {thing.kind}"), _unseen(thing))


def _place(things: list[Thing], word: _Wording) -> Question | None:
    named = [(thing, name) for thing in things if (name := _reference(thing, things, word.rng))]
    if not named:
        return None
    thing, name = word.rng.choice(named)
    accepted = (thing.place, *(form for phrase in PLACE_PHRASES[thing.place] for form in _forms(phrase)))
    return Question("place", word("place", thing=name), accepted, _unseen(thing) and thing.colour in name)


def _forms(phrase: str) -> tuple[str, str]:
    """`at the top left` as it may be said short: with and without its preposition and article."""
    return phrase, phrase.split(" ", 2)[-1] if phrase.split()[1] == "the" else phrase


def _relation(things: list[Thing], word: _Wording) -> Question | None:
    named = [(thing, name) for thing in things if (name := _reference(thing, things, word.rng))]
    word.rng.shuffle(named)
    for one, one_name in named:
        for other, other_name in named:
            ways = [way for way in ("column", "row") if getattr(one, way) != getattr(other, way)]
            if not ways:
                continue
            way = word.rng.choice(ways)
            first = getattr(one, way) < getattr(other, way)
            said = (("left", "right"), ("above", "below"))[way == "row"][not first]
            accepted = (
                (said, f"to the {said}", f"{said} of") if way == "column" else (said, "higher" if first else "lower")
            )
            text = word(way + "s", one=one_name, other=other_name)
            return Question("relation", text, accepted, _unseen(one, other))
    return None


_ASKERS: dict[str, Callable[[list[Thing], _Wording], Question | None]] = {
    "existence": _existence,
    "count": _count,
    "colour": _colour,
    "kind": _kind,
    "place": _place,
    "relation": _relation,
}
