"""Questions that take thinking, with answers that give their because.

A question never says what the picture shows. An answer rests on something that is known of the picture (the
weather, the hour, the ground, what there is and where) and adds what everybody knows of the world.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from seetell.rules.drawn.short import Pair, Writer
from seetell.rules.read import Facts
from seetell.rules.words import (
    GROUND_PHRASES,
    at_place,
    join,
    number,
    plural,
    sentence,
)

TAKE_ALONG = {
    "rain": ("an umbrella and a waterproof coat", "it is raining and one would soon be wet without them"),
    "snow": ("a warm coat, gloves and a cap", "it is snowing and the air must be cold"),
    "fog": ("a bright jacket", "it is foggy and others could not see one from afar"),
    "clear": ("no more than a light jacket", "the weather is clear and neither rain nor snow is falling"),
}
SHOES = {
    "grass": ("light shoes would do", "the ground is soft grass"),
    "sand": ("sandals would be best", "sand gets into every closed shoe"),
    "snow": ("warm boots would be best", "snow is cold and slippery"),
    "street": ("any firm shoes would do", "a street is hard and even"),
    "water": ("rubber boots would be best", "there is water everywhere"),
}
TRAVEL = {
    "grass": ("on foot", "wheels leave ugly marks in grass"),
    "sand": ("on foot", "wheels sink into sand"),
    "snow": ("on skis or with a sledge", "snow carries what glides, and wheels get stuck in it"),
    "street": ("by bicycle or by car", "a street is made for wheels"),
    "water": ("by boat", "there is water to cross"),
}
SEEING = {
    "night": ("a lamp", "it is night and there is little light"),
    "evening": ("a lamp before long", "it is evening and the light is going"),
}
ALIVE = ("cat", "dog", "bird", "fish", "person")


def reasons(facts: Facts, writer: Writer) -> Iterator[Pair]:
    """Every such pair that the facts allow, in random order."""
    makers = list(_OF_THINGS)
    writer.rng.shuffle(makers)
    return (pair for maker in makers if (pair := maker(facts, writer)))


def _because(writer: Writer, advice: str, why: str, more: str = "") -> str:
    """Advice and its ground, in either order."""
    said = sentence(f"{advice}, because {why}" if writer.rng.random() < 0.7 else f"because {why}, {advice}")
    return f"{said} {sentence(more)}" if more else said


def _take_along(facts: Facts, writer: Writer) -> Pair | None:
    if not facts.weather:
        return None
    what, why = TAKE_ALONG[facts.weather]
    question = writer.rng.choice(
        (
            "What should somebody take along who goes there?",
            "What would you put on before going out here?",
            "How should one dress for this place, and why?",
        )
    )
    more = ""
    if umbrellas := [thing for thing in facts.things if thing.kind == "umbrella" and facts.weather == "rain"]:
        more = f"the {umbrellas[0].name} {at_place(umbrellas[0].cell, writer.rng)} would come in handy"
    return question, _because(writer, f"one should take {what}", why, more)


def _shoes(facts: Facts, writer: Writer) -> Pair | None:
    if not facts.ground:
        return None
    advice, why = SHOES[facts.ground]
    question = writer.rng.choice(
        ("Which shoes would suit this place, and why?", "What should one wear on the feet here, and why?")
    )
    more = "as it is raining, they should keep the water out too" if facts.weather == "rain" else ""
    return question, _because(writer, advice, why, more)


def _travel(facts: Facts, writer: Writer) -> Pair | None:
    if not facts.ground:
        return None
    way, why = TRAVEL[facts.ground]
    question = writer.rng.choice(
        ("How would one best get on from here?", "What would be a good way to travel here, and why?")
    )
    return question, _because(writer, f"one would best travel {way}", why)


def _seeing(facts: Facts, writer: Writer) -> Pair | None:
    if not facts.time:
        return None
    question = writer.rng.choice(
        ("Would a lamp be of use here, and why?", "Would one need more light to read here, and why?")
    )
    if facts.time in SEEING:
        what, why = SEEING[facts.time]
        return question, _because(writer, f"yes, one would need {what}", why).replace(", yes,", ",")
    sky = " and it would not help against the fog" if facts.weather == "fog" else ""
    return question, f"No, because it is day{sky}."


def _photo(facts: Facts, writer: Writer) -> Pair | None:
    if not facts.weather:
        return None
    hard = {"fog": "fog hides what is far away", "rain": "drops get on the lens", "snow": "flakes get in the way"}
    why = [hard[facts.weather]] if facts.weather in hard else []
    why += ["there is little light at night"] if facts.time == "night" else []
    question = writer.rng.choice(
        ("Would it be easy to take a good photo here, and why?", "Is this a good moment for a photographer, and why?")
    )
    if why:
        return question, f"No, it would not be easy, because {join(why)}."
    light = "by day" if facts.time == "day" else "in the evening"
    return question, f"Yes, because the weather is clear and there is still enough light {light}."


def _outing(facts: Facts, writer: Writer) -> Pair | None:
    if not facts.weather:
        return None
    question = writer.rng.choice(
        ("Would this be a good time for a picnic, and why?", "Would you have lunch outside here, and why?")
    )
    bad = {"rain": "the food would get wet in the rain", "snow": "it is snowing and too cold to sit down",
           "fog": "everything is damp in the fog"}  # fmt: skip
    if facts.weather in bad:
        return question, f"No, because {bad[facts.weather]}."
    if facts.time == "night":
        return question, "No, because it is night and people are asleep, although the weather is clear."
    if facts.ground in ("water", "street"):
        return question, f"Not here, because there is no place to sit down {GROUND_PHRASES[facts.ground][0]}."
    return question, f"Yes, because the weather is clear and one can sit {GROUND_PHRASES[facts.ground][0]}."


def _alive(facts: Facts, writer: Writer) -> Pair:
    alive = [f"the {thing.name}" for thing in facts.things if thing.kind in ALIVE]
    question = writer.rng.choice(
        (
            "What here could get up and leave by itself, and why?",
            "Which of these things could move on their own, and why?",
        )
    )
    if not alive:
        return question, "None of them could, because nothing here is alive."
    they = "it is" if len(alive) == 1 else "they are"
    return question, f"{sentence(join(list(dict.fromkeys(alive))))[:-1]} could, because {they} alive."


def _crowded_side(facts: Facts, writer: Writer) -> Pair | None:
    return _side([thing.cell for thing in facts.things], writer)


def _side(cells: Sequence[int], writer: Writer) -> Pair | None:
    """The third of the picture that holds more than any other."""
    (column, most), *others = Counter(cell % 3 for cell in cells).most_common()
    if most < 2 or (others and others[0][1] == most):
        return None
    question, advice = writer.rng.choice(
        (
            ("Towards which side should one look to see the most at once, and why?", "one should look"),
            ("Where should somebody begin who wants to clear things away, and why?", "one should begin"),
            ("Where would you start to count what there is, and why?", "I would start"),
        )
    )
    where = ("on the left", "in the middle between left and right", "on the right")[column]
    these = f"{number(most)} of the {number(len(cells))} things" if most < len(cells) else f"all {number(most)} things"
    return question, _because(writer, f"{advice} {where}", f"{these} are there")


def _groups(facts: Facts, writer: Writer) -> Pair | None:
    kinds = Counter(thing.kind for thing in facts.things)
    colours = Counter(thing.colour for thing in facts.things)
    question = "How could these things be sorted, and why?"
    for by, counts in (("colour", colours), ("kind", kinds)):
        word, count = counts.most_common(1)[0]
        if 1 < count < len(facts.things):
            said = f"{number(count)} are {word if by == 'colour' else plural(word)} and the others are not"
            return question, _because(writer, f"they could be sorted by {by}", said)
    return None


Maker = Callable[[Facts, Writer], Pair | None]
_OF_THINGS: tuple[Maker, ...] = (
    _take_along,
    _shoes,
    _travel,
    _seeing,
    _photo,
    _outing,
    _alive,
    _crowded_side,
    _groups,
)
