"""Where a drawn scene takes place: sky and ground, the hour, the weather.

Colours are muted so that the saturated things stand out, and nothing here has the outline of a thing: the sky
holds no disc, the night no star wider than a dot. What varies (horizon, tint, tufts, waves) comes from the
layout's seed alone.
"""

from __future__ import annotations

import random

from PIL import Image, ImageDraw

from seetell.sources.drawn.layout import Layout
from seetell.sources.drawn.sprites_pen import Colour, mix

SKIES: dict[str, tuple[Colour, Colour]] = {  # at the top, at the horizon
    "day": ((150, 186, 214), (206, 220, 226)),
    "evening": ((122, 112, 148), (222, 176, 148)),
    "night": ((22, 26, 50), (52, 58, 88)),
}
GROUND_COLOURS: dict[str, Colour] = {
    "grass": (128, 168, 100),
    "sand": (226, 204, 152),
    "snow": (228, 233, 238),
    "street": (132, 132, 136),
    "water": (92, 142, 168),
}
HOUR_TINTS: dict[str, tuple[Colour, float]] = {
    "day": ((255, 255, 255), 0.0),
    "evening": ((132, 84, 84), 0.26),
    "night": ((16, 20, 44), 0.54),
}
WEATHER_VEILS: dict[str, tuple[Colour, float]] = {
    "clear": ((255, 255, 255), 0.0),
    "rain": ((104, 112, 126), 0.28),
    "snow": ((172, 180, 192), 0.22),
    "fog": ((200, 203, 206), 0.58),
}


def paint_background(layout: Layout, side_px: int) -> Image.Image:
    """Everything behind the things, painted at `side_px`."""
    rng = random.Random(layout.seed)
    tint, tint_share = HOUR_TINTS[layout.time]
    veil, veil_share = WEATHER_VEILS[layout.weather]
    veil = mix(veil, tint, tint_share * 0.8)
    shift = rng.uniform(-0.08, 0.08)

    def hue(colour: Colour, thickness: float = 1.0) -> Colour:
        nudged = mix(colour, (255, 255, 255) if shift > 0 else (0, 0, 0), abs(shift))
        return mix(nudged, veil, veil_share * thickness)

    ground = mix(GROUND_COLOURS[layout.ground], tint, tint_share)
    top, low = (hue(colour) for colour in SKIES[layout.time])
    near, dark, light = (  # thinner veils than the sky's: one must still be able to tell sand from grass
        hue(mix(ground, towards, share), 0.6)
        for towards, share in ((ground, 0.0), ((0, 0, 0), 0.16), ((255, 255, 255), 0.22))
    )
    picture = Image.new("RGB", (side_px, side_px), near)
    horizon_px = round(side_px * rng.uniform(0.48, 0.60))
    fade = Image.linear_gradient("L").resize((side_px, horizon_px), Image.Resampling.BILINEAR)
    sky = Image.composite(Image.new("RGB", fade.size, low), Image.new("RGB", fade.size, top), fade)
    picture.paste(sky, (0, 0))
    draw = ImageDraw.Draw(picture)
    if layout.time == "night" and layout.weather == "clear":
        _night_dots(draw, rng, side_px, horizon_px)
    _mark_ground(draw, rng, layout.ground, side_px, horizon_px, near, dark, light)
    if layout.weather in ("rain", "snow"):
        _fall(draw, rng, layout, side_px, 60)
    return picture


def paint_weather_over(layout: Layout, picture: Image.Image) -> None:
    """What little of the weather falls in front of the things; too little to hide any."""
    if layout.weather == "fog":
        tint, tint_share = HOUR_TINTS[layout.time]
        veil = mix(WEATHER_VEILS["fog"][0], tint, tint_share * 0.8)
        picture.paste(Image.blend(picture, Image.new("RGB", picture.size, veil), 0.16))
    elif layout.weather in ("rain", "snow"):
        _fall(ImageDraw.Draw(picture), random.Random(layout.seed + 1), layout, picture.width, 14)


def _night_dots(draw: ImageDraw.ImageDraw, rng: random.Random, side_px: int, horizon_px: int) -> None:
    reach = side_px / 400
    for _ in range(26):
        x, y = rng.uniform(0, side_px), rng.uniform(0, horizon_px * 0.9)
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=(168, 172, 192))


def _mark_ground(
    draw: ImageDraw.ImageDraw, rng: random.Random, ground: str, side_px: int, horizon_px: int,
    plain: Colour, dark: Colour, light: Colour,
) -> None:  # fmt: skip
    """The few marks that tell grass from sand, a street or water; they grow towards the viewer."""
    depth_px = side_px - horizon_px
    thick = max(1, round(side_px / 96))
    if ground == "street":
        kerb_px = horizon_px + round(depth_px * 0.14)
        draw.rectangle((0, horizon_px, side_px, kerb_px), fill=mix(plain, light, 0.9))
        draw.line((0, kerb_px, side_px, kerb_px), fill=dark, width=thick)
        y = horizon_px + depth_px * rng.uniform(0.50, 0.66)
        start = rng.uniform(-0.2, 0.0)
        for index in range(6):
            x = (start + 0.22 * index) * side_px
            draw.rectangle((x, y, x + 0.12 * side_px, y + 0.03 * side_px), fill=light)
        return
    draw.line((0, horizon_px, side_px, horizon_px), fill=mix(plain, dark, 0.6), width=thick)
    for _ in range({"grass": 34, "water": 22, "sand": 30, "snow": 7}[ground]):
        nearness = rng.random()
        x, y = rng.uniform(0, side_px), horizon_px + depth_px * (0.05 + 0.93 * nearness)
        reach = side_px * (0.010 + 0.022 * nearness)
        ink = light if rng.random() < 0.4 else dark
        if ground == "grass":
            draw.line((x - reach * 0.6, y - reach, x, y), fill=ink, width=thick)
            draw.line((x + reach * 0.6, y - reach, x, y), fill=ink, width=thick)
        elif ground == "water":
            for place in (x, x + 2 * reach):
                draw.arc((place - reach, y - reach, place + reach, y + reach * 0.6), 20, 160, fill=ink, width=thick)
        elif ground == "sand":
            draw.point((x, y), fill=ink)
            draw.line((x, y, x + reach * 0.5, y), fill=ink, width=thick)
        else:
            draw.arc((x - 5 * reach, y - reach, x + 5 * reach, y + 2 * reach), 195, 345, fill=dark, width=thick)


def _fall(draw: ImageDraw.ImageDraw, rng: random.Random, layout: Layout, side_px: int, count: int) -> None:
    """Rain as thin slanting strokes, snow as small flakes."""
    by_night = layout.time == "night"
    thick = max(1, round(side_px / 192))
    for _ in range(count):
        x, y = rng.uniform(-0.05, 1.0) * side_px, rng.uniform(-0.05, 1.0) * side_px
        if layout.weather == "rain":
            ink = (120, 134, 158) if by_night else (176, 192, 212)
            draw.line((x, y, x - 0.018 * side_px, y + 0.06 * side_px), fill=ink, width=thick)
        else:
            reach = side_px * rng.uniform(0.005, 0.009)
            draw.ellipse(
                (x - reach, y - reach, x + reach, y + reach), fill=(206, 212, 226) if by_night else (250, 251, 253)
            )
