"""The tiny language model's whole reading: descriptions of drawn scenes, captions and conversations about them.

No picture is involved: layouts are put into words in several ways (prose, five captions, a list by place, a map
in words) and conversations ask about what was said. Looking a thing up in the prompt is the skill that has to be
there before a picture takes the description's place, so most of the loss lies on answers, little on descriptions.
Held-out kind-colour pairs do occur here, as any language model has read of things it never saw.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from seetell.base.wordings import SETTING, SIZE, TERSE, WIDER
from seetell.sources.drawn.layout import PLACES, Layout, Thing, make_layout
from seetell.sources.drawn.questions import ask
from seetell.sources.drawn.smalltalk import NO_PICTURE, small_talk
from seetell.sources.drawn.words import (
    OPENINGS,
    PLACE_PHRASES,
    captions,
    counts_of,
    join,
    named,
    placed,
    sentence,
    setting,
)

MAP_SIDE = 6
GIVEN = 0.02  # what a prompt gives is random; little is learned from predicting it
CAPTION = 0.3
RECALLED = 0.9
FACETS = ("colour", "kind", "place")
# How often each type is asked: the later a skill comes, the more often.
ASKED = ("existence", "colour", *("kind", "relation") * 2, *("place",) * 3, *("count",) * 6)
IN_ALL = ("in all I count", "all in all the picture shows", "altogether one sees")
DESCRIBE = (
    "Describe the picture.",
    "What is in the picture?",
    "Tell me what you see.",
    "Describe what you see.",
    "Give a short description.",
    "What does the picture show?",
    "List everything you see.",
)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text, and how much of the loss lies on each of its tokens: 1 on answers."""

    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Description:
    """A layout put into words, and which of its facts beyond things, colours and places they hold."""

    text: str
    has_setting: bool
    has_sizes: bool


def user(text: str) -> Piece:
    return Piece(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n", GIVEN)


def assistant(text: str) -> Piece:
    return Piece(f"{text}<|im_end|>\n", 1.0)


def documents(seed: int, grown: Callable[[], float] = lambda: 1.0) -> Iterator[list[Piece]]:
    """Endless documents; a pure function of the seed and of `grown`, which says how far the reader has come (0 to 1).

    A beginner reads bare lists of two things and is asked for nothing but what stands there, and completes bare
    pairs: looking things up comes many times sooner so than from the full mixture at once.
    """
    rng = random.Random(f"text:{seed}")
    while True:
        share = grown()
        layout = make_layout("base", rng.randrange(500_000_000), pairs="all")
        layout = replace(layout, things=layout.things[: 2 + int(4 * share)])
        draw = rng.random()
        if rng.random() < 0.9 * (1 - share):
            yield recall(layout, rng, share)
        elif draw < 0.4:
            yield drill(layout, rng, share)
        elif draw < 0.6 or share < 0.1:
            yield conversation(layout, rng, share)
        elif draw < 0.9:
            yield talk(layout, rng, share)
        elif draw < 0.97:
            yield paraphrase(layout, rng, share)
        else:
            yield without_picture(layout, rng)


def drill(layout: Layout, rng: random.Random, grown: float) -> list[Piece]:
    """A description and many questions with bare answers, no dialogue around them: three times as many answers in as
    many tokens as a conversation has."""
    description = describe(layout, rng, grown)
    pieces = [Piece(description.text + "\n", GIVEN)]
    wordings = TERSE if rng.random() < 0.4 else WIDER
    types = ASKED if rng.random() < 3 * grown else FACETS
    if description.has_setting:
        for aspect in rng.sample(tuple(SETTING), len(SETTING)):
            pieces += [Piece(f"- {aspect}", GIVEN), Piece(f" {getattr(layout, aspect)}\n", RECALLED)]
    for _ in range(16):
        if beyond := _beyond_things(layout, description, rng):
            pieces += [Piece(f"- {beyond[0]}", GIVEN), Piece(f" {beyond[1]}\n", RECALLED)]
        elif question := ask(layout.things, rng.choice(types), rng, wordings=wordings):
            pieces += [Piece(f"- {question.text}", GIVEN), Piece(f" {question.accepted[0]}\n", RECALLED)]
    return pieces


def recall(layout: Layout, rng: random.Random, grown: float) -> list[Piece]:
    """A description, then bare key and value, many times: the densest way there is to learn to look a thing up."""
    pieces = [Piece(describe(layout, rng, grown).text + "\n", GIVEN)]
    known_by = FACETS[:2] if grown == 0 else FACETS  # what follows a word is found first
    named = [(thing, name) for thing in layout.things for name in known_by if is_clear(thing, name, layout)]
    for _ in range(20 if named else 0):
        thing, known = rng.choice(named)
        following = FACETS[(FACETS.index(known) + 1) % 3]
        asked = following if rng.random() > 4 * grown else rng.choice([name for name in FACETS if name != known])
        pieces += [Piece(f"- {asked} {getattr(thing, known)}", GIVEN), Piece(f" {getattr(thing, asked)}\n", RECALLED)]
    return pieces


def is_clear(thing: Thing, name: str, layout: Layout) -> bool:
    """Whether no other thing shares it."""
    return sum(getattr(other, name) == getattr(thing, name) for other in layout.things) == 1


def conversation(layout: Layout, rng: random.Random, grown: float = 1.0, turns: int = 8) -> list[Piece]:
    """A description and questions about it; the first question stands before or after the description."""
    pieces: list[Piece] = []
    description = describe(layout, rng, grown)
    for number in range(turns):
        text, answer = _question(layout, rng, grown, description)
        if number == 0:
            text = f"{text}\n{description.text}" if rng.random() < 0.3 * grown else f"{description.text}\n{text}"
        pieces += [user(text), assistant(answer)]
    return pieces


def talk(layout: Layout, rng: random.Random, grown: float) -> list[Piece]:
    """Questions, requests to describe and small talk in any order; the layout is described in the first turn about it.

    What was asked for first is asked again after a description, a greeting or another answer: each answer has to be
    looked up, wherever in the conversation the question stands.
    """
    pieces: list[Piece] = []
    description = describe(layout, rng, grown)
    not_shown = description.text
    for _ in range(rng.randint(3, 7)):
        draw = rng.random()
        if draw < 0.12:
            text, answer = small_talk(rng)
        else:
            text, answer = (
                request(layout, rng, description) if draw < 0.32 else _question(layout, rng, grown, description)
            )
            if not_shown:
                text = f"{text}\n{not_shown}" if rng.random() < 0.3 else f"{not_shown}\n{text}"
                not_shown = ""
        pieces += [user(text), assistant(answer)]
    return pieces


def request(layout: Layout, rng: random.Random, description: Description) -> tuple[str, str]:
    """A request to describe, and the same facts in another order: the setting, the things in raster order with one or
    two in a sentence, how many there are of each kind."""
    things = raster(layout.things)
    if rng.random() < 0.2:
        return rng.choice(DESCRIBE), sentence(join([named(thing, rng, size=False) for thing in things]))
    size = description.has_sizes and rng.random() < 0.3
    group = rng.choice((1, 2, 2))
    sentences = [walk(things[at : at + group], rng, size=size) for at in range(0, len(things), group)]
    if description.has_setting and rng.random() < 0.9:
        sentences.insert(0, sentence(f"{rng.choice(OPENINGS)} {setting(layout, rng)}"))
    if rng.random() < 0.7:
        sentences.append(sentence(f"{rng.choice(IN_ALL)} {in_all(layout)}"))
    return rng.choice(DESCRIBE), " ".join(sentences)


def walk(things: list[Thing], rng: random.Random, *, size: bool) -> str:
    """`At the top there is a small red cat, and in the middle there is a blue car.`"""
    place_first = rng.random() < 0.5
    parts = [(rng.choice(PLACE_PHRASES[thing.place]), named(thing, rng, size=size, place=False)) for thing in things]
    return placed(parts, place_first=place_first)


def in_all(layout: Layout) -> str:
    """How many of each kind, in raster order."""
    return counts_of(thing.kind for thing in raster(layout.things))


def without_picture(layout: Layout, rng: random.Random) -> list[Piece]:
    """Small talk, and questions about a picture that nobody showed."""
    pieces: list[Piece] = []
    for _ in range(rng.randint(1, 4)):
        draw = rng.random()
        if draw < 0.5:
            text, answer = small_talk(rng)
        else:
            text, answer = rng.choice(DESCRIBE) if draw < 0.65 else _about_things(layout, rng, 1.0)[0], NO_PICTURE
        pieces += [user(text), assistant(answer)]
    return pieces


def _question(layout: Layout, rng: random.Random, grown: float, description: Description) -> tuple[str, str]:
    return _beyond_things(layout, description, rng) or _about_things(layout, rng, grown)


def _beyond_things(layout: Layout, description: Description, rng: random.Random) -> tuple[str, str] | None:
    """Now and then a question about the setting or a size, where the description holds them."""
    draw = rng.random()
    if description.has_setting and draw < 0.2:
        aspect = rng.choice(("ground", "weather", *("time",) * 4))  # what is learned late is asked more often
        return rng.choice(SETTING[aspect]), str(getattr(layout, aspect))
    clear = [thing for thing in layout.things if is_clear(thing, "kind", layout)]
    if description.has_sizes and clear and draw > 0.92:
        thing = rng.choice(clear)
        return rng.choice(SIZE).format(kind=thing.kind), thing.size
    return None


def _about_things(layout: Layout, rng: random.Random, grown: float) -> tuple[str, str]:
    while True:
        types = ASKED if rng.random() < 3 * grown else FACETS
        question = ask(layout.things, rng.choice(types), rng, wordings=WIDER)
        if question:
            return question.text, question.accepted[0]


def paraphrase(layout: Layout, rng: random.Random, grown: float = 1.0) -> list[Piece]:
    """One way to say it, then captions of it: what stage 1 asks for once a picture stands in the first place."""
    given = [Piece(describe(layout, rng, grown).text + "\n", GIVEN)]
    return given + [Piece(caption + "\n", CAPTION) for caption in rng.sample(captions(layout, layout.things, rng), 2)]


def raster(things: tuple[Thing, ...]) -> list[Thing]:
    return sorted(things, key=lambda thing: (thing.row, thing.column))


def describe(layout: Layout, rng: random.Random, grown: float = 1.0) -> Description:
    """All things of a layout in one of seven forms, mostly with the setting; a beginner meets the first form alone."""
    forms = tuple(FORMS.values())
    beginner = rng.random() >= 2 * grown
    text = rng.choices(forms, (1, 0, 0, 0, 0, 0, 0) if beginner else (2, 3, 3, 1, 3, 5, 1))[0](layout, rng)
    has_sizes = all(f"{thing.size} {thing.colour} {thing.kind}" in text for thing in layout.things)
    if beginner or rng.random() < 0.35:
        return Description(text, has_setting=False, has_sizes=has_sizes)
    lines = _setting(layout, rng)
    text = f"{lines}\n{text}" if rng.random() < 0.5 else f"{text}\n{lines}"
    return Description(text, has_setting=True, has_sizes=has_sizes)


def _setting(layout: Layout, rng: random.Random) -> str:
    if rng.random() < 0.5:
        return sentence(f"it is {setting(layout, rng)}")
    lines = [f"- {aspect} {getattr(layout, aspect)}" for aspect in SETTING]
    return "\n".join(rng.sample(lines, len(lines)))


def _list(layout: Layout, rng: random.Random) -> str:
    """A line a thing. The dash keeps a space before every word: with and without one, a word is two unlike tokens."""
    things = rng.sample(layout.things, len(layout.things))
    return "\n".join(f"- {thing.colour} {thing.kind} {thing.place}" for thing in things)


def _prose(layout: Layout, rng: random.Random) -> str:
    return sentence(join([named(thing, rng) for thing in raster(layout.things)]))


def _mixed_prose(layout: Layout, rng: random.Random) -> str:
    things = rng.sample(layout.things, len(layout.things))
    return " ".join(sentence(f"there is {named(thing, rng, size=rng.random() < 0.5)}") for thing in things)


def _five_captions(layout: Layout, rng: random.Random) -> str:
    return "\n".join(captions(layout, layout.things, rng))


def _by_place(layout: Layout, _rng: random.Random) -> str:
    at = {thing.place: thing for thing in layout.things}
    held = {place: f"{thing.size} {thing.colour} {thing.kind}" for place, thing in at.items()}
    return "\n".join(f"- {place}: {held.get(place, 'nothing')}" for place in PLACES)


def _map(layout: Layout, _rng: random.Random) -> str:
    """A map in words, tile by tile: a thing is named in every tile it covers, as a picture shows it in every patch."""
    tiles = []
    for row in range(MAP_SIDE):
        for column in range(MAP_SIDE):
            x, y = (column + 0.5) / MAP_SIDE, (row + 0.5) / MAP_SIDE
            covering = [
                thing
                for thing in layout.things
                if abs(thing.x - x) <= thing.width / 2 and abs(thing.y - y) <= thing.height / 2
            ]
            tiles.append(f" {covering[-1].colour} {covering[-1].kind} {covering[-1].place}" if covering else " .")
    missing = [thing for thing in layout.things if f" {thing.colour} {thing.kind} {thing.place}" not in tiles]
    return "".join(tiles).strip() + "".join(f" {thing.colour} {thing.kind} {thing.place}" for thing in missing)


def _counted(layout: Layout, rng: random.Random) -> str:
    return f"{sentence(in_all(layout))} {_prose(layout, rng)}"


FORMS: dict[str, Callable[[Layout, random.Random], str]] = {
    "list": _list,
    "prose": _prose,
    "mixed prose": _mixed_prose,
    "five captions": _five_captions,
    "by place": _by_place,
    "map": _map,
    "counted": _counted,
}
