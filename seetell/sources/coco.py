"""COCO's annotation files: pictures with captions and boxes, read into scenes and written from them.

COCO gives a box as [x, y, width, height] in pixels; a scene has its corners as fractions of the picture,
rounded to three decimals as LLaVA's prompts show them. `iscrowd` stays on the box.

Source: Lin et al. 2014 (arXiv:1405.0312); the file format of the 2014 and 2017 releases.
"""

from __future__ import annotations

import math
import reprlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from seetell.errors import BadInput, DamagedFile, UsageError
from seetell.files import as_list, as_object, read_json, write_atomic, write_json
from seetell.pictures import needed_bytes, suffix_of
from seetell.types import Box, Image, Scene

DECIMALS = 3


def _is_id(value: Any) -> bool:
    return isinstance(value, int | float | str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_size(value: Any) -> bool:
    """A picture without boxes needs no size."""
    return value is None or (isinstance(value, int | float) and 0 <= value < math.inf)


# What the members of an entry must be, where they are there; one that is not needed may be null.
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "id": ("a number or a text", _is_id),
    "image_id": ("a number or a text", _is_id),
    "category_id": ("a number or a text", _is_id),
    "file_name": ("a name", _is_name),
    "name": ("a name", _is_name),
    "caption": ("a text", lambda value: isinstance(value, str)),
    "width": ("a number of pixels", _is_size),
    "height": ("a number of pixels", _is_size),
}


def read_coco(
    captions: str | Path | None = None, instances: str | Path | None = None, images_dir: str | Path = ""
) -> Iterator[Scene]:
    """A scene for every picture that either file lists, in the files' order; no picture is opened."""
    if captions is None and instances is None:
        raise UsageError("Reading COCO needs a captions file, an instances file, or both.")
    pictures: dict[Any, dict[str, Any]] = {}
    said: defaultdict[Any, list[str]] = defaultdict(list)
    boxes: defaultdict[Any, list[Box]] = defaultdict(list)
    if captions is not None:
        file = _AnnotationFile(captions)
        pictures.update(file.pictures)
        for annotation in file.annotations("caption"):
            said[annotation["image_id"]].append(annotation["caption"].strip())
    if instances is not None:
        file = _AnnotationFile(instances)
        pictures.update(file.pictures)
        for annotation in file.annotations("category_id", "bbox"):
            id = annotation["image_id"]
            boxes[id].append(_box(annotation, pictures[id], file.labels))
    for id, picture in pictures.items():
        image = Image(str(Path(images_dir) / picture["file_name"]))
        size_px = int(picture.get("width") or 0), int(picture.get("height") or 0)
        yield Scene(str(id), tuple(said[id]), tuple(boxes[id]), image, *size_px)


def write_coco(folder: str | Path, scenes: Iterable[Scene]) -> int:
    """Writes `images/`, `captions.json` and `instances.json` into the folder; says how many scenes there were."""
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    pictures: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    instances: list[dict[str, Any]] = []
    labels: dict[str, int] = {}
    for scene in scenes:
        id = int(scene.id) if scene.id == str(_number(scene.id)) else scene.id
        pictures.append(
            {"id": id, "file_name": _write_picture(folder, scene), "width": scene.width_px, "height": scene.height_px}
        )
        for caption in scene.captions:
            captions.append({"id": len(captions) + 1, "image_id": id, "caption": caption})
        for box in scene.boxes:
            category = labels.setdefault(box.label, len(labels) + 1)
            instances.append(
                {"id": len(instances) + 1, "image_id": id, "category_id": category, **_written_box(box, scene)}
            )
    categories = [{"id": number, "name": label} for label, number in labels.items()]
    write_json(folder / "captions.json", {"images": pictures, "annotations": captions})
    write_json(folder / "instances.json", {"images": pictures, "annotations": instances, "categories": categories})
    return len(pictures)


class _AnnotationFile:
    """One COCO file; a message names the file and the entry that is wrong."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.content = as_object(read_json(path)) or {}
        except (OSError, DamagedFile) as error:
            raise BadInput(f"{path} cannot be read as COCO annotations: {error}") from None
        self.pictures = {picture["id"]: picture for picture in self._entries("images", "id", "file_name")}
        self.labels = (
            {category["id"]: category["name"] for category in self._entries("categories", "id", "name")}
            if "categories" in self.content
            else {}
        )

    def annotations(self, *keys: str) -> Iterator[dict[str, Any]]:
        for annotation in self._entries("annotations", "image_id", *keys):
            if annotation["image_id"] not in self.pictures:
                id = annotation["image_id"]
                raise BadInput(f"{self.path}: an annotation is about picture {id}, which is not listed.")
            yield annotation

    def _entries(self, name: str, *keys: str) -> Iterator[dict[str, Any]]:
        entries = as_list(self.content.get(name))
        if entries is None:
            raise BadInput(f"{self.path} has no list {name!r}: it is not a COCO annotation file.")
        for number, entry in enumerate(entries):
            found = as_object(entry) or {}
            if missing := [key for key in keys if key not in found]:
                raise BadInput(f"{self.path}: entry {number} of {name!r} has no {missing[0]!r}.")
            for key, (what, is_one) in KINDS.items():
                if (key in keys or found.get(key) is not None) and not is_one(found[key]):
                    value = reprlib.repr(found[key])
                    raise BadInput(f"{self.path}: {key!r} of entry {number} of {name!r} must be {what}, not {value}.")
            yield found


def _box(annotation: dict[str, Any], picture: dict[str, Any], labels: dict[Any, str]) -> Box:
    try:
        x, y, width, height = (float(number) for number in annotation["bbox"])
        across, down = float(picture["width"]), float(picture["height"])
        corners = (x / across, y / down, (x + width) / across, (y + height) / down)
        label = labels[annotation["category_id"]]
        if not all(map(math.isfinite, corners)):
            raise ValueError("a box without an end")
    except (KeyError, TypeError, ValueError, ArithmeticError):
        about = f"{annotation['bbox']} of category {annotation['category_id']} in picture {annotation['image_id']}"
        raise BadInput(f"The box {about} has no four numbers, no known category, or no picture size.") from None
    x0, y0, x1, y1 = (round(min(max(corner, 0.0), 1.0), DECIMALS) for corner in corners)
    return Box(label, x0, y0, x1, y1, crowd=bool(annotation.get("iscrowd", 0)))


def _written_box(box: Box, scene: Scene) -> dict[str, Any]:
    if not scene.width_px or not scene.height_px:
        raise BadInput(f"Scene {scene.id} has boxes but no picture size, so they cannot be written in pixels.")
    width, height = (box.x1 - box.x0) * scene.width_px, (box.y1 - box.y0) * scene.height_px
    corner_and_size = (box.x0 * scene.width_px, box.y0 * scene.height_px, width, height)
    return {
        "bbox": [round(number, 4) for number in corner_and_size],
        "area": round(width * height, 4),
        "iscrowd": int(box.crowd),
    }


def _write_picture(folder: Path, scene: Scene) -> str:
    if scene.image is None:
        raise BadInput(f"Scene {scene.id} has no picture to write.")
    data = needed_bytes(scene.image)
    name = scene.id + suffix_of(data)
    if Path(name).name != name:
        raise BadInput(f"Scene {scene.id} cannot name a file: an id with a slash would leave the folder.")
    write_atomic(folder / "images" / name, data)
    return name


def _number(id: str) -> int | None:
    return int(id) if id.isascii() and id.isdecimal() else None
