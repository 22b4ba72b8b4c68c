"""The questions about drawn scenes asked as second and third turns: after a description, another question, a greeting.

A talk is what the user says, turn by turn, the picture in the first; whoever is measured gives the replies between. The
ways take turns from question to question, so every question is asked once second and once third.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from seetell.types import Item, Turn

GREETING = "Hello there!"
SECOND = (("description",), ("question",), ("greeting",))
THIRD = (("description", "question"), ("greeting", "description"), ("question", "greeting"))
TURNS: Mapping[str, tuple[tuple[str, ...], ...]] = {"second": SECOND, "third": THIRD}


@dataclass(frozen=True, slots=True)
class Talk:
    """A question, what comes before it, and all that the user says."""

    item: Item
    after: tuple[str, ...]
    users: tuple[Turn, ...]


def first_turn(item: Item, text: str = "") -> Turn:
    """The picture, and the question or another text."""
    return Turn("user", (*item.images, text or item.question))


def talks(items: Sequence[Item], turn: str, requests: Mapping[str, str]) -> list[Talk]:
    """One talk for each item whose scene has another question. `requests` are the words by scene in which its
    description is asked for."""
    by_scene: dict[str, list[Item]] = {}
    for item in items:
        by_scene.setdefault(item.group, []).append(item)
    made: list[Talk] = []
    for number, item in enumerate(items):
        others = by_scene[item.group]
        if len(others) < 2:
            continue
        other = others[(others.index(item) + 1) % len(others)]
        said = {"description": requests[item.group], "question": other.question, "greeting": GREETING}
        after = TURNS[turn][number % len(TURNS[turn])]
        first, *rest = [*(said[way] for way in after), item.question]
        users = (first_turn(item, first), *(Turn("user", (text,)) for text in rest))
        made.append(Talk(item, after, users))
    return made


def without_picture(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The same words, nothing to look at."""
    return tuple(replace(turn, parts=(turn.text,)) for turn in turns)
