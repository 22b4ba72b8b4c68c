"""Sentences that are true of a photograph, each made in one place: for a conversation and for a description alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from seetell.rules.photos.clauses import Clause, held_thing, pronoun_of, subject_of
from seetell.rules.photos.evidence import PIECES, Evidence, area, call
from seetell.rules.photos.mentions import PERSON
from seetell.rules.photos.nouns import PEOPLE, word_set
from seetell.rules.photos.scenery import place_of
from seetell.rules.photos.words import CLOTHES, COLOURS, PLURAL_CLOTHES
from seetell.rules.words import join, number, with_article

MANY = 8
ALREADY_MANY = ("skis", "broccoli", "scissors")
SETTINGS = {
    "kitchen": "in a kitchen",
    "bathroom": "in a bathroom",
    "bedroom": "in a bedroom",
    "living room": "in a living room",
    "dining room": "in a dining room",
    "airport": "at an airport",
    "beach": "on a beach",
    "tennis court": "on a tennis court",
    "skate park": "in a skate park",
    "baseball field": "on a baseball field",
    "ski slope": "on a ski slope",
    "snowy slope": "on a snowy slope",
    "city street": "on a city street",
    "street": "on a street",
    "field": "in a field",
    "park": "in a park",
    "forest": "in a forest",
    "grassy place": "in a grassy place",
}
INDOORS = ("kitchen", "bathroom", "bedroom", "living room", "dining room")
OUTDOORS = ("beach", "ski slope", "snowy slope", "city street", "street", "field", "park", "forest", "grassy place")


def is_plural(evidence: Evidence, label: str) -> bool:
    """Whether an answer speaks of the label in the plural: `The skis are`, `The chairs are`."""
    many = call(evidence, label, plural=True)
    return label == "skis" or (label != "broccoli" and phrase(evidence, label) in (many, f"many {many}"))


def phrase(evidence: Evidence, label: str) -> str:
    """`a dog`, `two dogs`, `dogs`: as much as is certain."""
    if label in ALREADY_MANY:
        single = label == "scissors" and evidence.single(label)
        return with_article("pair of scissors") if single else label
    count = evidence.count(label)
    if count and count > 1:
        return f"{number(count)} {'people' if label == PERSON else call(evidence, label, plural=True)}"
    boxes, amounts = evidence.boxes[label], evidence.amounts(label)
    one = all(amount.allows(1) for amount in amounts)
    if count == 1 or (boxes <= 1 and one) or (boxes > 1 and amounts and one):
        return with_article(call(evidence, label))
    many = "many " if boxes >= MANY and label not in PIECES else ""
    return many + ("people" if label == PERSON else call(evidence, label, plural=True))


def verb(words: Sequence[str]) -> str:
    """`is` before `a dog`, `are` before `dogs` or a list."""
    first = words[0].split()[0]
    return "is" if len(words) == 1 and (first in ("a", "an") or words[0] == "broccoli") else "are"


def there(evidence: Evidence, labels: Sequence[str]) -> str:
    things = [phrase(evidence, label) for label in labels]
    return f"there {'is' if things[0].split()[0] in ('a', 'an') or things[0] == 'broccoli' else 'are'} {join(things)}"


def lead(evidence: Evidence, clauses: Sequence[Clause], *, alone: bool = False) -> str:
    """What the picture shows, in a few words: a clause of a caption, or the place with its things, or `alone`."""
    if clauses:
        clause = clauses[0]
        subject = subject_of(evidence, clause)
        if not clause.plural:
            return f"{with_article(subject)} {clause.predicate}"
        count = evidence.count(clause.label)
        some = "many" if evidence.boxes[clause.label] >= MANY and subject == "people" else "some"
        return f"{number(count) if count and count > 1 else some} {subject} {clause.predicate}"
    place = place_of(evidence)
    if evidence.depicted and not place:
        return ""
    things = [phrase(evidence, label) for label in named(evidence)[:3]]
    if place:
        return with_article(place) + (f" with {join(things)}" if things and not alone else "")
    return join(things) if things else ""


def named(evidence: Evidence) -> list[str]:
    """Sure things that captions name."""
    return [label for label in evidence.sure if evidence.amounts(label)]


def fills(evidence: Evidence) -> str:
    """The single thing that takes up a large part of the picture; empty where none does."""
    return next((label for label in evidence.sure if (box := evidence.single(label)) and area(box) > 0.35), "")


def holding(evidence: Evidence) -> str:
    """`he is holding a kite`; empty where nobody surely holds a thing."""
    label = held_thing(evidence)
    if not label or not all(amount.allows(1) for amount in evidence.amounts(PERSON)):
        return ""
    return f"{pronoun(evidence)} is holding {with_article(call(evidence, label))}"


def pronoun(evidence: Evidence) -> str:
    """The person of the picture: `he`, `she`, or named again where captions say no sex."""
    return {"m": "he", "f": "she"}.get(evidence.sex, f"the {evidence.person()}")


def inside(evidence: Evidence) -> str:
    """`there are apples in the bowl`; empty where captions do not agree on it."""
    vessel, food = contents(evidence)
    be = "are" if " and " in food or (food.endswith("s") and food != "cereals") else "is"
    return f"there {be} {food} {'in' if vessel == 'bowl' else 'on'} the {vessel}" if vessel else ""


def colour_of(evidence: Evidence, label: str) -> str:
    """The colour that captions give to a thing that is there once, or that all of several share; else nothing."""
    if label == PERSON or label in evidence.disputed or label not in evidence.sure or label == "dining table":
        return ""
    said = [m.colour for own in evidence.mentions for m in own if m.label == label and m.colour]
    alike = {"gray": "grey"}
    colours = {alike.get(colour, colour) for colour in said}
    one = evidence.single(label) is not None
    return (
        colours.pop() if len(colours) == 1 and (one or len(said) >= 2) and not _other_colours(evidence, label) else ""
    )


def _other_colours(evidence: Evidence, label: str) -> bool:
    """`a dark colored poodle`, `a red and yellow apple`: words that make a colour doubtful."""
    words = {w for words, own in zip(evidence.words, evidence.mentions, strict=True)
             for m in own if m.label == label for w in words[max(0, m.start - 5) : m.start]}  # fmt: skip
    return (
        bool(words & {"dark", "light", "colored", "coloured", "painted", "colorful", "striped"})
        or len({m.colour for own in evidence.mentions for m in own if m.label == label and m.colour} - {"grey", "gray"})
        > 1
    )


def clothing(evidence: Evidence) -> tuple[str, str]:
    """(`a red jacket`, `jacket`) that the one person of the picture wears; empty where captions differ."""
    if not evidence.single(PERSON) or evidence.depicted:
        return "", ""
    shape = re.compile(rf"\b(?:wearing|in) (?:an? )?({'|'.join(COLOURS)}) ({'|'.join(CLOTHES)})\b")
    texts = [" ".join(words) for words in evidence.words]
    for text in texts:
        found = shape.search(text)
        if not found or not set(text[: found.start()].split()) & set(PEOPLE):
            continue
        colour, piece = found[1], found[2]
        others = {m for other in texts for m in re.findall(rf"\b({'|'.join(COLOURS)}) {piece}\b", other)}
        if others == {colour}:
            return (f"{colour} {piece}" if piece in PLURAL_CLOTHES else with_article(f"{colour} {piece}")), piece
    return "", ""


def contents(evidence: Evidence) -> tuple[str, str]:
    """(`bowl`, `rice and broccoli`): what captions say a bowl or plate holds, as far as two of them or a box agree."""
    texts = [" ".join(words) for words in evidence.words]
    vessels = [vessel for vessel in ("bowl", "plate") if sum(f"{vessel} " in f"{text} " for text in texts) >= 2]
    if len(vessels) != 1 or {"bowl", "plate", "plates", "bowls"} & evidence.all_words - {vessels[0]}:
        return "", ""
    inside: list[str] = []
    for text in texts:
        found = re.search(rf"\b{vessels[0]} (?:of|filled with|full of|with|holding|topped with) (.+)", text)
        for item in re.split(r", and | and | , | with | in |, ", found[1]) if found else ():
            noun = item.strip().split()
            if (
                noun
                and len(noun[-1]) > 2
                and noun[-1] in FOODS
                and sum(noun[-1] in other.split() for other in texts) > 1
            ):
                inside.append(noun[-1])
    kept = [item for item in dict.fromkeys(inside) if not any(item in own for own in evidence.disputed)]
    return (vessels[0], join(kept)) if kept else ("", "")


FOODS = word_set(
    """
    rice broccoli meat beef noodles carrots beans vegetables apples chocolate marshmallows bananas chips
    sprinkles soup salad fruit cereal pasta cheese bread chicken fish potatoes oranges sauce pudding
    strawberries
    """
)


def saying(evidence: Evidence, clause: Clause, *, again: bool = False) -> str:
    """The clause as a sentence: `He is riding a horse`, or with its subject named."""
    subject = f"the {subject_of(evidence, clause)}" if again else pronoun_of(evidence, clause)
    return f"{subject} {'are' if clause.plural else 'is'} {clause.predicate}"
