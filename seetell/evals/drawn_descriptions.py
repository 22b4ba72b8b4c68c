"""Descriptions of drawn scenes, statement by statement against the layout: nothing of what writes them is used here.

A statement is a thing that is named with everything said of it (`a small red cat at the top left` is true only if kind,
colour, size and place are), a number, a relation, or the setting. A sentence in which no statement is found counts as
one that the scene does not confirm.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from seetell.sources.drawn.layout import COLOURS, KINDS, SIZES, Layout, Thing
from seetell.sources.drawn.scenes import DrawnScene
from seetell.sources.drawn.words import NUMBERS, PLACE_PHRASES, SETTING_PHRASES, plural


def _either(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_KIND_OF = {plural(kind): kind for kind in KINDS} | {kind: kind for kind in KINDS}
_PLACE_OF = {phrase: place for place, phrases in PLACE_PHRASES.items() for phrase in phrases}
_NUMBER_OF = {word: number for number, word in enumerate(NUMBERS)} | {"a": 1, "an": 1, "the": 1}
_SETTINGS = {
    phrase: (name, value)
    for name, table in SETTING_PHRASES.items()
    for value, phrases in table.items()
    for phrase in phrases
}
_PLACE = rf"(?:{_either(_PLACE_OF)})"
_THING = (
    rf"\b(?P<count>{_either(_NUMBER_OF)}) (?:(?P<size>{_either(SIZES)}) )?(?:(?P<colour>{_either(COLOURS)}) )?"
    rf"(?P<kind>{_either(_KIND_OF)})\b"
)
_MENTION = re.compile(
    rf"(?:(?P<before>{_PLACE}),? (?:there )?(?:is|are|stands|we see|one sees) )?{_THING}"
    rf"(?: (?:is |are )?(?P<after>{_PLACE}))?"
)
_NAME = (
    rf"the (?:(?P<{{0}}_size>{_either(SIZES)}) )?(?:(?P<{{0}}_colour>{_either(COLOURS)}) )?"
    rf"(?P<{{0}}_kind>{_either(_KIND_OF)})"
)
_WAYS = {"to the left of": (1, 0), "to the right of": (-1, 0), "above": (0, 1), "below": (0, -1)}
_RELATION = re.compile(rf"{_NAME.format('one')} is (?P<way>{_either(_WAYS)}) {_NAME.format('other')}")
_ALL_COLOURED = re.compile(rf"(?P<count>{_either(NUMBERS)}) of them are (?P<colour>{_either(COLOURS)})")
_LARGEST = re.compile(rf"{_NAME.format('one')}(?: (?P<place>{_PLACE}))? is the largest of them")
_SETTING = re.compile(rf"\b(?:{_either(_SETTINGS)})")


@dataclass(frozen=True, slots=True)
class Described:
    """What one description said: statements and how many are true, things and how many it names rightly; and whether
    it says a sentence or a thing twice, or ends unfinished."""

    statements: int
    true: int
    things: int
    named: int
    repeated: bool
    cut_off: bool


def read(text: str, finish_reason: str, drawn: DrawnScene) -> Described:
    """The description `text` against the scene. A thing that hardly shows may be named and need not be."""
    sentences = [each.strip() for each in re.split(r"(?<=[.!?])\s+", text.strip().lower()) if each.strip()]
    verdicts: list[bool] = []
    placed: list[tuple[str, str, str]] = []  # kind, colour, place of each thing that is given a place
    named: set[Thing] = set()
    for sentence in sentences:
        found = _special(sentence, drawn)
        if found is None:
            found = [_setting_is(match.group(), drawn.layout) for match in _SETTING.finditer(sentence)]
            for match in _MENTION.finditer(_SETTING.sub(" ", sentence)):
                said = _Said.of(match)
                right = said.fitting(drawn.layout.things)
                found.append(said.is_true(drawn))
                if found[-1]:
                    named.update(right)
                if said.place:
                    placed.append((said.kind, said.colour, said.place))
        verdicts += found or [False]
    twice = max(Counter(sentences).values(), default=0) > 1 or max(Counter(placed).values(), default=0) > 1
    complete = finish_reason == "stop" and text.rstrip().endswith((".", "!", "?"))
    seen = [thing for thing in drawn.things if thing in named]
    return Described(len(verdicts), sum(verdicts), len(drawn.things), len(seen), twice, not complete)


@dataclass(frozen=True, slots=True)
class _Said:
    """A thing, or several of a kind, and everything said of them; "" is unsaid."""

    count: int
    several: bool
    size: str
    colour: str
    kind: str
    place: str

    @classmethod
    def of(cls, match: re.Match[str]) -> _Said:
        count = _NUMBER_OF[match["count"]]
        place = _PLACE_OF.get(match["before"] or match["after"] or "", "")
        kind = _KIND_OF[match["kind"]]
        return cls(count, match["count"] in NUMBERS, match["size"] or "", match["colour"] or "", kind, place)

    def fitting(self, things: Sequence[Thing]) -> list[Thing]:
        said = {"size": self.size, "colour": self.colour, "kind": self.kind, "place": self.place}
        return [thing for thing in things if all(getattr(thing, name) == at for name, at in said.items() if at)]

    def is_true(self, drawn: DrawnScene) -> bool:
        """`two cats` says how many there are; `a cat` that there is one."""
        least, most = len(self.fitting(drawn.things)), len(self.fitting(drawn.layout.things))
        return least <= self.count <= most if self.several else most >= 1


def _special(sentence: str, drawn: DrawnScene) -> list[bool] | None:
    """Verdicts on a sentence that relates things or speaks of several of them; None for any other."""
    things = drawn.layout.things
    if match := _RELATION.search(sentence):
        across, down = _WAYS[match["way"]]
        ones, others = (_called(match, name, things) for name in ("one", "other"))
        holds = any(
            one is not other and across * (other.column - one.column) + down * (other.row - one.row) > 0
            for one in ones
            for other in others
        )
        return [holds]
    if match := _ALL_COLOURED.search(sentence):
        seen, drawn_at_all = (
            sum(thing.colour == match["colour"] for thing in those) for those in (drawn.things, drawn.layout.things)
        )
        return [seen <= NUMBERS.index(match["count"]) <= drawn_at_all]
    if match := _LARGEST.search(sentence):
        large = [thing for thing in things if thing.size == "large"]
        named = [
            thing
            for thing in _called(match, "one", things)
            if thing.place == _PLACE_OF.get(match["place"] or "", thing.place)
        ]
        return [any(thing in large for thing in named)]
    return None


def _called(match: re.Match[str], name: str, things: Sequence[Thing]) -> list[Thing]:
    said = _Said(
        1, False, match[f"{name}_size"] or "", match[f"{name}_colour"] or "", _KIND_OF[match[f"{name}_kind"]], ""
    )
    return said.fitting(things)


def _setting_is(phrase: str, layout: Layout) -> bool:
    name, value = _SETTINGS[phrase]
    return getattr(layout, name) == value


def aggregate(described: Iterable[Described]) -> Mapping[str, float | int]:
    """`true`: the share of all statements; `named`: the share of all things; `repeated`, `cut_off`: how many
    descriptions."""
    rows = list(described)
    return {
        "true": _share(sum(row.true for row in rows), sum(row.statements for row in rows)),
        "named": _share(sum(row.named for row in rows), sum(row.things for row in rows)),
        "repeated": sum(row.repeated for row in rows),
        "cut_off": sum(row.cut_off for row in rows),
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
