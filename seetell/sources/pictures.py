"""Pictures as files, unopened: their bytes, and the ending that their first bytes call for."""

from __future__ import annotations

from seetell.errors import BadInput
from seetell.files import read_bytes
from seetell.types import Image


def picture_bytes(image: Image) -> bytes:
    """The bytes at hand, else those of the file, or of its part of a tar."""
    if image.data is not None:
        return image.data
    try:
        return read_bytes(image.path)
    except OSError as error:
        raise BadInput(f"The picture {image.path} cannot be read: {error.strerror}.") from None


def suffix_of(data: bytes) -> str:
    """`.png` for a PNG, else `.jpg`: readers go by the content, people by the name."""
    return ".png" if data.startswith(b"\x89PNG") else ".jpg"
