"""What the rules know of English: numbers, colours, places, and how to put nouns into phrases.

This is general knowledge, as a language model has it, and says nothing about any one picture. A place is
one of nine cells, numbered row by row from the top left. The words of drawn scenes are those that describe them.
"""

from __future__ import annotations

import random

from seetell.sources.drawn import layout, words

NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
COLOURS = tuple(layout.COLOURS)
SIZES = tuple(layout.SIZES)
PLACES = layout.PLACES
PLACE_PHRASES = tuple(words.PLACE_PHRASES.values())
CELL_OF_PHRASE = {phrase: cell for cell, phrases in enumerate(PLACE_PHRASES) for phrase in phrases}
GROUND_PHRASES = words.GROUND_PHRASES
TIME_PHRASES = words.TIME_PHRASES
WEATHER_PHRASES = words.WEATHER_PHRASES
DRAWN_KINDS = layout.KINDS
with_article, join = words.with_article, words.join
PLURALS = {
    "fish": "fish", "person": "people", "sheep": "sheep", "skis": "skis", "scissors": "scissors", "knife": "knives",
    "mouse": "mice", "toothbrush": "toothbrushes", "sandwich": "sandwiches", "couch": "couches", "bench": "benches",
    "bus": "buses", "wine glass": "wine glasses", "broccoli": "broccoli",
}  # fmt: skip


def plural(noun: str) -> str:
    return PLURALS.get(noun, noun + "s")


def number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def counted(noun: str, count: int) -> str:
    """`a cat`, `two cats`."""
    return with_article(noun) if count == 1 else f"{number(count)} {plural(noun)}"


def sentence(words: str) -> str:
    """The words with a capital and a full stop, and nothing else changed."""
    words = " ".join(words.split())
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


def at_place(cell: int, rng: random.Random) -> str:
    return rng.choice(PLACE_PHRASES[cell])


def cell_at(x: float, y: float) -> int:
    return min(2, int(y * 3)) * 3 + min(2, int(x * 3))
