"""Questions about photographs that a word or two answer: existence, count, place and relation, each only if certain."""

from __future__ import annotations

import random

from seetell.rules.photos.evidence import Evidence, call
from seetell.rules.photos.mentions import PERSON
from seetell.rules.photos.places import placed, relations
from seetell.rules.photos.statements import colour_of, phrase
from seetell.rules.words import number, with_article

Pair = tuple[str, str]
MOST, MOST_OF_A_TYPE = 8, 2
SPOTS = {
    "on the left side": "left", "on the right side": "right", "in the middle": "middle",
    "in the upper left part": "top left", "in the upper right part": "top right", "in the upper part": "top",
    "in the lower left part": "bottom left", "in the lower right part": "bottom right", "in the lower part": "bottom",
}  # fmt: skip


def short_pairs(evidence: Evidence, rng: random.Random) -> list[Pair]:
    """Up to eight pairs, no type more than twice."""
    found = [pairs for make in (_there, _not_there, _count, _place, _relation, _colour) if (pairs := make(evidence))]
    chosen = [pair for pairs in found for pair in rng.sample(pairs, min(MOST_OF_A_TYPE, len(pairs)))]
    rng.shuffle(chosen)
    return list(dict(chosen[:MOST]).items())


def _there(evidence: Evidence) -> list[Pair]:
    things = [phrase(evidence, label) for label in evidence.sure if label != PERSON]
    return [(f"Is there {thing}?", "yes") for thing in things if thing.startswith(("a ", "an "))]


def _not_there(evidence: Evidence) -> list[Pair]:
    labels = [label for label in evidence.absent()[:6] if label != "skis"]
    return [(f"Is there {with_article(call(evidence, label))}?", "no") for label in labels]


def _count(evidence: Evidence) -> list[Pair]:
    counts = {label: count for label in evidence.sure if (count := evidence.count(label))}
    return [
        (f"How many {'people' if label == PERSON else call(evidence, label, plural=True)} are there?", number(count))
        for label, count in counts.items()
        if label not in ("skis", "broccoli", "scissors")
    ]


def _place(evidence: Evidence) -> list[Pair]:
    return [
        (f"Where is the {call(evidence, label)}?", SPOTS[place.removesuffix(" of the picture")])
        for label, place in placed(evidence).items()
    ]


def _relation(evidence: Evidence) -> list[Pair]:
    return [
        (f"Is the {call(evidence, one)} to the left or to the right of the {call(evidence, other)}?", way.split()[2])
        for one, way, other in relations(evidence)
        if way in ("to the left of", "to the right of") and not {"dining table", "skis"} & {one, other}
    ]


def _colour(evidence: Evidence) -> list[Pair]:
    return [
        (f"What colour is the {call(evidence, label)}?", colour)
        for label in evidence.sure
        if evidence.single(label) and (colour := colour_of(evidence, label))
    ]
