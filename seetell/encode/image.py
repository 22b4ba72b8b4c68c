"""Pictures to pixels: opened by `pictures.py`, then made square exactly as the vision tower was trained on them.

Every mode gives the grey levels of transformers' Pillow processors: `square` is CLIP's (the shorter edge to
`side_px`, then the middle is cut out), `pad` is LLaVA-1.5's (a square canvas in the mean colour first),
`stretch` is SigLIP's (both edges to `side_px`). The one exception: a picture longer than 12,000 pixels is made that
long before it is padded, for its whole square would take gigabytes. Pixels stay bytes; the mean and the standard
deviation are applied on the device.

That is the decoding "exact". "fast" does the same with torch's vector kernels, whose weights have 15 bits where
Pillow's have 22: on 161 photographs 997 of 1000 values are equal, the others 1 grey level away, one in a million 2
(`benchmarks/loader.py` counts them). Further apart is possible, not seen on photographs: Pillow 13 squeezes tall
pictures first and then narrows them, and where white noise overshoots in between, the order shows. JPEG's own
half-size decoding would be quicker still, and was left out: it moves values by dozens of levels.

Shapes: N pictures, 3 channels, H = W = side_px.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.nn import functional

from seetell.errors import BadInput, DamagedFile, UsageError
from seetell.files import read_json, write_json
from seetell.pictures import open_picture
from seetell.types import Image, Rejected

CONFIG_FILE = "preprocessor_config.json"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
LONGEST_PADDED_PX = 12_000  # a longer picture is made that long before a square is put around it
MODES = {"square": "CLIPImageProcessor", "pad": "LlavaImageProcessor", "stretch": "SiglipImageProcessor"}
SQUARES = ({"shortest_edge"}, {"height", "width"})  # the keys of a size that a square can be made of
OF_ANY_SIZE = ("max_num_patches", "max_pixels", "min_pixels", "merge_size")  # processors whose pictures differ in size
Decoding = Literal["exact", "fast"]
DECODINGS: tuple[Decoding, ...] = ("exact", "fast")


@dataclass(frozen=True, slots=True)
class ImageProcessor:
    """How a picture becomes uint8 [3, side_px, side_px]."""

    side_px: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    mode: str = "square"
    decoding: Decoding = "exact"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"no image mode is called {self.mode!r}; there are {', '.join(MODES)}")
        if self.decoding not in DECODINGS:
            raise UsageError(f"no decoding of pictures is called {self.decoding!r}; there are {', '.join(DECODINGS)}")

    def pixels(self, image: Image) -> Tensor | Rejected:
        """uint8 [3, H, W]."""
        picture = open_picture(image)
        if isinstance(picture, Rejected):
            return picture
        return torch.from_numpy(self.square(picture).transpose(2, 0, 1).copy())

    def square(self, picture: PIL.Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """[side_px, side_px, 3]"""
        side = self.side_px
        if self.mode == "pad":
            picture = _padded(picture, tuple(int(255 * value) for value in self.mean))
        width, height = picture.size
        short, long = min(width, height), max(width, height)
        new_long = int(side * long / short) if self.mode == "square" else side
        size = (side, new_long) if width <= height else (new_long, side)
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        resize = _resized_fast if self.decoding == "fast" else _resized
        return resize(picture, size)[top : top + side, left : left + side]

    def settings(self) -> dict[str, Any]:
        """As transformers writes it, so that its processors do the same."""
        resized = {"height": self.side_px, "width": self.side_px}
        stretch = self.mode == "stretch"
        return {
            "image_processor_type": MODES[self.mode],
            "do_convert_rgb": True,
            "do_resize": True,
            "size": resized if stretch else {"shortest_edge": self.side_px},
            "resample": int(PIL.Image.Resampling.BICUBIC),
            "do_center_crop": not stretch,
            **({} if stretch else {"crop_size": resized}),
            **({"do_pad": True} if self.mode == "pad" else {}),
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }

    def save(self, folder: str | Path) -> None:
        write_json(Path(folder) / CONFIG_FILE, self.settings())

    @classmethod
    def load(cls, folder: str | Path) -> ImageProcessor:
        """From a `preprocessor_config.json`: our own, a vision tower's, or a LLaVA folder's."""
        path = Path(folder) / CONFIG_FILE
        try:
            settings = read_json(path)
        except FileNotFoundError as error:
            raise BadInput(f"{folder} has no {CONFIG_FILE}, so how its pictures are made ready is unknown") from error
        except DamagedFile as error:
            raise BadInput(str(error)) from error
        return cls.from_settings(settings, str(path))

    @classmethod
    def from_settings(cls, settings: Any, where: str = CONFIG_FILE) -> ImageProcessor:
        """What a config's settings ask for; what is not done here is refused by its name, never left undone."""
        try:
            _refuse_other_ways(settings, where)
            size = settings.get("size", 224)
            crop = settings.get("crop_size", size)
            parts = (part.values() if isinstance(part, dict) else (part,) for part in (size, crop))
            edges = {int(value) for values in parts for value in values}
            factor = float(settings.get("rescale_factor", 1 / 255))
            mean, std = normalizing(settings)
        except (AttributeError, TypeError, ValueError) as error:
            raise BadInput(
                f"{where} does not say how pictures are made ready ({error}): copy it from the tower's own model."
            ) from error
        if len(edges) != 1 or settings.get("resample", 3) != 3 or abs(factor - 1 / 255) > 1e-9:
            raise BadInput(
                f"{where} asks for a resize, a crop or a scale that is not done here: size {size}, crop {crop}"
            )
        if isinstance(size, dict) and "height" in size:
            mode = "stretch"
        else:
            mode = "pad" if settings.get("do_pad") else "square"
        return cls(edges.pop(), mean, std, mode)


def _refuse_other_ways(settings: Any, where: str) -> None:
    """Refuses what would make other pixels than those of `ImageProcessor`."""
    crops = isinstance(settings.get("size"), dict) and "height" not in settings["size"]
    changed = {
        "do_resize": settings.get("do_resize", True) is not True,
        "do_rescale": settings.get("do_rescale", True) is not True,
        "do_center_crop": settings.get("do_center_crop", crops) is not True and crops and not settings.get("do_pad"),
        "do_image_splitting": bool(settings.get("do_image_splitting")),
        "image_grid_pinpoints": bool(settings.get("image_grid_pinpoints")),
        "size": isinstance(settings.get("size"), dict) and set(settings["size"]) not in SQUARES,
    } | {name: True for name in OF_ANY_SIZE if name in settings}
    if asked := [f"{name} = {settings.get(name)!r}" for name, is_other in changed.items() if is_other]:
        raise BadInput(
            f"{where} asks for {', '.join(asked)}, which is not done here: pictures are resized to one square, scaled "
            "by 1/255 and normalized."
        )


def normalizing(settings: Any) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The mean and the deviation that pixels are normalized with; without normalizing, 0 and 1."""
    if settings.get("do_normalize", True) is False:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return _three(settings.get("image_mean", CLIP_MEAN)), _three(settings.get("image_std", CLIP_STD))


def _three(numbers: Any) -> tuple[float, float, float]:
    red, green, blue = (float(number) for number in numbers)
    return red, green, blue


def _padded(picture: PIL.Image.Image, colour: tuple[int, ...]) -> PIL.Image.Image:
    """The picture in the middle of a square as wide as its longer edge."""
    if picture.width == picture.height:
        return picture
    if max(picture.size) > LONGEST_PADDED_PX:
        shrink = LONGEST_PADDED_PX / max(picture.size)
        picture = picture.resize((max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink))))
    width, height = picture.size
    side = max(width, height)
    canvas = PIL.Image.new("RGB", (side, side), colour)
    canvas.paste(picture, ((side - width) // 2, (side - height) // 2))
    return canvas


def _resized(picture: PIL.Image.Image, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(picture.resize(size, PIL.Image.Resampling.BICUBIC))


def _resized_fast(picture: PIL.Image.Image, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """By torch's kernel for bytes whose channels lie side by side, as Pillow hands them over."""
    width, height = size
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    pixels = functional.interpolate(pixels, (height, width), mode="bicubic", antialias=True)
    return pixels[0].permute(1, 2, 0).numpy()
