"""What is accepted as a picture, and what is refused with which reason."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from seetell.encode.image import DECODINGS, ImageProcessor
from seetell.errors import BadInput, UsageError
from seetell.pictures import open_picture
from seetell.types import Image, Rejected


def _data(picture: PIL.Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _photo() -> PIL.Image.Image:
    rows = np.linspace(0, 255, 40, dtype=np.uint8)[:, None].repeat(60, 1)
    return PIL.Image.fromarray(np.stack([rows, 255 - rows, rows // 2], -1))


def _bomb() -> bytes:
    """The header of a 20,000 x 20,000 PNG, and next to nothing behind it."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty picture"),
        (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "not a picture"),
        (_data(_photo(), "JPEG")[:-100], "damaged picture"),
        (_data(_photo())[:-60], "damaged picture"),
        (_data(_photo())[:20], "not a picture"),
        (_bomb(), "picture too large"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (_data(PIL.Image.new("1", (9600, 9600))), "picture too large"),
        (_data(PIL.Image.new("L", (30_000, 1))), "picture too large"),
        (
            _data(PIL.Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)), "TIFF"),
            "picture of fractions",
        ),
    ],
    ids=[
        "empty",
        "html",
        "cut jpeg",
        "cut png",
        "header only",
        "bomb",
        "postscript",
        "just too large",
        "a line",
        "fractions",
    ],
)
def test_spoiled_files_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    refused = ImageProcessor(32).pixels(Image(path=str(path)))
    assert isinstance(refused, Rejected)
    assert (refused.id, refused.reason) == (str(path), reason)
    assert "0x" not in refused.detail


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refused = open_picture(Image(path=str(tmp_path / "none.png")))
    assert isinstance(refused, Rejected)
    assert refused.reason == "missing picture"


def test_pillow_warns_nobody_of_a_large_picture() -> None:
    code = "import io, PIL.Image\nfrom seetell.pictures import open_picture\nfrom seetell.types import Image\n"
    code += "file = io.BytesIO()\nPIL.Image.new('1', (9600, 9600)).save(file, 'PNG')\n"
    code += "print(open_picture(Image(data=file.getvalue())).detail)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("9600 x 9600 pixels\n", "")


def test_a_long_picture_is_padded_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = PIL.Image.new("RGB", (300, 30), (255, 0, 0))
    whole = ImageProcessor(32, mode="pad").square(picture).astype(int)
    monkeypatch.setattr("seetell.encode.image.LONGEST_PADDED_PX", 100)
    made: list[tuple[int, int]] = []
    new = PIL.Image.new
    monkeypatch.setattr(PIL.Image, "new", lambda mode, size, *rest: made.append(size) or new(mode, size, *rest))
    assert abs(ImageProcessor(32, mode="pad").square(picture) - whole).max() <= 2
    assert made == [(100, 100)]


def test_exif_turns_the_picture() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    opened = open_picture(Image(data=_data(_photo(), "JPEG", exif=exif, quality=100)))
    assert isinstance(opened, PIL.Image.Image)
    assert opened.size == (40, 60)
    red = np.asarray(opened)[30, :, 0]
    assert red[39] < 30 < 220 < red[0]


def test_sixteen_bits_keep_their_brightness() -> None:
    deep = PIL.Image.fromarray((np.arange(256, dtype=np.uint16) * 257).reshape(16, 16))
    for kind in ("PNG", "TIFF"):
        opened = open_picture(Image(data=_data(deep, kind)))
        assert np.asarray(opened)[..., 0].ravel().tolist() == list(range(256))


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("L", "JPEG"), ("P", "GIF"), ("LA", "PNG"), ("RGB", "WEBP")]
)
def test_other_kinds_are_accepted(mode: str, kind: str) -> None:
    pixels = ImageProcessor(16, mode="pad").pixels(Image(data=_data(_photo().convert(mode), kind)))
    assert isinstance(pixels, torch.Tensor)
    assert pixels.shape == (3, 16, 16)
    assert pixels[:, 0, 0].tolist() == [122, 116, 104]  # the mean colour above a wide picture


def test_transparent_parts_lie_on_white() -> None:
    clear = PIL.Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    assert (np.asarray(open_picture(Image(data=_data(clear)))) == 255).all()


@pytest.mark.parametrize("mode", ["square", "pad", "stretch"])
def test_settings_come_back(tmp_path: Path, mode: str) -> None:
    processor = ImageProcessor(48, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), mode)
    processor.save(tmp_path)
    assert ImageProcessor.load(tmp_path) == processor


@pytest.mark.parametrize("mode", ["square", "pad", "stretch"])
@pytest.mark.parametrize("size", [(640, 480), (375, 500), (336, 336), (40, 60), (3, 7), (1, 1), (900, 31)])
def test_fast_decoding_stays_within_two_grey_levels(mode: str, size: tuple[int, int]) -> None:
    picture = _photo().resize(size, PIL.Image.Resampling.BICUBIC)
    for side_px in (32, 336):
        exact, fast = (ImageProcessor(side_px, mode=mode, decoding=how).square(picture) for how in ("exact", "fast"))
        assert fast.shape == (side_px, side_px, 3)
        apart = abs(exact.astype(int) - fast)
        assert apart.max() <= 2
        assert (apart == 0).mean() > 0.9


def test_fast_decoding_of_photos_is_nearly_exact(outside) -> None:
    for path in sorted(outside("coco").rglob("*.jpg"))[::20]:
        for mode in ("square", "pad"):
            exact, fast = (ImageProcessor(336, mode=mode, decoding=how).pixels(Image(str(path))) for how in DECODINGS)
            assert isinstance(exact, torch.Tensor)
            assert isinstance(fast, torch.Tensor)
            apart = (exact.int() - fast.int()).abs()
            assert apart.max() <= 2
            assert apart.float().mean() < 0.01


def test_a_picture_decoded_fast_is_refused_for_the_same_reasons(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(_data(_photo(), "JPEG")[:-100])
    refused = ImageProcessor(32, decoding="fast").pixels(Image(path=str(path)))
    assert isinstance(refused, Rejected)
    assert refused.reason == "damaged picture"


def test_what_is_saved_decodes_exactly(tmp_path: Path) -> None:
    ImageProcessor(48, decoding="fast").save(tmp_path)
    assert ImageProcessor.load(tmp_path) == ImageProcessor(48)


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="anyres"):
        ImageProcessor(32, mode="anyres")
    with pytest.raises(UsageError, match="no decoding of pictures is called 'quick'"):
        ImageProcessor(32, decoding="quick")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="has no preprocessor_config"):
        ImageProcessor.load(tmp_path)
    with pytest.raises(BadInput, match="not done here"):
        ImageProcessor.from_settings({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}})
    assert ImageProcessor.from_settings({"size": 224, "crop_size": 224}).side_px == 224


@pytest.mark.parametrize("held", ["[]", '{"size": "x"}', '{"image_mean": [1]}', "7"])
def test_damaged_settings_are_refused(tmp_path: Path, held: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(held)
    with pytest.raises(BadInput, match=r"preprocessor_config\.json does not say how pictures are made ready"):
        ImageProcessor.load(tmp_path)


CLIP_SETTINGS = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}


@pytest.mark.parametrize(
    "changes",
    [
        {"do_resize": False},
        {"do_rescale": False},
        {"do_center_crop": False},
        {"size": {"longest_edge": 32}},
        {"image_grid_pinpoints": [[336, 672]]},
        {"max_num_patches": 256, "patch_size": 16},
        {"min_pixels": 3136, "max_pixels": 12845056},
    ],
)
def test_settings_that_would_make_other_pixels_are_refused_by_name(changes: dict[str, object]) -> None:
    assert ImageProcessor.from_settings(CLIP_SETTINGS).mode == "square"
    with pytest.raises(BadInput, match=f"asks for .*{next(iter(changes))} = "):
        ImageProcessor.from_settings(CLIP_SETTINGS | changes)


def test_without_normalizing_the_mean_is_0_and_the_deviation_1() -> None:
    settings = {**CLIP_SETTINGS, "do_normalize": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    found = ImageProcessor.from_settings(settings)
    assert (found.mean, found.std) == ((0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({"size": 32, "crop_size": 32, "do_center_crop": True}, "square"),
        ({"size": 32, "crop_size": {"height": 32, "width": 32}}, "square"),
        (CLIP_SETTINGS, "square"),
        ({"size": {"height": 32, "width": 32}, "do_convert_rgb": None}, "stretch"),
        ({"size": {"shortest_edge": 32}, "do_pad": True, "do_center_crop": False}, "pad"),
    ],
)
def test_sizes_are_read_in_every_form(settings: dict[str, object], mode: str) -> None:
    found = ImageProcessor.from_settings(settings)
    assert (found.side_px, found.mode) == (32, mode)
