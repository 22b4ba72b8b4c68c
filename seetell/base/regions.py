"""A drawn scene as the tiny CLIP learns from it: its pixels, and for each thing and each empty place the patches that
show it."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

from seetell.sources.drawn.layout import PLACES, Layout, Thing
from seetell.sources.drawn.render import draw
from seetell.sources.drawn.scenes import MIN_VISIBLE, SIDE_PX
from seetell.sources.drawn.words import PLACE_PHRASES, named

PATCH_PX = 12
GRID = SIDE_PX // PATCH_PX


@dataclass(frozen=True, slots=True)
class Region:
    """The patches (indices in raster order) that show one thing, or an empty place."""

    patches: tuple[int, ...]
    thing: Thing | None
    place: str


@dataclass(frozen=True, slots=True)
class Picture:
    pixels: Tensor  # uint8 [3, SIDE_PX, SIDE_PX]
    layout: Layout
    things: tuple[Thing, ...]  # those visible enough to be spoken of
    regions: tuple[Region, ...]


def picture(layout: Layout) -> Picture:
    drawing = draw(layout, SIDE_PX)
    pixels = torch.from_numpy(numpy.array(drawing.picture)).permute(2, 0, 1).contiguous()
    things = tuple(thing for thing, seen in zip(layout.things, drawing.visible, strict=True) if seen >= MIN_VISIBLE)
    owners = _owners(layout)
    regions = [
        Region(patches, thing, thing.place)
        for thing in things
        if (patches := tuple(i for i, owner in enumerate(owners) if owner is thing))
    ]
    regions += [Region(patches, None, place) for place in PLACES if (patches := _empty_patches(layout, place))]
    return Picture(pixels, layout, things, tuple(regions))


def _owners(layout: Layout) -> list[Thing | None]:
    """For every patch the topmost thing whose inner part covers the patch's centre."""
    owners: list[Thing | None] = []
    for patch in range(GRID * GRID):
        x, y = (patch % GRID + 0.5) / GRID, (patch // GRID + 0.5) / GRID
        covering = [thing for thing in layout.things if _covers(thing, x, y, 1.0)]
        top = covering[-1] if covering else None
        owners.append(top if top and (_covers(top, x, y, 0.75) or patch == centre_patch(top)) else None)
    return owners


def _covers(thing: Thing, x: float, y: float, share: float) -> bool:
    return abs(thing.x - x) <= share * thing.width / 2 and abs(thing.y - y) <= share * thing.height / 2


def centre_patch(thing: Thing) -> int:
    return min(GRID - 1, int(thing.y * GRID)) * GRID + min(GRID - 1, int(thing.x * GRID))


def _empty_patches(layout: Layout, place: str) -> tuple[int, ...]:
    """The patches in a cell of the 3x3 grid that show the ground and the sky alone; none where a thing covers its
    centre."""
    centre = PLACES.index(place)
    if any(_covers(thing, (centre % 3 + 0.5) / 3, (centre // 3 + 0.5) / 3, 1.3) for thing in layout.things):
        return ()
    middles = ((patch, (patch % GRID + 0.5) / GRID, (patch // GRID + 0.5) / GRID) for patch in range(GRID * GRID))
    return tuple(
        patch
        for patch, x, y in middles
        if int(y * 3) * 3 + int(x * 3) == centre and not any(_covers(thing, x, y, 1.3) for thing in layout.things)
    )


def phrase(region: Region, rng: random.Random) -> str:
    if region.thing is None:
        return f"nothing {rng.choice(PLACE_PHRASES[region.place])}"
    return named(region.thing, rng)


def key(region: Region) -> tuple[str, ...]:
    thing = region.thing
    return (region.place,) if thing is None else (region.place, thing.kind, thing.colour, thing.size)


def spoken_of(picture: Picture, rng: random.Random) -> list[Region]:
    """Every thing, and one place where nothing is."""
    empty = [region for region in picture.regions if region.thing is None]
    return [region for region in picture.regions if region.thing is not None] + rng.sample(empty, min(1, len(empty)))


def shown_patch(region: Region, central: bool, rng: random.Random) -> int:
    return centre_patch(region.thing) if central and region.thing is not None else rng.choice(region.patches)
