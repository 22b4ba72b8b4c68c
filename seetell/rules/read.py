"""What the rules teacher reads out of a prompt: the kind that is asked for, the captions and the boxes.

It reads as a language model would, from the text alone. Captions in the plain grammar of the drawn scenes ("a
large red car at the top left and a small cat …") are understood word by word; where two of them agree on
everything, they are the whole truth about the picture. Any other caption is kept as the sentence it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from seetell.ask.chat import Message
from seetell.rules.words import (
    CELL_OF_PHRASE,
    COLOURS,
    GROUND_PHRASES,
    SIZES,
    TIME_PHRASES,
    WEATHER_PHRASES,
    cell_at,
)

_NUMBER = r"(-?[\d.]+(?:e-?\d+)?)"
_BOX = re.compile(rf"(.+?): \[{_NUMBER}, {_NUMBER}, {_NUMBER}, {_NUMBER}\]")
_GROUP = "a group of "
_OPENING = re.compile(r"^(there is|the picture shows|we see|here is|a drawing of) ")


def _either(words: Sequence[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_NOUN = re.compile(
    rf"an? (?:({_either(SIZES)}) )?({_either(COLOURS)}) ([a-z]+(?: [a-z]+)?) ({_either(tuple(CELL_OF_PHRASE))})"
)
_MEANING = {
    phrase: name
    for table in (GROUND_PHRASES, TIME_PHRASES, WEATHER_PHRASES)
    for name, phrases in table.items()
    for phrase in phrases
}
_SETTING = re.compile(
    ", ".join(
        " ".join(f"({_either([phrase for phrases in table.values() for phrase in phrases])})" for table in tables)
        for tables in ((GROUND_PHRASES, TIME_PHRASES), (WEATHER_PHRASES,))
    )
    + "$"
)


@dataclass(frozen=True, slots=True)
class Region:
    """A box of the prompt; `crowd` is a group of unknown size."""

    label: str
    x0: float
    y0: float
    x1: float
    y1: float
    crowd: bool = False

    @property
    def x(self) -> float:
        return (self.x0 + self.x1) / 2

    @property
    def y(self) -> float:
        return (self.y0 + self.y1) / 2

    @property
    def cell(self) -> int:
        return cell_at(self.x, self.y)


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing that a caption names whole; `cell` is its place, `size` may be unsaid."""

    kind: str
    colour: str
    cell: int
    size: str = ""

    @property
    def column(self) -> int:
        return self.cell % 3

    @property
    def row(self) -> int:
        return self.cell // 3

    @property
    def name(self) -> str:
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True)
class Facts:
    """What a prompt says about its picture. With `things` the inventory is complete and beyond doubt."""

    captions: tuple[str, ...]
    regions: tuple[Region, ...] = ()
    things: tuple[Thing, ...] = ()
    ground: str = ""
    time: str = ""
    weather: str = ""

    @cached_property
    def counts(self) -> Counter[str]:
        """How many of each label, for labels of which there is no uncounted group."""
        grouped = {region.label for region in self.regions if region.crowd}
        return Counter(region.label for region in self.regions if region.label not in grouped)


def read_kind(messages: Sequence[Message]) -> str:
    """Which of the four kinds the system message asks for."""
    asked = " ".join(message.content for message in messages if message.role == "system").lower()
    if re.search(r"\bword or (a )?(very )?short phrase\b", asked):
        return "short"
    if "conversation" in asked:
        return "conversation"
    return "complex" if re.search(r"\bcomplex|\breason", asked) else "detail"


def read_facts(messages: Sequence[Message]) -> Facts:
    """The captions and boxes of the last user message, which is the one to be answered."""
    context = next((message.content for message in reversed(messages) if message.role == "user"), "")
    captions: list[str] = []
    regions: list[Region] = []
    for line in context.splitlines():
        if found := _BOX.fullmatch(line.strip()):
            regions.append(_region(found))
        elif line.strip():
            captions.append(line.strip())
    things = _agreed(captions, regions)
    ground, time, weather = _setting(captions)
    return Facts(tuple(captions), tuple(regions), things, ground, time, weather)


def _region(found: re.Match[str]) -> Region:
    label = found[1].strip()
    crowd = label.startswith(_GROUP)
    return Region(label.removeprefix(_GROUP), *(float(found[edge]) for edge in (2, 3, 4, 5)), crowd=crowd)


def _agreed(captions: Sequence[str], regions: Sequence[Region]) -> tuple[Thing, ...]:
    """The inventory that at least two captions give alike, and that the boxes do not contradict."""
    lists = [things for caption in captions if (things := _listed(caption))]
    seen = Counter(frozenset(Counter((thing.name, thing.cell) for thing in things).items()) for things in lists)
    if len(seen) != 1 or len(lists) < 2:
        return ()
    things = max(lists, key=lambda things: sum(bool(thing.size) for thing in things))
    if regions and Counter(region.label for region in regions) != Counter(thing.kind for thing in things):
        return ()
    return tuple(sorted(things, key=lambda thing: thing.cell))


def _setting_of(caption: str) -> tuple[str, str, str] | None:
    found = _SETTING.search(caption.rstrip(".").lower())
    return (_MEANING[found[1]], _MEANING[found[2]], _MEANING[found[3]]) if found else None


def _setting(captions: Sequence[str]) -> tuple[str, str, str]:
    """Ground, time and weather, if captions name all three and agree."""
    said = {setting for caption in captions if (setting := _setting_of(caption))}
    return said.pop() if len(said) == 1 else ("", "", "")


def _listed(caption: str) -> tuple[Thing, ...]:
    """The things of a caption that is nothing but a list of coloured things with their places; else nothing."""
    words = _OPENING.sub("", caption.rstrip(".").lower())
    things: list[Thing] = []
    for piece in re.split(r", | and ", words):
        found = _NOUN.fullmatch(piece)
        if not found:
            return ()
        things.append(Thing(found[3], found[2], CELL_OF_PHRASE[found[4]], found[1] or ""))
    return tuple(things)
