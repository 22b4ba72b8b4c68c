"""What is certain about a photograph: what its captions and its boxes say, and neither of them contradicts.

Boxes are complete for their categories or nearly so, captions name what people notice. A thing is `sure` when a box
marks it and no caption disagrees: no other number, no other thing in its place, no "no". Whatever is left is not said.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from seetell.rules.photos.mentions import PERSON, Amount, Mention, gathers, mentions_of, person_word, words_in
from seetell.rules.photos.nouns import (
    CATEGORIES,
    CONFUSED,
    DEPICTIONS,
    FEMALE,
    MALE,
    PEOPLE,
    PERSON_HINTS,
    PERSON_PLURAL,
)
from seetell.rules.read import Facts, Region

MOST_COUNTED = 6
SMALLEST = 0.004  # of the picture's area: what a box alone may say is there
NEVER_ALONE = ("sports ball", "dining table", "oven", "tv", "mouse", "orange", "book", "tie", "potted plant", "remote")
PIECES = ("banana", "apple", "orange", "carrot", "broccoli", "donut", "cake", "pizza", "sandwich", "hot dog", "book")
# Words that captions use for other things, too: no box beside them is no contradiction.
LOOSE = ("dining table", "sports ball")
# Things that nobody overlooks, so that no box and no word is reason enough to say that there is none.
UNMISTAKABLE = (
    "bicycle", "motorcycle", "airplane", "bus", "train", "truck", "boat", "fire hydrant", "stop sign", "bird", "cat",
    "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "umbrella", "frisbee", "skis", "snowboard",
    "kite", "skateboard", "surfboard", "tennis racket", "pizza", "couch", "bed", "toilet", "laptop", "microwave",
    "refrigerator", "car", "cake", "suitcase",
)  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """Captions as words, their mentions, and the boxes of one photograph."""

    captions: tuple[str, ...]
    regions: tuple[Region, ...]
    words: tuple[list[str], ...] = field(init=False)
    mentions: tuple[list[Mention], ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(words_in(caption) for caption in self.captions))
        object.__setattr__(self, "mentions", tuple(list(mentions_of(words)) for words in self.words))

    @classmethod
    def of(cls, facts: Facts) -> Evidence:
        return cls(facts.captions, facts.regions)

    @cached_property
    def all_words(self) -> frozenset[str]:
        return frozenset(word for words in self.words for word in words)

    @cached_property
    def depicted(self) -> bool:
        """Whether some of what is seen is a picture, a statue, a toy or a reflection."""
        return bool(self.all_words & DEPICTIONS)

    @cached_property
    def boxes(self) -> Counter[str]:
        return Counter(region.label for region in self.regions)

    @cached_property
    def crowds(self) -> frozenset[str]:
        return frozenset(region.label for region in self.regions if region.crowd)

    def said_in(self, word: str) -> int:
        """How many captions have the word."""
        return sum(word in words for words in self.words)

    def amounts(self, label: str) -> list[Amount]:
        """What each caption that mentions the label says of its number; two mentions in one caption leave it open."""
        found: list[Amount] = []
        for words, mentions in zip(self.words, self.mentions, strict=True):
            own = [mention.amount for mention in mentions if mention.label == label]
            if len(own) == 1 and not (label == PERSON and gathers(words)):
                found.append(own[0])
            elif own and min(amount.count for amount in own) == 0:
                found.append(Amount(0, exact=True))
            elif len(own) > 1 or (label == PERSON and gathers(words)):
                found.append(Amount(2 if label == PERSON else 1, exact=False))
        return found

    @cached_property
    def disputed(self) -> dict[str, str]:
        """Labels on which captions and boxes disagree, with how."""
        found: dict[str, str] = {}
        for label in CATEGORIES | {PERSON: None}:
            amounts, boxes = self.amounts(label), self.boxes[label]
            if boxes and any(amount.allows(0) for amount in amounts if amount.exact):
                found[label] = f"boxes mark {label}, and a caption says that there is none"
            elif boxes and not amounts and self.all_words & set(CONFUSED.get(label, "").split()):
                found[label] = f"boxes mark {label}, and captions have another word for it"
            elif (
                boxes == 1
                and label not in PIECES
                and not all(a.allows(1) for a in amounts)
                and label not in self.crowds
            ):
                found[label] = f"one box marks {label}, and a caption speaks of several"
            elif self.regions and amounts and not boxes and label not in LOOSE:
                found[label] = f"captions name {label}, and no box marks it"
        return found

    @cached_property
    def sure(self) -> tuple[str, ...]:
        """Labels of things that are there beyond doubt, those that captions name first."""
        named = [label for label in self.boxes if label not in self.disputed and self.amounts(label)]
        alone = [label for label in self.boxes if label not in self.disputed and self._alone(label)]
        if not self.regions:
            count = Counter(mention.label for mentions in self.mentions for mention in mentions)
            named = [label for label in count if len(self.amounts(label)) >= 2 and label not in self.disputed]
        return tuple(sorted(named, key=lambda label: -len(self.amounts(label))) + alone)

    def _alone(self, label: str) -> bool:
        """Whether a box that no caption speaks of is large enough to be believed."""
        return (
            label not in (*NEVER_ALONE, PERSON)
            and not self.depicted
            and not self.amounts(label)
            and any(area(region) >= SMALLEST for region in self.regions if region.label == label and not region.crowd)
        )

    def count(self, label: str) -> int | None:
        """How many there are, where boxes and captions agree on it; else None."""
        boxes, amounts = self.boxes[label], self.amounts(label)
        if label not in self.sure or label in self.crowds or self.depicted or not 1 <= boxes <= MOST_COUNTED:
            return None
        if not amounts or not all(amount.allows(boxes) for amount in amounts) or label in NEVER_ALONE:
            return None
        exact = sum(amount.exact for amount in amounts)
        if label in PIECES and (exact < 2 or boxes == 1):
            return None
        small = any(area(region) < SMALLEST / 2 for region in self.regions if region.label == label)
        if label == PERSON and self.all_words & {"each", "another", "others"}:
            return None
        return boxes if exact >= (1 if boxes > 1 else 2) or (len(amounts) >= 2 and not small and boxes > 1) else None

    def single(self, label: str) -> Region | None:
        """The one box of a thing that is there once."""
        regions = [region for region in self.regions if region.label == label]
        sure = label in self.sure and label not in self.crowds and not self.depicted
        if not sure or len(regions) != 1 or not all(amount.allows(1) for amount in self.amounts(label)):
            return None
        return regions[0]

    def absent(self) -> list[str]:
        """Labels of things of which there are certainly none; what goes with the things that are there comes first."""
        if not self.regions or len(self.captions) < 3:
            return []
        groups = Counter(CATEGORIES[label].group for label in self.sure if label in CATEGORIES)
        found = [
            label
            for label in UNMISTAKABLE
            if not self.boxes[label] and not self.amounts(label) and not self.all_words & hints_of(label)
        ]
        likely = [label for label in found if groups[CATEGORIES[label].group] or label == "dog"]
        return sorted(likely, key=lambda label: -groups[CATEGORIES[label].group])

    def nobody(self) -> bool:
        """Whether it is certain that there is no person."""
        vehicles = any(self.boxes[label] for label in ("car", "bus", "truck", "train", "airplane", "boat"))
        words = PERSON_HINTS | set(PEOPLE)
        return bool(self.regions) and not (
            self.boxes[PERSON] or self.amounts(PERSON) or vehicles or self.depicted or self.all_words & words
        )

    # People.

    @cached_property
    def sex(self) -> str:
        """`m` or `f` where all captions that say a sex say the same; else `-`."""
        male, female = bool(self.all_words & MALE), bool(self.all_words & FEMALE)
        return "m" if male and not female else "f" if female and not male else "-"

    @cached_property
    def age(self) -> str:
        """What nearly all captions say that say anything: many call a young woman a girl."""
        ages = Counter(PEOPLE[word][1] for words in self.words for word in words if word in PEOPLE)
        adults, children = ages["adult"], ages["child"]
        return "adult" if adults > 2 * children else "child" if children > 2 * adults else "-"

    def person(self, *, plural: bool = False) -> str:
        """What to call the people that captions speak of: by sex and age, by what they do, or `person`."""
        role = [word for word in self._roles() if self.sex == "-" or self.age == "-"]
        if role:
            return PERSON_PLURAL.get(role[0], role[0]) if plural else role[0]
        return person_word(self.sex, self.age, plural)

    def _roles(self) -> list[str]:
        """Words for what a person does that at least two captions have."""
        counts = Counter(mention.name for mentions in self.mentions for mention in mentions if mention.label == PERSON)
        return [
            word
            for word, count in counts.most_common()
            if PEOPLE[word] == ("-", "-") and word not in (PERSON, "someone") and count >= 2
        ]


def hints_of(label: str) -> frozenset[str]:
    category = CATEGORIES[label]
    return category.hints | {word for name in category.names for word in name.split()} - {"control", "snow", "computer"}


def area(region: Region) -> float:
    return (region.x1 - region.x0) * (region.y1 - region.y0)


def call(evidence: Evidence, label: str, *, plural: bool = False) -> str:
    """The word for a thing in an answer."""
    if label == PERSON:
        return evidence.person(plural=plural)
    category = CATEGORIES[label]
    if label == "oven":
        return f"{'stove' if 'stove' in evidence.all_words else category.said}{'s' * plural}"
    return category.plural if plural else category.said
