"""Drawn scenes as pixels: the same layout gives the same bytes, colours dominate, and what is visible is exact."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from seetell.sources.drawn import render
from seetell.sources.drawn.backgrounds import paint_background
from seetell.sources.drawn.layout import COLOURS, GROUNDS, KINDS, TIMES, WEATHERS, Layout, Thing, make_layout
from seetell.sources.drawn.sprites import ASPECTS, SPRITES
from seetell.sources.drawn.sprites_pen import inks_for


def scene(*things: Thing, ground: str = "grass", time: str = "day", weather: str = "clear", seed: int = 7) -> Layout:
    return Layout("scene", ground, time, weather, things, seed)


def thing(
    kind: str, colour: str = "red", x: float = 0.5, y: float = 0.5, side: float = 0.4, mirrored: bool = False
) -> Thing:
    return Thing(kind, colour, "large", x, y, side, side, mirrored)


def test_every_kind_and_no_other_has_a_sprite():
    assert tuple(SPRITES) == KINDS
    assert set(ASPECTS) <= set(KINDS)


@pytest.mark.parametrize("index", range(4))
def test_the_same_layout_gives_the_same_bytes(index: int):
    layout = make_layout("train", index)
    first = render.draw(layout)
    render.paint_sprite.cache_clear()
    second = render.draw(layout)
    assert first.picture.tobytes() == second.picture.tobytes()
    assert (first.visible, first.boxes) == (second.visible, second.boxes)
    assert first.picture.mode == "RGB"
    assert first.picture.size == (96, 96)


@pytest.mark.parametrize("kind", KINDS)
def test_a_thing_paints_inside_its_box_and_nowhere_else(kind: str):
    empty = render.render(scene())
    drawing = render.draw(scene(thing(kind)))
    changed = ImageChops.difference(empty, drawing.picture).getbbox()
    assert changed is not None
    asked = (0.5 - 0.2) * 96 - 1, (0.5 + 0.2) * 96 + 1
    assert min(changed[:2]) >= asked[0]
    assert max(changed[2:]) <= asked[1]
    x0, y0, x1, y1 = drawing.boxes[0]
    assert max(x1 - x0, y1 - y0) >= 0.8 * 0.4  # the sprite fills its box along one side at least
    assert all(abs(edge * 96 - pixel) <= 1 for edge, pixel in zip((x0, y0, x1, y1), changed, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_named_colour_dominates(kind: str):
    for colour, fill in COLOURS.items():
        inks = inks_for(fill, night=False)
        sprite = render.paint_sprite(kind, colour, 32, 32, False, False, 3)
        own = [inks.main, inks.dark, inks.light]
        near = sum(
            min(sum((a - b) ** 2 for a, b in zip(pixel, ink, strict=True)) for ink in own) <= 40**2
            for pixel, painted in zip(pixels(sprite.picture), sprite.mask.tobytes(), strict=True)
            if painted
        )
        assert near / sprite.area_px >= 0.52, (kind, colour, near / sprite.area_px)


def pixels(picture: Image.Image) -> list[tuple[int, ...]]:
    data = picture.tobytes()
    return [tuple(data[index : index + 3]) for index in range(0, len(data), 3)]


def test_the_colours_of_one_kind_all_look_different():
    means = [render.paint_sprite("ball", c, 24, 24, False, False, 3).picture.reduce(24) for c in COLOURS]
    assert len({picture.tobytes() for picture in means}) == len(COLOURS)


@pytest.mark.parametrize("night", [False, True])
def test_the_edge_stands_out_from_the_fill(night: bool):
    for fill in COLOURS.values():
        inks = inks_for(fill, night)
        if night or max(fill) > 60:  # black by day is its own edge: every ground is lighter than it
            assert max(abs(a - b) for a, b in zip(inks.edge, fill, strict=True)) >= 60


def test_visibility_alone_half_out_and_covered():
    alone, covered = render.visible_fractions(
        scene(thing("ball", side=0.3), thing("ball", "blue", x=0.1, y=0.1, side=0.1))
    )
    assert (alone, covered) == (1.0, 1.0)
    under, over = render.visible_fractions(scene(thing("apple", side=0.1), thing("ball", "blue", side=0.5)))
    assert (under, over) == (0.0, 1.0)
    (half,) = render.visible_fractions(scene(thing("ball", x=0.0, side=0.4)))
    assert 0.45 <= half <= 0.55
    (outside,) = render.visible_fractions(scene(thing("ball", x=3.0)))
    assert outside == 0.0


def test_boxes_are_clipped_to_the_picture_and_do_not_shrink_when_covered():
    (x0, y0, x1, y1), _ = render.boxes(scene(thing("ball", x=0.0), thing("ball", "blue")))
    assert (x0, y0, x1, y1) == pytest.approx((0.0, 0.3, 0.2, 0.7), abs=0.02)


@pytest.mark.parametrize("kind", ["dog", "fish", "bird", "cat", "moon", "chair", "umbrella", "house"])
def test_mirrored_is_another_picture(kind: str):
    assert render.render(scene(thing(kind))).tobytes() != render.render(scene(thing(kind, mirrored=True))).tobytes()


@settings(max_examples=25, deadline=None)
@given(side_px=st.integers(32, 512), index=st.integers(0, 10_000))
def test_any_size_works(side_px: int, index: int):
    layout = make_layout("base", index, pairs="all")
    drawing = render.draw(layout, side_px)
    assert drawing.picture.size == (side_px, side_px)
    assert len(drawing.visible) == len(drawing.boxes) == len(layout.things)
    assert all(0.0 <= share <= 1.0 for share in drawing.visible)
    assert all(0.0 <= x0 < x1 <= 1.0 and 0.0 <= y0 < y1 <= 1.0 for x0, y0, x1, y1 in drawing.boxes)


def test_ground_hour_and_weather_each_change_the_picture():
    seen = {
        paint_background(scene(ground=ground, time=time, weather=weather), 48).tobytes()
        for ground in GROUNDS
        for time in TIMES
        for weather in WEATHERS
    }
    assert len(seen) == len(GROUNDS) * len(TIMES) * len(WEATHERS)


def test_the_seed_varies_the_background_alone():
    layout = scene(thing("cat"))
    other = dataclasses.replace(layout, seed=8)
    one, two = render.draw(layout), render.draw(other)
    assert one.picture.tobytes() != two.picture.tobytes()
    assert (one.visible, one.boxes) == (two.visible, two.boxes)


def test_too_many_things_are_refused():
    with pytest.raises(ValueError, match="at most 255"):
        render.draw(scene(*[thing("ball")] * 256))


def test_the_contact_sheet_shows_every_kind_in_every_colour():
    sheet = render.contact_sheet(24)
    assert sheet.size == (80 + 32 * len(COLOURS), 32 * len(SPRITES))
