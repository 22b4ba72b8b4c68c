"""Pictures seen once: opened at the door, through the tower in batches, and remembered while there is room.

A file is known by its path, time and size, bytes by themselves. Whoever waits with a picture keeps it
alive by holding it, so that forgetting (the least recently asked for goes first) never loses one in use.

Shapes  N pictures, H and W their sides, P slots of a picture, D language width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from seetell.model.vlm import VLM
from seetell.types import Image, Rejected

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
        width: int = vlm.language.get_input_embeddings().embedding_dim
        self._remembered = max(1, remembered_bytes // (vlm.slots_per_image * width * vlm.dtype.itemsize))
        self._known: OrderedDict[object, Picture] = OrderedDict()
        self._next_number = 0

    def open(self, image: Image) -> Picture | Rejected:
        """The picture, opened if it is new."""
        key = _key(image)
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


def _key(image: Image) -> object:
    """Equal keys are equal pictures."""
    if image.data is not None:
        return image.data
    try:
        status = Path(image.path).stat()
    except OSError:
        return image.path
    return image.path, status.st_mtime_ns, status.st_size
