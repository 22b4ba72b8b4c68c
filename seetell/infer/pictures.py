"""Pictures seen once: opened at the door, through the tower in batches, and remembered while there is room.

A file is known by its path, time and size, bytes by themselves. Whoever waits with a picture keeps it
alive by holding it, so that forgetting (the least recently asked for goes first) never loses one in use.

Shapes  N pictures, H and W their sides, P slots of a picture, D language width.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import PIL.Image
import torch
from torch import Tensor

from seetell.model.vlm import VLM
from seetell.pictures import file_key
from seetell.types import Image, Rejected

Shown = str | Path | bytes | Image | PIL.Image.Image  # whatever a caller has of a picture
REMEMBERED_BYTES = 256 << 20
SEEN_TOGETHER = 32


class Opener(Protocol):
    """What makes pixels of a picture: the processor's image side."""

    def pixels(self, image: Image) -> Tensor | Rejected:
        """uint8 [3, H, W], or why not."""
        ...


class Picture:
    """A picture at the door. `number` is its own as long as the engine lives; `features` [P, D] once it is seen."""

    __slots__ = ("features", "number", "pixels")

    def __init__(self, number: int, pixels: Tensor) -> None:
        self.number = number
        self.pixels: Tensor | None = pixels
        self.features: Tensor | None = None


class Pictures:
    """The pictures an engine knows."""

    def __init__(self, vlm: VLM, opener: Opener, remembered_bytes: int = REMEMBERED_BYTES) -> None:
        self._vlm = vlm
        self._opener = opener
        config: Any = vlm.language.config
        picture_bytes = vlm.slots_per_image * config.hidden_size * vlm.dtype.itemsize
        self._remembered = max(1, remembered_bytes // picture_bytes)
        self._known: OrderedDict[object, Picture] = OrderedDict()
        self._next_number = 0

    def open(self, image: Image) -> Picture | Rejected:
        """The picture, opened if it is new."""
        key = file_key(image)
        picture = self._known.get(key)
        if picture is None:
            pixels = self._opener.pixels(image)
            if isinstance(pixels, Rejected):
                return pixels
            picture = self._known[key] = Picture(self._next_number, pixels)
            self._next_number += 1
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return picture

    def see(self, pictures: Iterable[Picture]) -> None:
        """Gives features to those that have none yet."""
        new = list({picture.number: picture for picture in pictures if picture.features is None}.values())
        for first in range(0, len(new), SEEN_TOGETHER):
            group = new[first : first + SEEN_TOGETHER]
            pixels = torch.stack([picture.pixels for picture in group if picture.pixels is not None])
            for picture, features in zip(group, self._vlm.see(pixels.to(self._vlm.device)), strict=True):
                picture.features, picture.pixels = features, None

    def clear(self) -> None:
        """Forgets everything that was seen, for instance because the weights have changed."""
        self._known.clear()


def images_of(shown: Shown | Sequence[Shown] | None) -> tuple[Image, ...]:
    """What a caller shows, as pictures that nobody has opened yet."""
    if shown is None:
        return ()
    if isinstance(shown, Image | PIL.Image.Image | str | Path | bytes):
        return (_image(shown),)
    return tuple(_image(one) for one in shown)


def _image(shown: Shown) -> Image:
    if isinstance(shown, Image):
        return shown
    if isinstance(shown, bytes):
        return Image(data=shown)
    if isinstance(shown, str | Path):
        return Image(path=str(shown))
    file = io.BytesIO()
    known = shown if shown.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "F") else shown.convert("RGB")
    known.save(file, "TIFF" if known.mode == "F" else "PNG")  # PNG has no fractions, which the opener refuses
    return Image(data=file.getvalue())
