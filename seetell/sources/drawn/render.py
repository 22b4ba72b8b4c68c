"""From a layout to its picture, and to what the picture shows of each thing.

A sprite is painted once for each (kind, colour, size in pixels, ...), several times finer than needed, and reduced;
scenes then only paste. Which thing owns which pixel falls out of the same pastes, so how much of a thing is
visible, and the tight box around it, are exact for the very picture that is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from seetell.sources.drawn.backgrounds import paint_background, paint_weather_over
from seetell.sources.drawn.layout import COLOURS, Layout, Thing
from seetell.sources.drawn.sprites import ASPECTS, SPRITES
from seetell.sources.drawn.sprites_pen import Pen, inks_for

FINER = 4  # a sprite's sub-pixels along one pixel
BACKGROUND_FINER = 2
SMALLEST_PX = 6
Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture (RGB) and, for each thing of its layout in order, the share of it that one can see and its box.

    `visible` counts a thing's own pixels that lie in the picture and under no later thing. `boxes` are
    (x0, y0, x1, y1) as fractions, tight around all of a thing's pixels inside the picture, covered or not.
    """

    picture: Image.Image
    visible: tuple[float, ...]
    boxes: tuple[Corners, ...]


@dataclass(frozen=True, slots=True)
class PaintedSprite:
    picture: Image.Image  # RGB, edge colour where nothing is painted
    alpha: Image.Image  # L
    mask: Image.Image  # L, 255 where at least half of a pixel is painted
    area_px: int
    tight_px: tuple[int, int, int, int]


@lru_cache(maxsize=2048)
def paint_sprite(
    kind: str, colour: str, width_px: int, height_px: int, mirrored: bool, night: bool, edge_sub: int
) -> PaintedSprite:
    """A sprite with its edge, at its final size."""
    wide, high = width_px * FINER, height_px * FINER
    inner_wide, inner_high = wide - 2 * edge_sub, high - 2 * edge_sub
    aspect = ASPECTS.get(kind, 1.0)
    inner_wide, inner_high = (
        min(inner_wide, round(inner_high * aspect)),
        min(inner_high, round(inner_wide / aspect)),
    )
    inks = inks_for(COLOURS[colour], night)
    inner = Image.new("RGBA", (max(4, inner_wide), max(4, inner_high)))
    SPRITES[kind](Pen(inner, inks))
    if mirrored:
        inner = ImageOps.mirror(inner)
    whole = Image.new("RGBA", (wide, high), (*inks.edge, 0))
    corner = ((wide - inner.width) // 2, (high - inner.height) // 2)
    whole.paste(inner, corner, inner)
    spread = whole.getchannel("A").filter(ImageFilter.BoxBlur(edge_sub))
    grown = spread.point([0] * 24 + [255] * 232)
    edged = Image.new("RGBA", (wide, high), (*inks.edge, 0))
    edged.paste((*inks.edge, 255), mask=grown)
    edged.alpha_composite(whole)
    small = edged.reduce(FINER)
    alpha = small.getchannel("A")
    mask = alpha.point([0] * 128 + [255] * 128)
    return PaintedSprite(small.convert("RGB"), alpha, mask, mask.histogram()[255], mask.getbbox() or (0, 0, 0, 0))


def _placed(thing: Thing, side_px: int, night: bool) -> tuple[PaintedSprite, int, int]:
    """A thing's sprite and the pixel of its top left corner."""
    width_px = max(SMALLEST_PX, round(thing.width * side_px))
    height_px = max(SMALLEST_PX, round(thing.height * side_px))
    edge_sub = max(2, round(FINER * 0.75 * side_px / 96))
    sprite = paint_sprite(thing.kind, thing.colour, width_px, height_px, thing.mirrored, night, edge_sub)
    return sprite, round(thing.x * side_px - width_px / 2), round(thing.y * side_px - height_px / 2)


def _tight(sprite: PaintedSprite, left: int, top: int, side_px: int) -> Corners:
    x0, y0, x1, y1 = sprite.tight_px

    def share(pixel: int) -> float:
        return min(max(pixel, 0), side_px) / side_px

    return (share(left + x0), share(top + y0), share(left + x1), share(top + y1))


def draw(layout: Layout, side_px: int = 96) -> Drawing:
    """The picture of a layout together with what can be seen of each of its things."""
    if len(layout.things) > 255:
        raise ValueError(f"layout {layout.id} holds {len(layout.things)} things; at most 255 can be drawn")
    picture = paint_background(layout, side_px * BACKGROUND_FINER).reduce(BACKGROUND_FINER)
    owners = Image.new("L", (side_px, side_px))  # 0: nobody; i + 1: thing i
    night = layout.time == "night"
    areas: list[int] = []
    boxes: list[Corners] = []
    for owner, thing in enumerate(layout.things, start=1):
        sprite, left, top = _placed(thing, side_px, night)
        picture.paste(sprite.picture, (left, top), sprite.alpha)
        owners.paste(owner, (left, top, left + sprite.mask.width, top + sprite.mask.height), sprite.mask)
        areas.append(sprite.area_px)
        boxes.append(_tight(sprite, left, top, side_px))
    paint_weather_over(layout, picture)
    seen_px = owners.histogram()[1:]
    visible = tuple(seen_px[index] / area if area else 0.0 for index, area in enumerate(areas))
    return Drawing(picture, visible, tuple(boxes))


def render(layout: Layout, side_px: int = 96) -> Image.Image:
    """The picture of a layout, RGB."""
    return draw(layout, side_px).picture


def visible_fractions(layout: Layout, side_px: int = 96) -> tuple[float, ...]:
    """For each thing, the share of its pixels that no later thing covers and no border cuts off."""
    return draw(layout, side_px).visible


def boxes(layout: Layout, side_px: int = 96) -> tuple[Corners, ...]:
    """For each thing, the tight box around its pixels, as fractions clipped to the picture."""
    return draw(layout, side_px).boxes


def contact_sheet(side_px: int = 64) -> Image.Image:
    """Every kind in every colour, kinds named at the left."""
    label_px, cell_px = 80, side_px + 8
    sheet = Image.new("RGB", (label_px + cell_px * len(COLOURS), cell_px * len(SPRITES)), (176, 186, 186))
    pen = ImageDraw.Draw(sheet)
    edge_sub = max(2, round(FINER * 0.75 * side_px / 32))
    for row, kind in enumerate(SPRITES):
        pen.text((6, row * cell_px + cell_px // 2 - 6), kind, fill=(20, 20, 20))
        for column, colour in enumerate(COLOURS):
            sprite = paint_sprite(kind, colour, side_px, side_px, False, False, edge_sub)
            sheet.paste(sprite.picture, (label_px + column * cell_px + 4, row * cell_px + 4), sprite.alpha)
    return sheet
