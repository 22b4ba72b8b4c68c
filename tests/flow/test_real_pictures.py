"""Both stages over real photographs, one in twenty spoiled: the run ends, says exactly what it refused and why, and
what it learnt from the untouched ones is bit for bit what it would have been.

The photographs lie outside the project; without them the test is skipped. What is proved is the road, not the
sight: a tower this small does not understand photographs.
"""

from __future__ import annotations

import io
import random
import shutil
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import pytest
import torch
from torch import Tensor

from seetell.config import load_recipe
from seetell.files import read_json, read_jsonl
from seetell.pictures import open_picture
from seetell.sources.coco import read_coco
from seetell.sources.conversations import captions_as_pairs, write_conversations
from seetell.train.data import read_samples
from seetell.train.pictures import feed
from seetell.train.recipe import Data, Model, Recipe, Stage
from seetell.train.run import train
from seetell.train.sharing import stage_plan
from seetell.train.start import planning_processor
from seetell.types import Image, Rejected
from tests.tiny import tiny_parts

EPOCHS = {"align": 3, "tune": 1}


def bomb() -> bytes:
    """A PNG that is a header alone: 20,000 x 20,000 pixels, 1.2 gigabytes once opened."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def saved(picture: PIL.Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def rotated(data: bytes) -> bytes:
    """Stored lying on its side, with the note (EXIF) that turns it upright."""
    picture = PIL.Image.open(io.BytesIO(data)).convert("RGB")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return saved(picture.transpose(PIL.Image.Transpose.ROTATE_90), "PNG", exif=exif)


def deep(data: bytes) -> bytes:
    """Sixteen bits of grey."""
    grey = PIL.Image.open(io.BytesIO(data)).convert("L")
    return saved(grey.convert("I").point(lambda level: level * 257).convert("I;16"), "PNG")


REFUSED: dict[str, Callable[[bytes], bytes]] = {
    "damaged picture": lambda data: data[: len(data) // 2],
    "empty picture": lambda _: b"",
    "not a picture": lambda _: b"<!doctype html><title>404</title>",
    "picture too large": lambda _: bomb(),
}
ACCEPTED: dict[str, Callable[[bytes], bytes]] = {
    "CMYK": lambda data: saved(PIL.Image.open(io.BytesIO(data)).convert("CMYK"), "JPEG"),
    "16-bit": deep,
    "rotated": rotated,
    "grey": lambda data: saved(PIL.Image.open(io.BytesIO(data)).convert("L"), "JPEG"),
}


@dataclass(frozen=True)
class World:
    """Two copies of the photographs, one spoiled; `spoiled` says which file has which fault."""

    folder: Path
    spoiled: dict[str, str]
    recipes: dict[str, Recipe]


@pytest.fixture(scope="module")
def world(outside: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> World:
    source, folder = outside("coco"), tmp_path_factory.mktemp("coco")
    scenes = read_coco(
        source / "annotations" / "captions.json", source / "annotations" / "instances.json", folder / "sound"
    )
    with_captions = [scene for scene in scenes if scene.captions]
    for name in ("sound", "spoiled"):
        shutil.copytree(source / "images", folder / name)
    files = sorted(Path(scene.image.path).name for scene in with_captions if scene.image)
    faults = [*REFUSED, *ACCEPTED]
    chosen = random.Random(0).sample(files, k=len(faults) * max(1, round(len(files) * 0.05 / len(faults))))
    spoiled = {file: faults[at % len(faults)] for at, file in enumerate(chosen)}
    for file, fault in spoiled.items():
        data = (folder / "sound" / file).read_bytes()
        (folder / "spoiled" / file).write_bytes((REFUSED | ACCEPTED)[fault](data))
    write_conversations(folder / "align.json", captions_as_pairs(with_captions), folder / "sound")
    told = (pair for seed in (1, 2) for pair in captions_as_pairs(with_captions, seed=seed))
    write_conversations(folder / "tune.json", told, folder / "sound")
    recipes = {images: recipe(folder, images) for images in ("sound", "spoiled")}
    return World(folder, spoiled, recipes)


def recipe(folder: Path, images: str) -> Recipe:
    """From the tiny base that ships with the package; from random parts where it was not shipped."""
    model = load_recipe("drawn").model
    lr: dict[str, dict[str, float]] = {
        "align": {"connector": 2e-3},
        "tune": {"connector": 1e-3, "language": 5e-4},
    }
    if not Path(model.language).exists():
        vision, language = tiny_parts(folder / "parts")
        model = Model(vision=vision, language=language)
        lr = {"align": {"connector": 3e-2}, "tune": {"connector": 3e-3, "language": 3e-3}}

    def stage(name: str, template: str, cache_features: bool) -> Stage:
        return Stage(
            data=(Data(str(folder / f"{name}.json"), images=str(folder / images)),),
            lr=lr[name],
            samples_per_step=16,
            epochs=EPOCHS[name],
            template=template,
            image="square" if name == "align" else "pad",
            cache_features=cache_features,
        )

    return Recipe(
        model=model,
        align=stage("align", "plain", cache_features=False),
        tune=stage("tune", "vicuna-v1", cache_features=True),
    )


def fed(world: World, images: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Ids and pixels of every sample of align, as they reach the model, taken out of the packed batches."""
    recipe = world.recipes[images]
    assert recipe.align is not None
    processor = planning_processor(recipe.model, recipe.align)
    samples = read_samples(recipe.align, processor, recipe.seed, "align")
    plan = stage_plan(recipe.align, samples, recipe.seed, processor.tokenizer.image_id)
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for data in feed(plan, samples, processor.image_processor, None, 0):
        for micro in data.micro_batches:
            batch = micro.batch
            starts = batch.starts
            for number, name in enumerate(batch.sample_ids):  # one picture a sample, in the samples' order
                found[name] = batch.ids[starts[number] : starts[number + 1]], batch.pixels[number]
    return found


def test_untouched_pictures_are_bit_identical_and_sound_oddities_are_read(world: World) -> None:
    sound, spoiled = fed(world, "sound"), fed(world, "spoiled")
    ids = {str(int(Path(file).stem)): fault for file, fault in world.spoiled.items()}
    assert set(sound) - set(spoiled) == {id for id, fault in ids.items() if fault in REFUSED}
    assert len(ids) == round(0.05 * len(sound) / 8) * 8
    for id, (tokens, pixels) in spoiled.items():
        assert torch.equal(tokens, sound[id][0])
        before = sound[id][1]
        if ids.get(id, "rotated") == "rotated":  # untouched, or turned back upright
            assert torch.equal(pixels, before)
        elif ids[id] == "CMYK":
            assert (pixels.int() - before.int()).abs().float().mean() < 12
        else:
            grey = (before.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
            assert (pixels.float() - grey).abs().mean() < 12


def test_a_run_over_spoiled_pictures_ends_with_the_exact_count_and_reasons(world: World, tmp_path: Path) -> None:
    model = train(world.recipes["spoiled"], tmp_path, device="cpu")
    assert (model / "model.safetensors").exists()
    report, told = read_json(tmp_path / "report.json"), list(read_jsonl(tmp_path / "refused.jsonl"))
    for name, times in (("align", 1), ("tune", 2)):  # tune has two conversations about each picture
        expected = Counter({fault: times for fault in world.spoiled.values() if fault in REFUSED})
        stage = report["stages"][name]
        assert stage["refused"] == expected
        assert Counter(row["reason"] for row in told if row["stage"] == name) == expected
        rows = read_json(world.folder / f"{name}.json")
        assert stage["samples"] == EPOCHS[name] * len(rows)  # gone through to the end, refused ones included
        steps = [row["loss"] for row in read_jsonl(tmp_path / "metrics.jsonl") if row["stage"] == name]
        assert len(steps) == stage["steps"]
        assert sum(steps[-5:]) / 5 < steps[0] * (1.0 if name == "align" else 0.9), steps


def test_a_refused_picture_is_a_value_with_its_reason(world: World) -> None:
    for file, fault in world.spoiled.items():
        picture = open_picture(Image(str(world.folder / "spoiled" / file)))
        assert picture.reason == fault if isinstance(picture, Rejected) else fault in ACCEPTED
