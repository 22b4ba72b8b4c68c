"""The pen that sprites are drawn with: shapes in a unit square, inks named by what they are for.

A sprite says *where* in fractions of its box (x to the right, y down) and *with which ink*; the pen knows the
pixels. Thicknesses and disc radii are fractions of the box's shorter side, so wheels stay round in a wide box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Ink = Colour | tuple[int, int, int, int]
Point = tuple[float, float]

CLEAR: Ink = (0, 0, 0, 0)  # cuts away what was painted before

DARK_INK: Colour = (32, 30, 36)
LIGHT_INK: Colour = (238, 238, 240)


@dataclass(frozen=True, slots=True)
class Inks:
    """What a sprite of one colour is painted with: its fill, two shades of it, and a few accents."""

    main: Colour
    dark: Colour
    light: Colour
    edge: Colour  # around the whole sprite
    detail: Colour  # eyes, hands of a clock: stands out from the fill
    pale: Colour  # panes, spots, stripes: stands out from the fill, lighter where the fill allows
    wood: Colour = (112, 82, 58)
    leaf: Colour = (84, 128, 76)
    skin: Colour = (234, 192, 156)
    beak: Colour = (226, 152, 62)


def luminance(colour: Colour) -> float:
    """How bright a colour looks, 0 to 255 (Rec. 601 weights)."""
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`one` moved towards `other` by a share in [0, 1]."""
    return (
        round(one[0] + (other[0] - one[0]) * share),
        round(one[1] + (other[1] - one[1]) * share),
        round(one[2] + (other[2] - one[2]) * share),
    )


def inks_for(fill: Colour, night: bool) -> Inks:
    """The inks of a thing with this fill; by night dark things get a light edge, or they would be lost."""
    bright = luminance(fill)
    light_share = 0.22 if bright < 60 else 0.4
    edge = mix(fill, (12, 10, 18), 0.72)
    if night and bright < 110:
        edge = mix(fill, (226, 230, 240), 0.72)
    return Inks(
        main=fill,
        dark=mix(fill, (0, 0, 0), 0.55 if bright < 60 else 0.14 if bright > 225 else 0.22),
        light=mix(fill, (255, 255, 255), light_share),
        edge=edge,
        detail=LIGHT_INK if bright < 75 else DARK_INK,
        pale=(172, 190, 208) if bright > 225 else (240, 244, 248),
    )


class Pen:
    """Draws over a whole picture with alpha; what reaches beyond the unit square is cut off."""

    def __init__(self, picture: Image.Image, inks: Inks) -> None:
        self.ink = inks
        self._draw = ImageDraw.Draw(picture)
        self._width = picture.width - 1
        self._height = picture.height - 1
        self._shorter = min(self._width, self._height)

    def _at(self, point: Point) -> Point:
        return (point[0] * self._width, point[1] * self._height)

    def _thick(self, share: float) -> int:
        return max(1, round(share * self._shorter))

    def polygon(self, points: Sequence[Point], ink: Ink) -> None:
        self._draw.polygon([self._at(point) for point in points], fill=ink)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, ink: Ink, round_share: float = 0.0) -> None:
        corners = [self._at((x0, y0)), self._at((x1, y1))]
        if round_share:
            self._draw.rounded_rectangle(corners, radius=round_share * self._shorter, fill=ink)
        else:
            self._draw.rectangle(corners, fill=ink)

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, ink: Ink) -> None:
        self._draw.ellipse([self._at((x0, y0)), self._at((x1, y1))], fill=ink)

    def disc(self, x: float, y: float, radius: float, ink: Ink) -> None:
        """A true circle around (x, y)."""
        centre_x, centre_y = self._at((x, y))
        reach = radius * self._shorter
        self._draw.ellipse((centre_x - reach, centre_y - reach, centre_x + reach, centre_y + reach), fill=ink)

    def line(self, points: Sequence[Point], thickness: float, ink: Ink) -> None:
        """A stroke through the points, with round ends and corners."""
        thick = self._thick(thickness)
        places = [self._at(point) for point in points]
        self._draw.line(places, fill=ink, width=thick, joint="curve")
        if thick >= 3:
            reach = (thick - 1) / 2
            for x, y in (places[0], places[-1]):
                self._draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=ink)

    def arc(
        self, x0: float, y0: float, x1: float, y1: float, start: float, end: float, thickness: float, ink: Ink
    ) -> None:
        """Part of an ellipse's rim, from `start` to `end` degrees, clockwise from the right."""
        corners = [self._at((x0, y0)), self._at((x1, y1))]
        self._draw.arc(corners, start, end, fill=ink, width=self._thick(thickness))

    def slice(self, x0: float, y0: float, x1: float, y1: float, start: float, end: float, ink: Ink) -> None:
        """Part of an ellipse cut off by a straight line between two angles in degrees."""
        self._draw.chord([self._at((x0, y0)), self._at((x1, y1))], start, end, fill=ink)


def ring_points(x: float, y: float, radii: Sequence[float], count: int, turn: float = -90.0) -> list[Point]:
    """`count` points around (x, y), their distances cycling through `radii`; the first stands at `turn` degrees."""
    angles = [math.radians(turn + 360.0 * index / count) for index in range(count)]
    return [
        (x + radii[index % len(radii)] * math.cos(angle), y + radii[index % len(radii)] * math.sin(angle))
        for index, angle in enumerate(angles)
    ]
