"""A run over tar shards is the run over the same rows and pictures as files, to the last bit."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from seetell.files import read_json
from seetell.train.recipe import Data, Model, Recipe, Stage
from seetell.train.run import train
from tests.tiny import tiny_data, tiny_parts

COUNT = 24


def sharded(rows: Path, folder: Path, shards: int = 2) -> str:
    """The rows and their pictures as so many tars."""
    folder.mkdir()
    listed = json.loads(rows.read_text())
    for shard in range(shards):
        with tarfile.open(folder / f"{shard:03}.tar", "w") as tar:
            for row in listed[shard * COUNT // shards : (shard + 1) * COUNT // shards]:
                picture = (rows.parent / "pictures" / row["image"]).read_bytes()
                for ending, data in (("png", picture), ("json", json.dumps(row).encode())):
                    entry = tarfile.TarInfo(f"{row['id']}.{ending}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
    return str(folder / f"{{000..{shards - 1:03}}}.tar")


def recipe_of(parts: tuple[str, str], align: Data, tune: Data) -> Recipe:
    return Recipe(
        Model(*parts),
        align=Stage((align,), {"connector": 1e-2}, samples_per_step=8, template="plain", cache_features=True),
        tune=Stage((tune,), {"connector": 1e-3, "language": 1e-3}, samples_per_step=8, picture_decoding="fast"),
    )


def test_shards_train_as_files_do(tmp_path: Path) -> None:
    parts = tiny_parts(tmp_path / "parts")
    align, tune = map(Path, tiny_data(tmp_path, COUNT))
    pictures = str(tmp_path / "pictures")
    files = recipe_of(parts, Data(str(align), pictures), Data(str(tune), pictures))
    tars = recipe_of(parts, Data(sharded(align, tmp_path / "align")), Data(sharded(tune, tmp_path / "tune")))
    models = [train(recipe, tmp_path / name, device="cpu") for name, recipe in (("one", files), ("other", tars))]
    one, other = (load_file(model / "model.safetensors") for model in models)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert list((tmp_path / "other" / "features").glob("*/*.safetensors"))
    stage = read_json(tmp_path / "other" / "report.json")["stages"]["tune"]
    assert 0 < stage["data_wait_s"] < stage["seconds"]
    assert stage["data_wait_share"] > 0
