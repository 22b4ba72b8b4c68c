"""Features on the disk: what the tower sees and nothing else, seen once, and seen again when a shard is not whole."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest
import torch
from torch import Tensor

from seetell.encode.image import ImageProcessor
from seetell.errors import Failed
from seetell.train import features as features_module
from seetell.train.features import Eye, Features
from seetell.train.ranks import Ranks
from seetell.types import Image, Rejected
from tests.tiny_models import tiny_vlm

ALONE = Ranks(torch.device("cpu"))
SHARD, CHUNK, COUNT = 4, 3, 10


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    """Ten pictures, of which the sixth is none, in three shards."""
    monkeypatch.setattr(features_module, "SHARD", SHARD)
    monkeypatch.setattr(features_module, "CHUNK", CHUNK)
    (tmp_path / "pictures").mkdir()
    paths = [tmp_path / "pictures" / f"{number}.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        PIL.Image.new("RGB", (20, 18), (25 * number, 200, 40)).save(path)
    paths[5].write_bytes(b"no picture")
    return [Image(str(path)) for path in paths]


class Counting(ImageProcessor):
    """Remembers whose pictures were decoded."""

    asked: list[str] = []  # noqa: RUF012

    def pixels(self, image: Image) -> Tensor | Rejected:
        self.asked.append(Path(image.path).stem)
        return super().pixels(image)


@pytest.fixture
def eye() -> Eye:
    model = tiny_vlm()
    Counting.asked.clear()
    return Eye(model, Counting(model.side_px), torch.float32)


def looked(folder: Path, eye: Eye, images: list[Image]) -> Features:
    features = Features(folder)
    features.look(eye, images, ALONE)
    return features


def assert_same(one: Features, other: Features, images: list[Image]) -> None:
    for image in images:
        first, second = one.get(image), other.get(image)
        assert isinstance(first, Rejected) == isinstance(second, Rejected)
        assert isinstance(first, Rejected) or torch.equal(first, second)  # type: ignore[arg-type]


def test_they_are_what_the_tower_sees(tmp_path: Path, eye: Eye, images: list[Image]) -> None:
    features = looked(tmp_path / "features", eye, images)
    for image in images[:4]:
        pixels = eye.image_processor.pixels(image)
        assert isinstance(pixels, Tensor)
        torch.testing.assert_close(features.get(image), eye.model.tower_features(pixels[None])[0])
    refused = features.get(images[5])
    assert isinstance(refused, Rejected)
    assert refused.reason == "not a picture"


def test_nothing_is_seen_twice(tmp_path: Path, eye: Eye, images: list[Image]) -> None:
    first = looked(tmp_path / "features", eye, images)
    assert sorted(Counting.asked) == sorted(str(number) for number in range(COUNT))
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(images[0].path).read_bytes())
    within = Image(data=copy.read_bytes())
    again = looked(tmp_path / "features", eye, [*images, Image(str(copy)), within])
    assert len(Counting.asked) == COUNT
    assert_same(first, again, images)
    assert torch.equal(again.get(within), again.get(images[0]))  # type: ignore[arg-type]
    assert torch.equal(again.get(Image(str(copy))), again.get(images[0]))  # type: ignore[arg-type]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [Path.unlink, cut, flip])
def test_a_shard_that_is_not_whole_is_seen_again_bit_for_bit(
    tmp_path: Path, eye: Eye, images: list[Image], damage: Callable[[Path], None]
) -> None:
    whole = looked(tmp_path / "whole", eye, images)
    looked(tmp_path / "damaged", eye, images)
    shards = sorted((tmp_path / "damaged").glob("*/*.safetensors"))
    assert len(shards) == -(-COUNT // SHARD)
    damage(shards[0])
    Counting.asked.clear()
    again = looked(tmp_path / "damaged", eye, images)
    assert 0 < len(Counting.asked) <= SHARD
    assert_same(whole, again, images)


def test_another_tower_or_other_pixels_are_kept_apart(eye: Eye) -> None:
    other = tiny_vlm()
    with torch.no_grad():
        next(other.vision.parameters()).add_(1e-3)
    eyes = [
        eye,
        replace(eye, model=other),
        replace(eye, precision=torch.bfloat16),
        replace(eye, image_processor=ImageProcessor(eye.image_processor.side_px, decoding="fast")),
        replace(eye, image_processor=ImageProcessor(eye.image_processor.side_px, mode="pad")),
    ]
    assert len({one.key for one in eyes}) == len(eyes)
    assert replace(eye, model=tiny_vlm()).key == eye.key


def test_a_changed_picture_is_not_taken_for_the_old_one(tmp_path: Path, eye: Eye, images: list[Image]) -> None:
    before = looked(tmp_path / "features", eye, images).get(images[0])
    PIL.Image.new("RGB", (20, 18), (0, 0, 255)).save(images[0].path)
    after = looked(tmp_path / "features", eye, images).get(images[0])
    assert not torch.equal(before, after)  # type: ignore[arg-type]


def test_a_missing_picture_is_refused_and_looked_for_again(tmp_path: Path, eye: Eye) -> None:
    late = Image(str(tmp_path / "late.png"))
    refused = looked(tmp_path / "features", eye, [late]).get(late)
    assert isinstance(refused, Rejected)
    assert refused.reason == "missing picture"
    PIL.Image.new("RGB", (20, 18)).save(late.path)
    assert isinstance(looked(tmp_path / "features", eye, [late]).get(late), Tensor)


def test_a_full_disk_is_told_in_a_sentence(
    tmp_path: Path, eye: Eye, images: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(features_module, "writing", full)
        with pytest.raises(Failed, match=r"features of 4 pictures .* No space left on device\. Make room"):
            looked(tmp_path / "features", eye, images)
    looked(tmp_path / "features", eye, images)
