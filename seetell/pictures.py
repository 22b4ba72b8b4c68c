"""One way to open a picture, for every verb: its bytes, its header's limits, upright, in RGB, or one reason why not.

Pillow decodes, and only the formats of `FORMATS` are tried, by name: Pillow would start Ghostscript for PostScript, and
guesses formats without a signature (TGA, PCX). What a picture cannot be used for is a `Rejected` whose reason is one of
`REASONS`, the same in `data check`, `browse`, training, evaluation, chat and reports. Pixels for the vision tower are
made of what is opened here in `encode/image.py`. No torch.

Source: Pillow's documentation of its decoders and of decompression bombs.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from pathlib import Path

import PIL.Image
from PIL import ImageOps

from seetell.errors import BadInput
from seetell.files import read_bytes
from seetell.text import shortened
from seetell.types import Image, Rejected

# What Pillow decodes by itself and recognizes by a signature.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
ON_THE_WEB = ("JPEG", "MPO", "PNG", "GIF", "WEBP")  # what browsers and services take; MPO is a JPEG with more behind it
MISSING, EMPTY, UNKNOWN = "missing picture", "empty picture", "not a picture"
LARGE, FRACTIONS, DAMAGED = "picture too large", "picture of fractions", "damaged picture"
REASONS = (MISSING, EMPTY, UNKNOWN, LARGE, FRACTIONS, DAMAGED)

MOST_BYTES = 1 << 30  # of a file
MOST_PIXELS = 89_478_485  # Pillow's own limit, about a quarter of a gigabyte in RGB
MOST_TIMES_AS_LONG = 1000  # as wide; what is longer would be unpacked to gigabytes on its way to the square

# Said by a rejection instead. For the whole process, because a filter set around each call is not safe in threads.
warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)


def name_of(image: Image) -> str:
    """What messages call the picture: its path, shortened where it is no path at all but the picture in base64."""
    return shortened(image.path) if image.path else "picture"


def picture_bytes(image: Image) -> bytes | Rejected:
    """The bytes at hand, else those of the file, or of its part of a tar."""
    if image.data is not None:
        return image.data or Rejected(name_of(image), EMPTY)
    try:
        if why := _why_not_read(image.path):
            return Rejected(name_of(image), *why)
        data = read_bytes(image.path)
    except (OSError, ValueError) as error:  # a name with a null character or half a surrogate pair is a ValueError
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Rejected(name_of(image), MISSING, reason or str(error))
    return data or Rejected(name_of(image), EMPTY)


def _why_not_read(path: str) -> tuple[str, str] | None:
    """A folder, a pipe that never ends, or more than a picture can be; what is not there is for the reader to say."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return MISSING, "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is no file"
    return (LARGE, f"{status.st_size} bytes") if status.st_size > MOST_BYTES else None


def needed_bytes(image: Image) -> bytes:
    """The bytes, where nothing can be done without them."""
    data = picture_bytes(image)
    if isinstance(data, Rejected):
        raise BadInput(f"The picture {data.id} cannot be read: {data.detail or data.reason}.")
    return data


def open_picture(image: Image) -> PIL.Image.Image | Rejected:
    """The upright picture in RGB, 8 bits a channel."""
    data = picture_bytes(image)
    picture = data if isinstance(data, Rejected) else _header(data, name_of(image))
    if isinstance(picture, Rejected):
        return picture
    try:
        ImageOps.exif_transpose(picture, in_place=True)
        picture.load()
        return _rgb(picture)
    except Exception as error:  # decoders raise whatever they like at damaged bodies
        return Rejected(name_of(image), DAMAGED, str(error))


def _header(data: bytes, name: str) -> PIL.Image.Image | Rejected:
    """The picture with only its header read, within the limits."""
    try:
        picture = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        return Rejected(name, LARGE, f"more than {MOST_PIXELS} pixels")
    except PIL.UnidentifiedImageError:  # its message names an object in memory
        return Rejected(name, UNKNOWN, f"none of {', '.join(FORMATS)}")
    except Exception as error:  # the same at damaged headers
        return Rejected(name, UNKNOWN, str(error))
    width, height = picture.size
    if min(width, height) < 1:
        return Rejected(name, UNKNOWN, f"{width} x {height} pixels")
    if width * height > MOST_PIXELS or max(width, height) > MOST_TIMES_AS_LONG * min(width, height):
        return Rejected(name, LARGE, f"{width} x {height} pixels")
    if picture.mode == "F":
        return Rejected(name, FRACTIONS, "nothing says which is white: save it with 8 or 16 bits")
    return picture


def _rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Eight bits, three channels; what is transparent lies on white, as in transformers."""
    if picture.mode.startswith("I"):  # 16 bits a pixel, also when Pillow widened them to 32
        import numpy as np

        deep = np.asarray(picture).astype(np.int64)
        return PIL.Image.fromarray((deep.clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or picture.info.get("transparency") is not None:
        layer = picture.convert("RGBA")
        ground = PIL.Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return PIL.Image.alpha_composite(ground, layer).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


# ------------------------------------------------------------------------------------ what others show


def jpeg(picture: PIL.Image.Image, quality: int = 85) -> bytes:
    """As the bytes of a JPEG."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def small_jpeg(image: Image, side_px: int) -> bytes | Rejected:
    """A copy of the upright picture for a page, at most `side_px` wide and high."""
    picture = open_picture(image)
    if isinstance(picture, Rejected):
        return picture
    picture.thumbnail((side_px, side_px), PIL.Image.Resampling.BICUBIC)
    return jpeg(picture)


def web_picture(image: Image) -> bytes | Rejected:
    """Bytes that a browser or a service shows as they are meant: the file's own, or a JPEG of the upright picture
    where its format is not for the web or a tag says to turn it."""
    picture = open_picture(image)
    if isinstance(picture, Rejected):
        return picture
    data = picture_bytes(image)
    if isinstance(data, Rejected):  # it was there a moment ago
        return data
    with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as header:
        as_it_is = header.format in ON_THE_WEB and header.getexif().get(0x0112, 1) == 1
    return data if as_it_is else jpeg(picture, quality=95)


def media_type(data: bytes) -> str:
    """`image/png` and the like, by the first bytes."""
    kinds = ((b"\x89PNG", "png"), (b"GIF8", "gif"), (b"RIFF", "webp"))
    return f"image/{next((kind for start, kind in kinds if data.startswith(start)), 'jpeg')}"


def suffix_of(data: bytes) -> str:
    """`.png` for a PNG, else `.jpg`: readers go by the content, people by the name."""
    return ".png" if data.startswith(b"\x89PNG") else ".jpg"


def content_key(data: bytes) -> str:
    """Equal keys are equal pictures, wherever they lie."""
    return hashlib.sha256(data).hexdigest()


def file_key(image: Image) -> object:
    """The same at the price of a glance: bytes are their own key, a file is known by its path, time and size."""
    if image.data is not None:
        return image.data
    try:
        status = Path(image.path).stat()
    except (OSError, ValueError):
        return image.path
    return image.path, status.st_mtime_ns, status.st_size
