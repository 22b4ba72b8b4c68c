"""Text from outside: what a file is that is not UTF-8, and texts made short enough for a message."""

from __future__ import annotations

from pathlib import Path

# How files begin that are not the text they are taken for, and what to do about it.
_NO_TEXT = (
    (b"\x1f\x8b", "it is compressed by gzip: unpack it first"),
    (b"PK\x03\x04", "it is a zip archive: unpack it first"),
    (b"BZh", "it is compressed by bzip2: unpack it first"),
    (b"\xfd7zXZ", "it is compressed by xz: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "it is compressed by zstd: unpack it first"),
    (b"PAR1", "it is Parquet: give it the ending .parquet"),
    (b"\xff\xfe", "it is UTF-16 text: save it as UTF-8"),
    (b"\xfe\xff", "it is UTF-16 text: save it as UTF-8"),
)


def why_not_text(path: str | Path) -> str | None:
    """What a file is that is not UTF-8 text, by its first bytes."""
    with Path(path).open("rb") as file:
        head = file.read(8)
    known = next((why for start, why in _NO_TEXT if head.startswith(start)), None)
    return known or ("it is UTF-16 text: save it as UTF-8" if b"\0" in head[:2] else None)


def why_not_utf8(error: UnicodeDecodeError) -> str:
    """What a byte says that is none of UTF-8's."""
    return f"byte 0x{error.object[error.start]:02x} is not UTF-8, as if the text were Windows-1252: save it as UTF-8"


def shortened(text: str, most: int = 200) -> str:
    """A text for a message: what is longer than a path or a name loses its middle, and half a surrogate pair is
    spelt out."""
    half, text = (most - 3) // 2, text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"
