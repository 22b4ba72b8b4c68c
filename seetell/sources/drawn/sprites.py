"""The kinds of thing that drawn scenes hold, each a small drawing of our own.

Kind is told by silhouette and colour by fill, at twenty pixels wide: few big shapes, one colour for most of the
area, accents kept small. Drawings face right.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from seetell.sources.drawn.sprites_pen import CLEAR, Colour, Pen, ring_points

TYRE: Colour = (38, 38, 42)
STEEL: Colour = (190, 190, 196)
STALK: Colour = (226, 212, 188)
HAIR: Colour = (74, 54, 44)
CLOCK_HAND: Colour = (32, 30, 36)


def house(pen: Pen) -> None:
    pen.rectangle(0.70, 0.06, 0.84, 0.40, pen.ink.dark)
    pen.rectangle(0.10, 0.40, 0.90, 1.0, pen.ink.main)
    pen.polygon([(0.5, 0.0), (1.0, 0.46), (0.0, 0.46)], pen.ink.dark)
    pen.rectangle(0.22, 0.60, 0.42, 0.78, pen.ink.pale)
    pen.rectangle(0.58, 0.60, 0.76, 1.0, pen.ink.detail)


def tree(pen: Pen) -> None:
    pen.rectangle(0.42, 0.60, 0.58, 1.0, pen.ink.wood)
    pen.ellipse(0.0, 0.26, 0.56, 0.72, pen.ink.main)
    pen.ellipse(0.44, 0.26, 1.0, 0.72, pen.ink.main)
    pen.ellipse(0.16, 0.0, 0.84, 0.56, pen.ink.main)
    pen.ellipse(0.26, 0.30, 0.74, 0.76, pen.ink.main)
    pen.ellipse(0.28, 0.08, 0.56, 0.30, pen.ink.light)
    pen.ellipse(0.58, 0.46, 0.82, 0.62, pen.ink.dark)


def car(pen: Pen) -> None:
    pen.polygon([(0.16, 0.46), (0.28, 0.0), (0.68, 0.0), (0.86, 0.46)], pen.ink.main)
    pen.rectangle(0.0, 0.36, 1.0, 0.84, pen.ink.main, round_share=0.18)
    pen.polygon([(0.27, 0.36), (0.34, 0.11), (0.46, 0.11), (0.46, 0.36)], pen.ink.pale)
    pen.polygon([(0.54, 0.36), (0.54, 0.11), (0.64, 0.11), (0.73, 0.36)], pen.ink.pale)
    pen.rectangle(0.02, 0.68, 0.98, 0.80, pen.ink.dark)
    for x in (0.24, 0.76):
        pen.disc(x, 0.81, 0.19, TYRE)
        pen.disc(x, 0.81, 0.08, STEEL)


def boat(pen: Pen) -> None:
    pen.line([(0.5, 0.02), (0.5, 0.70)], 0.05, pen.ink.wood)
    pen.polygon([(0.55, 0.04), (0.55, 0.60), (0.98, 0.60)], pen.ink.light)
    pen.polygon([(0.45, 0.14), (0.45, 0.60), (0.08, 0.60)], pen.ink.main)
    pen.polygon([(0.0, 0.68), (1.0, 0.68), (0.82, 1.0), (0.20, 1.0)], pen.ink.dark)
    pen.polygon([(0.0, 0.68), (1.0, 0.68), (0.945, 0.78), (0.06, 0.78)], pen.ink.main)


def sun(pen: Pen) -> None:
    for index in range(8):
        angle = math.radians(45.0 * index)
        across_x, across_y = -0.09 * math.sin(angle), 0.09 * math.cos(angle)
        foot_x, foot_y = 0.5 + 0.32 * math.cos(angle), 0.5 + 0.32 * math.sin(angle)
        tip = (0.5 + 0.5 * math.cos(angle), 0.5 + 0.5 * math.sin(angle))
        pen.polygon([(foot_x + across_x, foot_y + across_y), tip, (foot_x - across_x, foot_y - across_y)], pen.ink.main)
    pen.ellipse(0.22, 0.22, 0.78, 0.78, pen.ink.main)
    pen.ellipse(0.30, 0.30, 0.70, 0.70, pen.ink.light)


def cloud(pen: Pen) -> None:
    pen.rectangle(0.16, 0.55, 0.84, 1.0, pen.ink.main)
    pen.ellipse(0.0, 0.44, 0.38, 1.0, pen.ink.main)
    pen.ellipse(0.60, 0.36, 1.0, 1.0, pen.ink.main)
    pen.ellipse(0.16, 0.14, 0.56, 0.86, pen.ink.main)
    pen.ellipse(0.38, 0.0, 0.80, 0.78, pen.ink.main)
    pen.ellipse(0.46, 0.10, 0.70, 0.46, pen.ink.light)
    pen.rectangle(0.14, 0.86, 0.86, 0.94, pen.ink.dark)


def cat(pen: Pen) -> None:
    pen.line([(0.72, 0.90), (0.90, 0.84), (0.95, 0.66), (0.88, 0.50)], 0.10, pen.ink.dark)
    pen.ellipse(0.22, 0.44, 0.80, 1.08, pen.ink.main)
    pen.polygon([(0.12, 0.30), (0.14, 0.0), (0.40, 0.16)], pen.ink.main)
    pen.polygon([(0.80, 0.30), (0.78, 0.0), (0.52, 0.16)], pen.ink.main)
    pen.ellipse(0.10, 0.10, 0.82, 0.58, pen.ink.main)
    pen.ellipse(0.36, 0.62, 0.66, 1.0, pen.ink.light)
    pen.disc(0.33, 0.31, 0.055, pen.ink.detail)
    pen.disc(0.59, 0.31, 0.055, pen.ink.detail)
    pen.polygon([(0.41, 0.41), (0.51, 0.41), (0.46, 0.47)], pen.ink.detail)


def dog(pen: Pen) -> None:
    pen.line([(0.12, 0.48), (0.04, 0.22)], 0.11, pen.ink.main)
    for x, ink in ((0.20, pen.ink.dark), (0.58, pen.ink.dark), (0.10, pen.ink.main), (0.48, pen.ink.main)):
        pen.rectangle(x, 0.60, x + 0.12, 1.0, ink)
    pen.rectangle(0.07, 0.42, 0.70, 0.76, pen.ink.main, round_share=0.14)
    pen.polygon([(0.52, 0.48), (0.60, 0.20), (0.80, 0.40), (0.70, 0.66)], pen.ink.main)
    pen.rectangle(0.54, 0.06, 0.86, 0.42, pen.ink.main, round_share=0.14)
    pen.rectangle(0.70, 0.20, 1.0, 0.42, pen.ink.main, round_share=0.09)
    pen.ellipse(0.50, 0.06, 0.67, 0.50, pen.ink.dark)
    pen.disc(0.76, 0.17, 0.045, pen.ink.detail)
    pen.disc(0.96, 0.25, 0.055, pen.ink.detail)


def bird(pen: Pen) -> None:
    pen.line([(0.46, 0.78), (0.46, 1.0)], 0.05, pen.ink.beak)
    pen.line([(0.58, 0.78), (0.58, 1.0)], 0.05, pen.ink.beak)
    pen.polygon([(0.82, 0.20), (1.0, 0.30), (0.82, 0.38)], pen.ink.beak)
    pen.polygon([(0.30, 0.52), (0.0, 0.40), (0.06, 0.66), (0.34, 0.74)], pen.ink.dark)
    pen.ellipse(0.18, 0.34, 0.80, 0.88, pen.ink.main)
    pen.ellipse(0.50, 0.06, 0.88, 0.54, pen.ink.main)
    pen.polygon([(0.26, 0.48), (0.62, 0.48), (0.56, 0.70), (0.38, 0.76)], pen.ink.dark)
    pen.disc(0.74, 0.23, 0.055, pen.ink.detail)


def fish(pen: Pen) -> None:
    pen.polygon([(0.32, 0.50), (0.0, 0.10), (0.06, 0.50), (0.0, 0.90)], pen.ink.dark)
    pen.polygon([(0.44, 0.22), (0.60, 0.0), (0.76, 0.24)], pen.ink.dark)
    pen.polygon([(0.50, 0.80), (0.56, 1.0), (0.68, 0.80)], pen.ink.dark)
    pen.ellipse(0.22, 0.14, 1.0, 0.88, pen.ink.main)
    pen.ellipse(0.40, 0.56, 0.84, 0.82, pen.ink.light)
    pen.arc(0.46, 0.22, 0.72, 0.80, -70, 70, 0.06, pen.ink.dark)
    pen.disc(0.84, 0.42, 0.08, pen.ink.detail)


def flower(pen: Pen) -> None:
    pen.line([(0.5, 0.50), (0.5, 1.0)], 0.09, pen.ink.leaf)
    pen.polygon([(0.5, 0.97), (0.20, 0.76), (0.34, 0.97)], pen.ink.leaf)
    pen.polygon([(0.5, 0.97), (0.80, 0.76), (0.66, 0.97)], pen.ink.leaf)
    for angle in range(0, 360, 60):
        x = 0.5 + 0.29 * math.sin(math.radians(angle))
        y = 0.36 - 0.23 * math.cos(math.radians(angle))
        pen.ellipse(x - 0.21, y - 0.145, x + 0.21, y + 0.145, pen.ink.main)
    pen.ellipse(0.36, 0.26, 0.64, 0.46, pen.ink.detail)
    pen.ellipse(0.41, 0.295, 0.59, 0.425, pen.ink.pale)


def ball(pen: Pen) -> None:
    pen.ellipse(0.0, 0.0, 1.0, 1.0, pen.ink.main)
    pen.slice(0.0, 0.0, 1.0, 1.0, 20, 160, pen.ink.dark)
    pen.polygon([(0.01, 0.42), (0.99, 0.42), (0.99, 0.60), (0.01, 0.60)], pen.ink.pale)
    pen.ellipse(0.26, 0.10, 0.48, 0.26, pen.ink.light)


def star(pen: Pen) -> None:
    pen.polygon(ring_points(0.5, 0.53, (0.53, 0.22), 10), pen.ink.main)
    pen.polygon(ring_points(0.5, 0.53, (0.27, 0.12), 10), pen.ink.light)


def moon(pen: Pen) -> None:
    pen.ellipse(0.0, 0.0, 1.36, 1.0, pen.ink.main)
    pen.ellipse(0.40, 0.06, 1.60, 0.94, CLEAR)


def balloon(pen: Pen) -> None:
    pen.line([(0.5, 0.66), (0.42, 0.76), (0.58, 0.88), (0.5, 1.0)], 0.06, pen.ink.edge)
    pen.polygon([(0.5, 0.60), (0.38, 0.72), (0.62, 0.72)], pen.ink.dark)
    pen.ellipse(0.0, 0.0, 1.0, 0.68, pen.ink.main)
    pen.ellipse(0.20, 0.10, 0.44, 0.28, pen.ink.light)


def umbrella(pen: Pen) -> None:
    pen.line([(0.5, 0.0), (0.5, 0.88)], 0.06, pen.ink.detail)
    pen.arc(0.5, 0.76, 0.74, 1.0, 0, 180, 0.06, pen.ink.detail)
    pen.slice(0.0, 0.05, 1.0, 1.05, 180, 360, pen.ink.main)
    pen.slice(0.28, 0.05, 0.72, 1.05, 180, 360, pen.ink.light)
    for x0, x1 in ((0.0, 0.28), (0.28, 0.72), (0.72, 1.0)):
        pen.ellipse(x0, 0.48, x1, 0.66, CLEAR)
    pen.line([(0.5, 0.50), (0.5, 0.88)], 0.06, pen.ink.detail)


def kite(pen: Pen) -> None:
    pen.line([(0.5, 0.64), (0.62, 0.76), (0.44, 0.86), (0.54, 1.0)], 0.05, pen.ink.edge)
    pen.polygon([(0.5, 0.0), (0.96, 0.28), (0.5, 0.70), (0.04, 0.28)], pen.ink.main)
    pen.polygon([(0.5, 0.0), (0.96, 0.28), (0.5, 0.28)], pen.ink.light)
    pen.polygon([(0.5, 0.28), (0.04, 0.28), (0.5, 0.70)], pen.ink.dark)
    for x, y in ((0.57, 0.78), (0.47, 0.90)):
        pen.polygon(
            [(x - 0.16, y - 0.06), (x - 0.16, y + 0.06), (x + 0.16, y - 0.06), (x + 0.16, y + 0.06)], pen.ink.main
        )


def bicycle(pen: Pen) -> None:
    for x in (0.22, 0.78):
        pen.disc(x, 0.66, 0.34, pen.ink.main)
        pen.disc(x, 0.66, 0.22, pen.ink.light)
        pen.disc(x, 0.66, 0.06, pen.ink.detail)
    pen.line([(0.22, 0.66), (0.38, 0.26), (0.68, 0.26), (0.48, 0.70), (0.22, 0.66)], 0.10, pen.ink.dark)
    pen.line([(0.38, 0.26), (0.48, 0.70)], 0.10, pen.ink.dark)
    pen.line([(0.78, 0.66), (0.66, 0.10), (0.80, 0.06)], 0.10, pen.ink.dark)
    pen.line([(0.29, 0.14), (0.45, 0.14)], 0.12, pen.ink.detail)
    pen.line([(0.36, 0.14), (0.38, 0.26)], 0.08, pen.ink.dark)


def person(pen: Pen) -> None:
    pen.rectangle(0.26, 0.60, 0.48, 0.97, pen.ink.dark)
    pen.rectangle(0.52, 0.60, 0.74, 0.97, pen.ink.dark)
    pen.rectangle(0.20, 0.95, 0.48, 1.0, pen.ink.detail)
    pen.rectangle(0.52, 0.95, 0.80, 1.0, pen.ink.detail)
    pen.line([(0.26, 0.34), (0.10, 0.60)], 0.20, pen.ink.main)
    pen.line([(0.74, 0.34), (0.90, 0.60)], 0.20, pen.ink.main)
    pen.rectangle(0.18, 0.25, 0.82, 0.72, pen.ink.main, round_share=0.18)
    pen.disc(0.5, 0.135, 0.225, HAIR)
    pen.disc(0.5, 0.16, 0.19, pen.ink.skin)


def chair(pen: Pen) -> None:
    pen.rectangle(0.08, 0.0, 0.26, 1.0, pen.ink.main)
    pen.rectangle(0.78, 0.56, 0.92, 1.0, pen.ink.dark)
    pen.rectangle(0.30, 0.62, 0.42, 0.92, pen.ink.dark)
    pen.rectangle(0.08, 0.46, 0.98, 0.64, pen.ink.main)
    pen.rectangle(0.12, 0.48, 0.94, 0.54, pen.ink.light)


def lamp(pen: Pen) -> None:
    pen.rectangle(0.45, 0.46, 0.55, 0.92, pen.ink.detail)
    pen.polygon([(0.28, 0.0), (0.72, 0.0), (1.0, 0.56), (0.0, 0.56)], pen.ink.main)
    pen.polygon([(0.36, 0.0), (0.50, 0.0), (0.46, 0.56), (0.22, 0.56)], pen.ink.light)
    pen.ellipse(0.18, 0.84, 0.82, 1.12, pen.ink.dark)


def apple(pen: Pen) -> None:
    pen.line([(0.5, 0.30), (0.54, 0.04)], 0.08, pen.ink.wood)
    pen.polygon([(0.54, 0.16), (0.70, 0.0), (0.92, 0.04), (0.76, 0.19)], pen.ink.leaf)
    pen.ellipse(0.0, 0.20, 0.62, 0.92, pen.ink.main)
    pen.ellipse(0.38, 0.20, 1.0, 0.92, pen.ink.main)
    pen.ellipse(0.12, 0.42, 0.58, 1.0, pen.ink.main)
    pen.ellipse(0.42, 0.42, 0.88, 1.0, pen.ink.main)
    pen.ellipse(0.14, 0.32, 0.34, 0.56, pen.ink.light)


def mushroom(pen: Pen) -> None:
    pen.rectangle(0.36, 0.48, 0.64, 1.0, STALK, round_share=0.12)
    pen.slice(0.0, 0.0, 1.0, 1.24, 180, 360, pen.ink.main)
    pen.rectangle(0.02, 0.58, 0.98, 0.66, pen.ink.dark, round_share=0.04)
    pen.ellipse(0.42, 0.10, 0.60, 0.26, pen.ink.pale)
    pen.ellipse(0.15, 0.32, 0.31, 0.46, pen.ink.pale)
    pen.ellipse(0.69, 0.32, 0.85, 0.46, pen.ink.pale)


def clock(pen: Pen) -> None:
    pen.line([(0.30, 0.80), (0.16, 1.0)], 0.12, pen.ink.dark)
    pen.line([(0.70, 0.80), (0.84, 1.0)], 0.12, pen.ink.dark)
    pen.ellipse(0.02, 0.0, 0.40, 0.34, pen.ink.dark)
    pen.ellipse(0.60, 0.0, 0.98, 0.34, pen.ink.dark)
    pen.ellipse(0.06, 0.12, 0.94, 0.96, pen.ink.main)
    pen.ellipse(0.24, 0.29, 0.76, 0.79, pen.ink.pale)
    pen.line([(0.5, 0.54), (0.5, 0.36)], 0.07, CLOCK_HAND)
    pen.line([(0.5, 0.54), (0.63, 0.60)], 0.07, CLOCK_HAND)


SPRITES: dict[str, Callable[[Pen], None]] = {
    "house": house,
    "tree": tree,
    "car": car,
    "boat": boat,
    "sun": sun,
    "cloud": cloud,
    "cat": cat,
    "dog": dog,
    "bird": bird,
    "fish": fish,
    "flower": flower,
    "ball": ball,
    "star": star,
    "moon": moon,
    "balloon": balloon,
    "umbrella": umbrella,
    "kite": kite,
    "bicycle": bicycle,
    "person": person,
    "chair": chair,
    "lamp": lamp,
    "apple": apple,
    "mushroom": mushroom,
    "clock": clock,
}

# width over height where a sprite is not as wide as high: it stands in the middle of its box
ASPECTS: dict[str, float] = {
    "tree": 0.85,
    "car": 1.55,
    "cloud": 1.6,
    "cat": 0.85,
    "dog": 1.1,
    "fish": 1.5,
    "flower": 0.82,
    "moon": 0.72,
    "balloon": 0.62,
    "kite": 0.75,
    "bicycle": 1.5,
    "person": 0.6,
    "chair": 0.72,
    "lamp": 0.8,
    "clock": 0.9,
}
