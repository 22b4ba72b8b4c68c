"""Conversations about photographs: what is being done, what there is and is not, how many, where, in which colour.

Every question is one that somebody who sees the picture might ask, and every answer rests on captions and boxes that
agree. A thing that an earlier answer named is not asked for again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from seetell.rules.photos.clauses import Clause, clauses_of, subject_of
from seetell.rules.photos.evidence import Evidence, call
from seetell.rules.photos.mentions import PERSON, mentions_of, words_in
from seetell.rules.photos.nouns import CATEGORIES
from seetell.rules.photos.places import OPPOSITE, placed, relations
from seetell.rules.photos.reason import reasons
from seetell.rules.photos.scenery import place_of, sport_of, time_of, weather_of
from seetell.rules.photos.statements import (
    INDOORS,
    OUTDOORS,
    SETTINGS,
    clothing,
    colour_of,
    holding,
    inside,
    is_plural,
    lead,
    named,
    phrase,
    pronoun,
    saying,
    there,
)
from seetell.rules.words import NUMBERS, number, sentence, with_article

Pair = tuple[str, str]
LEAST = 3
ALIKE = ("animal", "food", "sport", "carried")  # groups of which one thing is easily taken for another


@dataclass
class Talk:
    """One conversation as it grows; `told` are the labels that were spoken of."""

    evidence: Evidence
    rng: random.Random
    clauses: list[Clause] = field(init=False)
    told: set[str] = field(default_factory=set[str])
    asked: set[str] = field(default_factory=set[str])
    pairs: list[Pair] = field(default_factory=list[Pair])

    def __post_init__(self) -> None:
        self.clauses = clauses_of(self.evidence)

    def pick(self, *wordings: str) -> str:
        return self.rng.choice(wordings)

    def add(self, pair: Pair | None) -> bool:
        if not pair or pair[0] in self.asked:
            return False
        self.asked.add(pair[0])
        self.pairs.append((pair[0], sentence(pair[1])))
        self.told |= {mention.label for mention in mentions_of(words_in(" ".join(pair)))}
        return True

    def fresh(self, labels: Iterator[str] | list[str]) -> list[str]:
        return [label for label in labels if label not in self.told]


def conversation(evidence: Evidence, rng: random.Random) -> list[Pair]:
    """Three to seven turns; none where it is not even certain what the picture shows."""
    talk = Talk(evidence, rng)
    opening = _doing if talk.clauses and rng.random() < 0.6 else _overview
    if not talk.add(opening(talk)) and not talk.add(_overview(talk)):
        return []
    checked = [_there, _not_there, _count, _place, _relation]
    others = [_doing, _where, _colour, _wearing, _holding, _setting, _hour, _sport, _contents]
    rng.shuffle(checked)
    if any((evidence.count(label) or 1) > 1 for label in evidence.sure):
        checked.sort(key=lambda maker: maker is not _count)
    rng.shuffle(others)
    mixed = [maker for pair in zip(checked, others[: len(checked)], strict=True) for maker in pair] + others[
        len(checked) :
    ]
    wanted = rng.randint(4, 6)
    grounded = 0
    for maker in mixed:
        if len(talk.pairs) < wanted and talk.add(maker(talk)):
            grounded += maker in checked
    for maker in (*checked, _not_there, _there, _not_there, _not_there):
        if (grounded < 2 or len(talk.pairs) < LEAST) and talk.add(maker(talk)):
            grounded += 1
    if rng.random() < 0.5:
        talk.add(next(reasons(evidence, rng), None))
    return talk.pairs if len(talk.pairs) >= LEAST else []


def _overview(talk: Talk) -> Pair | None:
    numbers = "|".join(NUMBERS[2:])
    said = re.sub(rf"\b(?:{numbers}) ", "some ", lead(talk.evidence, talk.clauses))  # a number is asked for later
    question = talk.pick(
        "What does the picture show?", "What can you see in this picture?", "What is this a picture of?",
        "Can you tell me what is in the photo?",
    )  # fmt: skip
    return (question, talk.pick(f"the picture shows {said}", f"it shows {said}", f"I can see {said}")) if said else None


def _doing(talk: Talk) -> Pair | None:
    clause = next((c for c in talk.clauses if not c.is_place and not _was_said(talk, c)), None)
    if not clause or "doing" in talk.told:
        return None
    talk.told.add("doing")
    be = "are" if clause.plural else "is"
    return f"What {be} the {subject_of(talk.evidence, clause)} doing?", saying(talk.evidence, clause)


def _where(talk: Talk) -> Pair | None:
    clause = next((c for c in talk.clauses if c.is_place and not _was_said(talk, c)), None)
    if not clause:
        return None
    be = "are" if clause.plural else "is"
    return f"Where {be} the {subject_of(talk.evidence, clause)}?", saying(talk.evidence, clause)


def _was_said(talk: Talk, clause: Clause) -> bool:
    """Whether an earlier answer has the clause or much of it."""
    words = clause.predicate.replace(",", "").split()
    return any(
        f"{words[0]} " in answer or sum(word in answer.split() for word in words) > len(words) // 2
        for _, answer in talk.pairs
    )


def _there(talk: Talk) -> Pair | None:
    labels = [label for label in talk.fresh(list(talk.evidence.sure)) if label not in (PERSON, "dining table")]
    if not labels:
        return None
    label = talk.rng.choice(labels[:4])
    one = phrase(talk.evidence, label)
    if one.startswith(("a ", "an ")):
        question = talk.pick(f"Is there {one} in the picture?", f"Do you see {one} anywhere?", f"Can you see {one}?")
        place = placed(talk.evidence).get(label, "")
        return question, f"yes, there is {one} {place}"
    many = call(talk.evidence, label, plural=True)
    be = "is" if label == "broccoli" else "are"
    question = talk.pick(f"{be.capitalize()} there any {many} in the picture?", f"Do you see any {many}?")
    return question, f"yes, {there(talk.evidence, [label])} in the picture"


def _not_there(talk: Talk) -> Pair | None:
    if talk.evidence.nobody() and talk.rng.random() < 0.4:
        return "Are there any people in the picture?", talk.pick(
            "no, there are no people in the picture", "no, nobody can be seen in it"
        )
    labels = talk.fresh(talk.evidence.absent()[:8])
    if not labels:
        return None
    label = talk.rng.choice(labels[:5])
    said, group = CATEGORIES[label].said, CATEGORIES[label].group
    one = "pair of skis" if label == "skis" else said
    question = talk.pick(
        f"Is there {with_article(one)} in the picture?", f"Can you see {with_article(one)} anywhere?",
        f"Do you see {with_article(one)}?",
    )  # fmt: skip
    kin = [other for other in talk.told & set(named(talk.evidence)) - {PERSON} if CATEGORIES[other].group == group]
    if (
        kin
        and group in ALIKE
        and talk.rng.random() < 0.6
        and not any(", but there" in answer for _, answer in talk.pairs)
    ):
        return question, f"no, I see no {said}, but {there(talk.evidence, sorted(kin)[:1])}"
    return question, talk.pick(f"no, there is no {said} in the picture", f"no, I do not see {with_article(one)}")


def _count(talk: Talk) -> Pair | None:
    counts = {label: count for label in talk.evidence.sure if (count := talk.evidence.count(label))}
    said = " ".join(answer for _, answer in talk.pairs).lower()
    several = [label for label, count in counts.items() if count > 1 and phrase(talk.evidence, label) not in said]
    labels = several or talk.fresh([label for label in counts if label not in ("skis", "broccoli", "scissors")])
    if not labels:
        return None
    label = labels[0] if several else talk.rng.choice(labels)
    count = counts[label]
    one, many = ("person", "people") if label == PERSON else (call(talk.evidence, label), "")
    many = many or call(talk.evidence, label, plural=True)
    question = talk.pick(
        f"How many {many} are there?", f"How many {many} can you see?", f"How many {many} are in the picture?"
    )
    answer = f"one {one}" if count == 1 else f"{number(count)} {many}"
    return question, talk.pick(f"there {'is' if count == 1 else 'are'} {answer}", f"I can see {answer}")


def _place(talk: Talk) -> Pair | None:
    places = placed(talk.evidence)
    said = " ".join(answer for _, answer in talk.pairs)
    labels = [label for label in places if label != PERSON and places[label] not in said]
    labels = talk.fresh(labels) or labels
    if not labels:
        return None
    label = talk.rng.choice(labels)
    name, be = call(talk.evidence, label), "are" if is_plural(talk.evidence, label) else "is"
    question = talk.pick(f"Where in the picture {be} the {name}?", f"In which part of the picture {be} the {name}?")
    return question, f"the {name} {be} {places[label]}"


def _relation(talk: Talk) -> Pair | None:
    found = [triple for triple in relations(talk.evidence) if "dining table" not in triple and "skis" not in triple]
    if not found:
        return None
    one, way, other = talk.rng.choice(found)
    first, second = call(talk.evidence, one), call(talk.evidence, other)
    true = f"the {first} is {way} the {second}"
    beside = way in ("to the left of", "to the right of")
    turn = talk.rng.randrange(3)
    if turn == 0 and beside:
        return f"Is the {first} to the left or to the right of the {second}?", true
    if turn == 0:
        higher = (
            f"Which is {way.split()[0]} {'up ' * way.startswith('higher')}in the picture, the {first} or the {second}?"
        )
        return higher, true
    if turn == 1:
        return f"Is the {first} {OPPOSITE[way]} the {second}?", f"no, it is {way} the {second}"
    return f"Is the {first} {way} the {second}?", f"yes, {true}"


def _colour(talk: Talk) -> Pair | None:
    colours = {label: colour for label in talk.evidence.sure if (colour := colour_of(talk.evidence, label))}
    if not colours:
        return None
    label = talk.rng.choice(sorted(colours))
    plural = is_plural(talk.evidence, label) or (talk.evidence.count(label) or 1) > 1
    name, be = call(talk.evidence, label, plural=plural), "are" if plural else "is"
    return f"What colour {be} the {name}?", talk.pick(
        f"the {name} {be} {colours[label]}", f"{_it(plural)} {colours[label]}"
    )


def _it(plural: bool) -> str:
    return "they are" if plural else "it is"


def _wearing(talk: Talk) -> Pair | None:
    worn, _ = clothing(talk.evidence)
    return (
        (f"What is the {talk.evidence.person()} wearing?", f"{pronoun(talk.evidence)} is wearing {worn}")
        if worn
        else None
    )


def _holding(talk: Talk) -> Pair | None:
    said = holding(talk.evidence)
    if not said or any("holding" in answer for _, answer in talk.pairs):
        return None
    return f"What is the {talk.evidence.person()} holding?", said


def _setting(talk: Talk) -> Pair | None:
    place = place_of(talk.evidence)
    if not place or any(place in text.lower() for pair in talk.pairs for text in pair):
        return None
    if place in (*INDOORS, *OUTDOORS) and talk.rng.random() < 0.4:
        inside = place in INDOORS
        return "Was this photo taken indoors or outdoors?", (
            f"it was taken {'indoors' if inside else 'outdoors'}, {SETTINGS[place]}"
        )
    question = talk.pick("Where was the photo taken?", "What sort of place is this?")
    return question, f"it is {with_article(place)}" if question.startswith(
        "What"
    ) else f"it was taken {SETTINGS[place]}"


def _hour(talk: Talk) -> Pair | None:
    weather, hour = weather_of(talk.evidence), time_of(talk.evidence)
    if weather and talk.rng.random() < 0.7:
        said = {"sunny": "it is a sunny day", "foggy": "it is foggy", "rainy": "it is wet: it has been raining"}[
            weather
        ]
        return "What is the weather like?", said
    return ("What time of day is it?", f"it is {hour}") if hour else None


def _sport(talk: Talk) -> Pair | None:
    game = sport_of(talk.evidence)
    if not game or any(game in text for pair in talk.pairs for text in pair) or talk.evidence.depicted:
        return None
    if game == "a video game":
        return None
    return talk.pick("Which game is being played?", "What are they playing?"), f"it is {game}"


def _contents(talk: Talk) -> Pair | None:
    said = inside(talk.evidence)
    return (f"What is {' '.join(said.split()[-3:])}?", said) if said else None


Maker = Callable[[Talk], Pair | None]
