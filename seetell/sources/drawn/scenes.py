"""Drawn scenes handed on as any other picture is: with captions, boxes and the bytes of a PNG.

What is less than 60 % visible is left out of the captions, the boxes and every question: neither a person nor a
model can be asked about what is not to be seen.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass

from seetell.sources.drawn.layout import Layout, Thing, make_layout
from seetell.sources.drawn.questions import EVERY_WORDING, TYPES, Question, ask
from seetell.sources.drawn.render import draw
from seetell.sources.drawn.words import captions
from seetell.types import Box, Image, Item, Scene

SIDE_PX = 96
MIN_VISIBLE = 0.6


@dataclass(frozen=True, slots=True)
class DrawnScene:
    """A scene as it is handed on, and the truth behind it: the layout, and the things that can be seen."""

    scene: Scene
    layout: Layout
    things: tuple[Thing, ...]


def draw_scene(layout: Layout, side_px: int = SIDE_PX) -> DrawnScene | None:
    """The scene of a layout, or None if nothing in it is visible enough to be spoken of."""
    drawing = draw(layout, side_px)
    seen = [i for i, share in enumerate(drawing.visible) if share >= MIN_VISIBLE]
    if not seen:
        return None
    things = tuple(layout.things[i] for i in seen)
    boxes = tuple(box(thing, drawing.boxes[i]) for thing, i in zip(things, seen, strict=True))
    file = io.BytesIO()
    drawing.picture.save(file, "PNG", compress_level=1)
    told = captions(layout, things, random.Random(f"captions:{layout.id}"))
    scene = Scene(layout.id, told, boxes, Image(f"{layout.id}.png", file.getvalue()), side_px, side_px)
    return DrawnScene(scene, layout, things)


def box(thing: Thing, corners: tuple[float, float, float, float]) -> Box:
    x0, y0, x1, y1 = (round(edge, 3) for edge in corners)
    return Box(thing.kind, x0, y0, x1, y1)


def drawn_scenes(
    split: str, count: int, *, start: int = 0, pairs: str = "seen", side_px: int = SIDE_PX
) -> Iterator[DrawnScene]:
    """`count` scenes of a split ("base", "train" or "held-out") from index `start` on; always the same ones."""
    index = start
    while count > 0:
        drawn = draw_scene(make_layout(split, index, pairs=pairs), side_px)
        index += 1
        if drawn is not None:
            count -= 1
            yield drawn


def questions_about(drawn: DrawnScene, seed: int) -> Iterator[Item]:
    """One question of each type that the scene allows; some wordings occur in no training text.

    Existence is true in every other scene. `facts["unseen"]` is "yes" where the answer turns on a kind-colour pair
    that no training picture shows.
    """
    assert drawn.scene.image is not None
    rng = random.Random(f"questions:{seed}:{drawn.layout.id}")
    wanted = ("no", "yes")[drawn.layout.seed % 2]
    for type in TYPES:
        question = ask(drawn.things, type, rng, wordings=EVERY_WORDING)
        while type == "existence" and question is not None and question.accepted[0] != wanted:
            question = ask(drawn.things, type, rng, wordings=EVERY_WORDING)
        if question is not None:
            yield _item(drawn, drawn.scene.image, question)


def _item(drawn: DrawnScene, image: Image, question: Question) -> Item:
    return Item(
        f"{drawn.scene.id}/{question.type}",
        question.text,
        (image,),
        question.accepted,
        question.type,
        drawn.scene.id,
        {"unseen": "yes" if question.unseen else "no"},
    )
