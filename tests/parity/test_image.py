"""Pixels equal transformers' Pillow processors to the grey level, and normalized ones to 1e-6."""

import io
import random
import warnings

import numpy as np
import PIL.Image
import pytest
import torch
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from seetell.encode.image import ImageProcessor
from seetell.model.tower import normalized
from seetell.types import Image

SIZES = [(336, 336), (427, 300), (50, 31), (1, 1), (30, 95), (224, 225)]
HALF = (0.5, 0.5, 0.5)


def _picture(size: tuple[int, int], mode: str = "RGB") -> PIL.Image.Image:
    lots = np.random.default_rng(size[0] * 1000 + size[1])
    grey = lots.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    smooth = PIL.Image.fromarray(grey[: max(1, size[1] // 9), : max(1, size[0] // 9)], "RGBA").resize(size)
    return PIL.Image.blend(smooth, PIL.Image.fromarray(grey, "RGBA"), 0.3).convert(mode)


def _theirs(mode: str, side: int):
    square = {"height": side, "width": side}
    if mode == "stretch":
        return SiglipImageProcessorPil(size=square)
    make = LlavaImageProcessorPil if mode == "pad" else CLIPImageProcessorPil
    return make(size={"shortest_edge": side}, crop_size=square, do_pad=mode == "pad")


def _ours(mode: str, side: int) -> ImageProcessor:
    return ImageProcessor(side, HALF, HALF, mode) if mode == "stretch" else ImageProcessor(side, mode=mode)


def _png(picture: PIL.Image.Image) -> Image:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return Image(data=file.getvalue())


@pytest.mark.parametrize("side", [32, 336])
@pytest.mark.parametrize("mode", ["square", "pad", "stretch"])
def test_every_size_equals_transformers(mode: str, side: int) -> None:
    theirs, ours = _theirs(mode, side), _ours(mode, side)
    for size in SIZES:
        picture = _picture(size)
        pixels = ours.pixels(_png(picture))
        assert isinstance(pixels, torch.Tensor)
        assert pixels.dtype == torch.uint8
        assert pixels.shape == (3, side, side)
        raw = theirs(picture, do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"][0]
        assert torch.equal(raw.to(torch.uint8), pixels), (mode, side, size)
        normal = theirs(picture, return_tensors="pt")["pixel_values"]
        assert (
            normalized(pixels[None], torch.tensor(ours.mean), torch.tensor(ours.std), torch.float32) - normal
        ).abs().max() <= 1e-6


def _grey_levels(picture: PIL.Image.Image) -> torch.Tensor:
    theirs = _theirs("square", 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # older ones meet Pillow's advice on palettes
        return theirs(picture, do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"][0]


def _lays_on_white() -> bool:
    return bool((_grey_levels(PIL.Image.new("RGBA", (32, 32), (0, 0, 0, 0))) == 255).all())


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK"])
def test_other_kinds_of_pictures_equal_transformers(mode: str) -> None:
    picture = _picture((90, 61)).convert("RGB").convert(mode) if mode == "CMYK" else _picture((90, 61), mode)
    file = io.BytesIO()
    picture.save(file, "TIFF" if mode == "CMYK" else "PNG")
    opened = PIL.Image.open(io.BytesIO(file.getvalue()))
    raw = _grey_levels(opened)
    if mode in ("LA", "P", "RGBA") and not _lays_on_white():
        pytest.skip("this transformers drops what makes a picture transparent; later ones lay it on white, as we do")
    pixels = _ours("square", 32).pixels(Image(data=file.getvalue()))
    assert isinstance(pixels, torch.Tensor)
    assert torch.equal(raw.to(torch.uint8), pixels)


def test_real_photos_equal_transformers(outside) -> None:
    photos = sorted(outside("coco").rglob("*.jpg"))
    for path in random.Random(0).sample(photos, min(4, len(photos))):
        for mode in ("square", "pad"):
            with PIL.Image.open(path) as picture:
                raw = _theirs(mode, 336)(picture, do_rescale=False, do_normalize=False, return_tensors="pt")
            pixels = _ours(mode, 336).pixels(Image(path=str(path)))
            assert isinstance(pixels, torch.Tensor)
            assert torch.equal(raw["pixel_values"][0].to(torch.uint8), pixels), (path, mode)
