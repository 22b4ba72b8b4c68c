"""What a drawn scene holds: which things, in which colours, where; no pixels and no words.

A layout is a pure function of (split, index), so scenes are endless and never stored. The three splits are
disjoint seed ranges: what the base saw, what the demo trains on, and what it is asked about. One colour of
every kind is held out: no picture and no caption of base or training shows it, so that a right answer about
it was composed, not remembered.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 38, 38),
    "orange": (249, 140, 22),
    "yellow": (250, 220, 40),
    "green": (34, 160, 70),
    "blue": (37, 90, 225),
    "purple": (140, 60, 190),
    "pink": (250, 150, 195),
    "brown": (125, 75, 35),
    "white": (245, 245, 245),
    "black": (35, 35, 40),
}
KINDS = (
    "house", "tree", "car", "boat", "sun", "cloud", "cat", "dog", "bird", "fish", "flower", "ball",
    "star", "moon", "balloon", "umbrella", "kite", "bicycle", "person", "chair", "lamp", "apple", "mushroom", "clock",
)  # fmt: skip
GROUNDS = ("grass", "sand", "snow", "street", "water")
TIMES = ("day", "evening", "night")
WEATHERS = ("clear", "rain", "snow", "fog")
SIZES: dict[str, tuple[float, float]] = {"small": (0.20, 0.23), "medium": (0.26, 0.30), "large": (0.36, 0.41)}
PLACES = ("top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right")

SPLITS = {"base": 0, "train": 1_000_000_000, "held-out": 2_000_000_000}
SPLIT_SIZE = 1_000_000_000
JITTER = 0.10  # a centre stays this near its cell's centre, so that no place is a matter of opinion
HELD_OUT_PAIRS = frozenset((kind, tuple(COLOURS)[(7 * i + 3) % len(COLOURS)]) for i, kind in enumerate(KINDS))


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing: (x, y) is the centre and (width, height) the box it is drawn into, as fractions of the picture."""

    kind: str
    colour: str
    size: str
    x: float
    y: float
    width: float
    height: float
    mirrored: bool = False

    @property
    def column(self) -> int:
        return min(2, int(self.x * 3))

    @property
    def row(self) -> int:
        return min(2, int(self.y * 3))

    @property
    def place(self) -> str:
        return PLACES[self.row * 3 + self.column]


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole scene; later things are drawn over earlier ones."""

    id: str
    ground: str
    time: str
    weather: str
    things: tuple[Thing, ...]
    seed: int


def make_layout(split: str, index: int, *, pairs: str = "seen") -> Layout:
    """The scene number `index` of a split. `pairs`: "seen" never shows a held-out kind-colour pair, "unseen" shows at
    least one, "all" takes no notice (for text alone)."""
    if not 0 <= index < SPLIT_SIZE:
        raise ValueError(f"a drawn scene's index lies in [0, {SPLIT_SIZE}); got {index}")
    seed = SPLITS[split] + index
    rng = random.Random(f"{pairs}:{seed}")
    count = rng.choices((1, 2, 3, 4, 5, 6), weights=(1, 2, 3, 3, 2, 2))[0]
    cells = rng.sample(range(9), count)
    identities: list[tuple[str, str]] = []
    for position in range(count):
        unseen = pairs == "unseen" and (position == 0 or rng.random() < 0.2)
        identities.append(_identity(rng, identities, pairs, unseen))
    rng.shuffle(identities)
    things = tuple(_place(rng, kind, colour, cell) for (kind, colour), cell in zip(identities, cells, strict=True))
    ground, time, weather = rng.choice(GROUNDS), rng.choice(TIMES), rng.choice(WEATHERS)
    return Layout(f"drawn-{split}-{pairs}-{index}", ground, time, weather, things, seed)


def _identity(rng: random.Random, so_far: list[tuple[str, str]], pairs: str, unseen: bool) -> tuple[str, str]:
    """A kind and a colour; kinds repeat often enough for counting to be a question."""
    if unseen:
        return rng.choice(sorted(HELD_OUT_PAIRS))
    while True:
        kind = rng.choice(so_far)[0] if so_far and rng.random() < 0.3 else rng.choice(KINDS)
        colour = rng.choice(tuple(COLOURS))
        if pairs == "all" or (kind, colour) not in HELD_OUT_PAIRS:
            return kind, colour


def _place(rng: random.Random, kind: str, colour: str, cell: int) -> Thing:
    size = rng.choice(tuple(SIZES))
    side = rng.uniform(*SIZES[size])
    row, column = divmod(cell, 3)
    x, y = (
        min(max((axis + 0.5) / 3 + rng.uniform(-JITTER, JITTER), side / 2 - 0.03), 1 - side / 2 + 0.03)
        for axis in (column, row)
    )
    return Thing(kind, colour, size, x, y, side, side, rng.random() < 0.5)
