"""One way to open a picture: every verb gives one file the same reason."""

from __future__ import annotations

import io
import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from seetell.console import console
from seetell.encode.image import ImageProcessor
from seetell.errors import BadInput
from seetell.evals.answerers import AskedAnswerer, data_url, endpoint
from seetell.infer.blip2 import Blip2Answerer
from seetell.infer.pictures import Pictures
from seetell.pictures import (
    DAMAGED,
    EMPTY,
    FRACTIONS,
    LARGE,
    MISSING,
    REASONS,
    UNKNOWN,
    content_key,
    media_type,
    needed_bytes,
    open_picture,
    small_jpeg,
    web_picture,
)
from seetell.train.features import _key_of
from seetell.types import Image, Item, Rejected
from seetell.verbs.data import browse, check
from seetell.verbs.show import show

PHOTO = PIL.Image.linear_gradient("L").resize((32, 24)).convert("RGB")


def saved(picture: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def bmp_of(width: int, height: int) -> bytes:
    """A header without pixels."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


FILES: dict[str, tuple[bytes | None, str]] = {
    "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", UNKNOWN),
    "eps.jpg": (saved(PHOTO, "EPS"), UNKNOWN),
    "ico.png": (saved(PHOTO, "ICO"), UNKNOWN),
    "tga.jpg": (saved(PHOTO, "TGA"), UNKNOWN),
    "pcx.jpg": (saved(PHOTO, "PCX"), UNKNOWN),
    "dds.jpg": (saved(PHOTO, "DDS"), UNKNOWN),
    "sgi.jpg": (saved(PHOTO, "SGI"), UNKNOWN),
    "qoi.png": (saved(PHOTO, "QOI"), UNKNOWN),
    "icns.png": (saved(PIL.Image.new("RGBA", (32, 32)), "ICNS"), UNKNOWN),
    "fractions.tif": (saved(PIL.Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), FRACTIONS),
    "large.bmp": (bmp_of(9500, 9500), LARGE),
    "bomb.bmp": (bmp_of(30_000, 30_000), LARGE),
    "line.png": (saved(PIL.Image.new("L", (2001, 2)), "PNG"), LARGE),
    "cut.jpg": (saved(PHOTO, "JPEG")[:-60], DAMAGED),
    "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", UNKNOWN),
    "empty.jpg": (b"", EMPTY),
    "missing.jpg": (None, MISSING),
}


def reason_of(opened: Any) -> str:
    return opened.reason if isinstance(opened, Rejected) else ""


def by_check(data: Path, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(BadInput, match="1 fault in 1 of 1 row"):
        check(data)
    return capsys.readouterr().out.splitlines()[1].partition(": 1 ")[0]


def by_show(data: Path, capsys: pytest.CaptureFixture[str]) -> str:
    show(str(data))
    return capsys.readouterr().out.partition("rejected: ")[2].splitlines()[0]


def by_browse(data: Path, capsys: pytest.CaptureFixture[str]) -> str:
    page = browse(data, data.parent / "page.html").read_text()
    del capsys
    return page.partition('<p class="wrong">')[2].partition("</p>")[0]


def by_chat(image: Image) -> str:
    pictures = Pictures.__new__(Pictures)
    pictures._opener, pictures._known = ImageProcessor(8), {}  # type: ignore[assignment]
    return reason_of(pictures.open(image))


def by_blip2(image: Image) -> str:
    answerer = Blip2Answerer.__new__(Blip2Answerer)
    (answer,) = answerer.answer([Item("1", "What?", (image,))])
    return "" if answer.finish_reason != "refused" else reason_of(open_picture(image))


OPENERS: dict[str, Callable[[Image], str]] = {
    "train": lambda image: reason_of(ImageProcessor(8).pixels(image)),
    "train, decoded fast": lambda image: reason_of(ImageProcessor(8, decoding="fast").pixels(image)),
    "chat": by_chat,
    "eval, a service": lambda image: reason_of(data_url(image)),
    "eval, blip-2": by_blip2,
    "reports": lambda image: reason_of(small_jpeg(image, 16)),
}
VERBS = {"check": by_check, "show": by_show, "browse": by_browse}


@pytest.fixture
def no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be started to open a picture."""

    def start(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    for name in ("Popen", "check_call", "call", "run"):
        monkeypatch.setattr(subprocess, name, start)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.usefixtures("no_program")
def test_every_verb_gives_the_same_reason(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, expected = FILES[name]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."}]
    (tmp_path / "data.json").write_text(json.dumps([{"id": "0", "image": name, "conversations": turns}]))
    image = Image(str(tmp_path / name))
    found = {opener: reason(image) for opener, reason in OPENERS.items()}
    found |= {verb: reason(tmp_path / "data.json", capsys) for verb, reason in VERBS.items()}
    assert found == dict.fromkeys(found, expected)
    assert expected in REASONS


@pytest.mark.parametrize("path", ["a\0.png", "\ud83d.png", "/dev/zero", "", "x" * 5000])
def test_what_cannot_be_a_file_is_missing_everywhere(tmp_path: Path, path: str) -> None:
    image = Image(path or str(tmp_path))
    for opener, reason in OPENERS.items():
        assert reason(image) == MISSING, opener
    rejected = open_picture(image)
    assert isinstance(rejected, Rejected)
    assert len(rejected.id) <= 200
    assert reason_of(_key_of(image)) == MISSING
    with pytest.raises(BadInput, match="cannot be read"):
        needed_bytes(image)


@pytest.mark.parametrize(("kind", "mode"), [("GIF", "P"), ("BMP", "RGB"), ("PPM", "RGB"), ("TIFF", "CMYK")])
def test_what_browsers_and_services_do_not_take_is_sent_as_jpeg(kind: str, mode: str) -> None:
    data = saved(PHOTO.convert(mode), kind)
    sent = web_picture(Image(data=data))
    assert isinstance(sent, bytes)
    assert media_type(sent) == ("image/gif" if kind == "GIF" else "image/jpeg")
    assert (sent == data) == (kind == "GIF")


def test_what_a_tag_turns_is_sent_and_shown_upright() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    turned, plain = Image(data=saved(PHOTO, "JPEG", exif=exif)), Image(data=saved(PHOTO, "JPEG"))
    for made in (web_picture(turned), small_jpeg(turned, 24)):
        assert isinstance(made, bytes)
        with PIL.Image.open(io.BytesIO(made)) as picture:
            assert picture.width < picture.height
            assert picture.getexif().get(0x0112, 1) == 1
    assert web_picture(plain) == plain.data
    pixels = ImageProcessor(8).pixels(turned)
    assert isinstance(pixels, torch.Tensor)
    assert pixels.shape == (3, 8, 8)


def test_a_key_is_a_matter_of_content() -> None:
    assert content_key(b"a") == content_key(b"a") != content_key(b"b")


def test_a_service_is_not_asked_about_a_picture_that_does_not_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "quiet", False)
    items = [Item(str(at), "What?", (Image(data=data),)) for at, data in enumerate((b"", b"%!PS-Adobe-3.0"))]
    answerer = AskedAnswerer(
        endpoint("m@http://localhost:1/v1"), tmp_path / "journal.jsonl", eyes=True, max_new_tokens=8
    )
    answers = list(answerer.answer(items))
    assert [(answer.item_id, answer.text, answer.finish_reason) for answer in answers] == [
        ("0", "", "refused"),
        ("1", "", "refused"),
    ]
    assert "not asked 2 of 2 questions: 1 × empty picture, 1 × not a picture" in capsys.readouterr().err
