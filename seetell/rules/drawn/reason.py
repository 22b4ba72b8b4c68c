"""Questions that take thinking, with answers that give their because.

A question never says what the picture shows. An answer rests on something that is known of the picture (the
weather, the hour, the ground, what there is and where) and adds what everybody knows of the world.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from seetell.rules.drawn.short import Pair, Writer, countable
from seetell.rules.read import Facts
from seetell.rules.words import (
    GROUND_PHRASES,
    PAIRED,
    are,
    at_place,
    counted,
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
    makers = list(_OF_THINGS if facts.things else _OF_REGIONS)
    writer.rng.shuffle(makers)
    return (pair for maker in makers if (pair := maker(facts, writer)))


def _because(writer: Writer, advice: str, why: str, more: str = "") -> str:
    """Advice and its ground, in either order."""
    said = sentence(f"{advice}, because {why}" if writer.rng.random() < 0.7 else f"because {why}, {advice}")
    return f"{said} {sentence(more)}" if more else said


# Of things: the setting and the inventory are known.


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


# Of regions: what is labelled, and where.


@dataclass(frozen=True, slots=True)
class Family:
    """Labels that call for the same advice: `labels` and `questions` are cut at the bars."""

    labels: str
    questions: str
    advice: str
    why: str


FAMILIES = (
    Family(
        "car|bus|truck|motorcycle",
        "What should somebody on foot keep in mind here?|What could be dangerous for a child here, and why?",
        "one should keep at a distance and look out for traffic",
        "a driver may not see who is close by, and a vehicle that moves off cannot stop at once",
    ),
    Family(
        "dog|cat|horse|sheep|cow|elephant|bear|zebra|giraffe|bird",
        "How should one behave when coming closer, and why?|What would be the right way to come near here?",
        "one should come closer slowly and quietly, or keep away",
        "animals are easily frightened by quick movements and noise",
    ),
    Family(
        "pizza|cake|sandwich|banana|apple|orange|carrot|broccoli|donut|hot dog",
        "What should be kept in mind so that nothing goes to waste here?|What would help to enjoy this at its best?",
        "it should be eaten soon and with clean hands",
        "food does not keep well when it stands in the open",
    ),
    Family(
        "knife|scissors|oven|microwave|toaster|fork",
        "Why should small children be watched here?|What calls for some care in this place?",
        "one should take care",
        "such things can cut, prick or burn who handles them carelessly",
    ),
    Family(
        "surfboard|skateboard|snowboard|skis|tennis racket|baseball bat|frisbee|sports ball|kite",
        "What does it take to become good at this?|What advice would you give to a beginner here?",
        "it takes practice, and a beginner should start slowly",
        "balance and a sure hand only come with time",
    ),
    Family(
        "tv|laptop|keyboard|mouse|cell phone|remote",
        "How can one avoid getting tired here?|What would be a healthy habit in this place?",
        "it is good to take breaks and look into the distance",
        "eyes and back get tired from looking at a screen for long",
    ),
    Family(
        "chair|couch|bed|bench|dining table",
        "Would this be a place to have a rest, and why?|Where could a tired guest be shown to?",
        "a guest could have a rest here",
        "furniture is made for it",
    ),
    Family(
        "train|airplane|boat",
        "How could a journey go on from here, and why?|What should a traveller do in good time?",
        "a traveller should ask for the timetable early",
        "such vehicles leave at fixed hours",
    ),
    Family(
        "umbrella|tie|backpack|handbag|suitcase",
        "What should nobody forget when leaving here, and why?|What would be easily left behind?",
        "one should look around for one's belongings before leaving",
        "such things are easily put down and forgotten",
    ),
    Family(
        "traffic light|stop sign|fire hydrant",
        "Why is it useful to keep this place free of obstacles?|What should be respected here by everybody?",
        "nothing should hide it from view or block the way to it",
        "it is meant for everybody's safety",
    ),
    Family(
        "clock", "How could one avoid being late here?", "one only has to look up now and then", "it shows the time"
    ),
    Family("book", "How could one pass an hour here?", "one could read", "reading needs no more than a quiet place"),
    Family(
        "person",
        "Whom could one ask for help here, and why?|How would a stranger find out where this is?",
        "a stranger could simply ask",
        "people mostly know where they are",
    ),
)


def _family(facts: Facts, writer: Writer) -> Pair | None:
    """Advice that goes with the labels of one family; the answer names which of them there are."""
    held = {region.label for region in facts.regions}
    fitting = [family for family in FAMILIES if held & set(family.labels.split("|"))]
    if not fitting:
        return None
    family = writer.rng.choice(fitting)
    seen = [_seen(facts, label) for label in family.labels.split("|") if label in held]
    question = writer.rng.choice(family.questions.split("|"))
    return question, sentence(f"{family.advice}, because there {are(seen)} {join(seen)} here, and {family.why}")


def _seen(facts: Facts, label: str) -> str:
    if label in PAIRED:
        return label
    return counted(label, facts.counts[label]) if facts.counts[label] else f"a group of {plural(label)}"


def _crowded_side_of_regions(facts: Facts, writer: Writer) -> Pair | None:
    counted_regions = [region.cell for region in facts.regions if region.label in countable(facts)]
    if any(region.crowd for region in facts.regions) or len(counted_regions) != len(facts.regions):
        return None
    return _side(counted_regions, writer) if len(counted_regions) > 1 else None


def _anything(facts: Facts, writer: Writer) -> Pair | None:
    """Where nothing else is known: what is there tells what kind of place it is."""
    labels = list(dict.fromkeys(region.label for region in facts.regions))
    if not labels:
        return None
    question = writer.rng.choice(
        ("What could be used to find this place again, and why?", "How would you explain to a friend where this is?")
    )
    seen = join([_seen(facts, label) for label in labels[:3]])
    return question, _because(writer, f"one could look out for {seen}", "that is what catches the eye here")


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
_OF_REGIONS: tuple[Maker, ...] = (_family, _family, _family, _crowded_side_of_regions, _anything)
