"""Small local things under the names that the documents use: models of the hub, data sets, pictures, an endpoint.

Only a fence that is marked `stand-in` sees them (`documents.py`). They are made once and linked into a page's folder.
What `make demo` leaves is there for every page, at a hundredth of the size: README asks for it first.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Generator
from contextlib import chdir, contextmanager
from pathlib import Path

from PIL import Image as Pillow

from seetell.files import write_json
from seetell.sources.coco import write_coco
from seetell.sources.drawn.scenes import drawn_scenes
from seetell.verbs.demo import demo
from tests.documents import ROOT
from tests.tiny import COLOURS, tiny_data, tiny_parts
from tests.tiny_benchmarks import BENCHMARKS
from tests.tiny_folders import write_whole
from tests.tiny_layouts import as_hub, as_original, theirs, write_published_lora

TOWERS = ("openai/clip-vit-large-patch14", "openai/clip-vit-large-patch14-336")
VICUNA = "lmsys/vicuna-7b-v1.5"
LANGUAGE_MODELS = (VICUNA, "lmsys/vicuna-13b-v1.5", "lmsys/vicuna-7b-v1.3", "lmsys/vicuna-13b-v1.3")
# A recipe's data: the file and the folder of its pictures.
DATA_SETS = {
    "align": (("data/blip558k/blip_laion_cc_sbu_558k.json", "images"), ("data/cc595k/chat.json", "images")),
    "tune": (
        ("data/mix665k/llava_v1_5_mix665k.json", "."),
        ("data/llava158k/llava_instruct_158k.json", "train2014"),
    ),
}
ROWS = 16
PHOTOS = ("photo.jpg", "cat.jpg", "boat.jpg", "bench.jpg")
MINE = [
    {
        "id": str(number),
        "image": name,
        "conversations": [
            {"from": "human", "value": "<image>\nWhat is wrong with it?"},
            {"from": "gpt", "value": "The second slat from the left is broken."},
        ],
    }
    for number, name in enumerate(("bench.jpg", "boat.jpg"))
]
ANSWERS = {"outputs": {str(number): f"The answer is {'ABC'[number % 3]}." for number in range(5)}}

# What a checkout has and a reader's commands may use; links, but for what they may write.
CHECKOUT = ("benchmarks", "pyproject.toml", "constraints.txt", "Makefile", "seetell", "tests", "LICENSE")


class StandIns:
    """All of them, made once in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for make in (_parts, _models, _data, _pictures, _benchmarks):
            make(folder)
        self.leaves = [path.relative_to(folder) for path in _leaves(folder, depth=2)]
        self.demo = folder.with_name(f"{folder.name}-demo")
        self.demo.mkdir()
        with chdir(self.demo):
            demo("runs/demo", scenes=24, test_scenes=2, unseen_scenes=2)

    def fresh(self, folder: Path) -> Path:
        """A page's folder: a checkout in which the demo has run."""
        folder.mkdir(parents=True)
        for name in CHECKOUT:
            (folder / name).symlink_to(ROOT / name)
        for name in ("README.md", "docs"):
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
        shutil.copytree(self.demo, folder, copy_function=os.link, dirs_exist_ok=True)
        return folder

    @contextmanager
    def linked(self, folder: Path) -> Generator[None]:
        """The stand-ins beside what is in the folder; what lies there already stays, and stays alone."""
        links: list[Path] = []
        for leaf in self.leaves:
            link = folder / leaf
            if not os.path.lexists(link):
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self.folder / leaf)
                links.append(link)
        try:
            yield
        finally:
            for link in links:
                if link.is_symlink():
                    link.unlink()


def _leaves(folder: Path, depth: int) -> Generator[Path]:
    for path in sorted(folder.iterdir()):
        if depth > 1 and path.is_dir() and path.name in ("data", "models", "lmsys", "openai", "llava-hf", "liuhaotian"):
            yield from _leaves(path, depth - 1)
        else:
            yield path


def _parts(folder: Path) -> None:
    """The towers, and a language model that the published LoRA belongs to."""
    made = folder.with_name(f"{folder.name}-parts")
    made.mkdir()
    vision, _ = tiny_parts(made)
    for name in TOWERS:
        shutil.copytree(vision, folder / name)
    (folder / "lmsys").mkdir()
    write_published_lora(folder / "liuhaotian/llava-v1.5-7b-lora", folder / VICUNA, "bin")
    for name in LANGUAGE_MODELS[1:]:
        shutil.copytree(folder / VICUNA, folder / name)


def _models(folder: Path) -> None:
    (folder / "llava-hf").mkdir()
    as_hub(folder / "llava-hf/llava-1.5-7b-hf", theirs())
    as_original(folder / "liuhaotian/llava-v1.5-7b", "llava_llama", "mlp2", with_tower=True)
    (folder / "models").mkdir()
    world = folder.with_name(f"{folder.name}-world")
    world.mkdir()
    write_whole(folder / "models/llava-1.5-7b", world)


def _data(folder: Path) -> None:
    made = folder.with_name(f"{folder.name}-data")
    made.mkdir()
    files: dict[str, str] = dict(zip(("align", "tune"), tiny_data(made, ROWS), strict=True))
    for kind, sets in DATA_SETS.items():
        for path, pictures in sets:
            (folder / path).parent.mkdir(parents=True)
            shutil.copy(files[kind], folder / path)
            shutil.copytree(made / "pictures", (folder / path).parent / pictures, dirs_exist_ok=True)
    write_coco(folder / "coco", (drawn.scene for drawn in drawn_scenes("train", 4)))
    for captions, instances, pictures in (
        ("captions.json", "instances.json", "pictures"),
        ("captions_train2017.json", "instances_train2017.json", "train2017"),
    ):
        shutil.copy(folder / "coco/captions.json", folder / captions)
        shutil.copy(folder / "coco/instances.json", folder / instances)
        shutil.copytree(folder / "coco/images", folder / pictures)
    (folder / "captions.tsv").write_text("".join(f"a {colour} square\tnowhere\n" for colour in (*COLOURS,) * 3))
    (folder / "cc3m").mkdir()
    (folder / "shards").mkdir()
    with tarfile.open(folder / "shards/000.tar", "w") as shard:
        for row in json.loads((made / "tune.json").read_text())[:4]:
            key = row["id"]
            (made / f"{key}.json").write_text(json.dumps(row))
            shard.add(made / f"{key}.json", f"{key}.json")
            shard.add(made / "pictures" / row["image"], f"{key}.png")


def _pictures(folder: Path) -> None:
    """Photographs for all that a page shows, and a data set of one's own."""
    (folder / "mine").mkdir()
    for number, name in enumerate(PHOTOS):
        picture = Pillow.new("RGB", (64, 48), list(COLOURS.values())[number % len(COLOURS)])
        picture.save(folder / name)
        picture.save(folder / "mine" / name)
    for number in range(12):
        Pillow.new("RGB", (20, 18), (number * 20, 80, 90)).save(folder / f"cc3m/GCC_train_{number:09d}.jpg")
    write_json(folder / "mine/my.json", MINE)


def _benchmarks(folder: Path) -> None:
    for name, write in BENCHMARKS.items():
        (folder / "data" / name).mkdir(parents=True, exist_ok=True)
        write(folder / "data" / name)
    write_json(folder / "answers.json", ANSWERS)
    shutil.copytree(folder / "data/llava_bench_wild", folder / "data/llava-bench-in-the-wild")
