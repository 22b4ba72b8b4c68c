"""What the rules know of English: numbers, colours, places, and how to put nouns into phrases.

This is general knowledge, as a language model has it, and says nothing about any one picture. A place is
one of nine cells, numbered row by row from the top left.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white", "black")
SIZES = ("small", "medium", "large")
PLACES = ("top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right")
PLACE_PHRASES = (
    ("at the top left", "in the top left corner", "in the upper left"),
    ("at the top", "at the top in the middle", "in the upper middle"),
    ("at the top right", "in the top right corner", "in the upper right"),
    ("on the left", "at the left side", "halfway down on the left"),
    ("in the middle", "in the center", "in the very middle"),
    ("on the right", "at the right side", "halfway down on the right"),
    ("at the bottom left", "in the bottom left corner", "in the lower left"),
    ("at the bottom", "at the bottom in the middle", "in the lower middle"),
    ("at the bottom right", "in the bottom right corner", "in the lower right"),
)
CELL_OF_PHRASE = {phrase: cell for cell, phrases in enumerate(PLACE_PHRASES) for phrase in phrases}
GROUND_PHRASES = {
    "grass": ("on the grass", "over a green meadow"),
    "sand": ("on the sand", "over a sandy beach"),
    "snow": ("on the snow", "over snowy ground"),
    "street": ("on the street", "over a grey road"),
    "water": ("on the water", "over a calm lake"),
}
TIME_PHRASES = {
    "day": ("by day", "in the daytime"),
    "evening": ("in the evening", "at dusk"),
    "night": ("at night", "in the dark of night"),
}
WEATHER_PHRASES = {
    "clear": ("in clear weather", "under a clear sky"),
    "rain": ("in the rain", "on a rainy day"),
    "snow": ("in falling snow", "while it snows"),
    "fog": ("in the fog", "on a foggy day"),
}
DRAWN_KINDS = (
    "house", "tree", "car", "boat", "sun", "cloud", "cat", "dog", "bird", "fish", "flower", "ball",
    "star", "moon", "balloon", "umbrella", "kite", "bicycle", "person", "chair", "lamp", "apple", "mushroom", "clock",
)  # fmt: skip
PLURALS = {
    "fish": "fish", "person": "people", "sheep": "sheep", "skis": "skis", "scissors": "scissors", "knife": "knives",
    "mouse": "mice", "toothbrush": "toothbrushes", "sandwich": "sandwiches", "couch": "couches", "bench": "benches",
    "bus": "buses", "wine glass": "wine glasses", "broccoli": "broccoli",
}  # fmt: skip


def plural(noun: str) -> str:
    return PLURALS.get(noun, noun + "s")


def with_article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def counted(noun: str, count: int) -> str:
    """`a cat`, `two cats`."""
    return with_article(noun) if count == 1 else f"{number(count)} {plural(noun)}"


def join(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def sentence(words: str) -> str:
    """The words with a capital and a full stop, and nothing else changed."""
    words = " ".join(words.split())
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


def at_place(cell: int, rng: random.Random) -> str:
    return rng.choice(PLACE_PHRASES[cell])


def cell_at(x: float, y: float) -> int:
    return min(2, int(y * 3)) * 3 + min(2, int(x * 3))
