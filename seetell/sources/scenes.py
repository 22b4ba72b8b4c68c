"""Scenes as JSON rows: a plain layout of our own, and the one that LLaVA's benchmark files have.

    {"id", "image", "captions": [text], "boxes": [{"label", "box": [x0, y0, x1, y1], "crowd"}], "width_px", "height_px"}
    {"id", "image", "captions": [text], "instances": [{"category", "bbox": [x0, y0, x1, y1]}]}

Corners are fractions of the picture in both, and COCO's word `iscrowd` is read as `crowd`. All but the id may be
missing; a picture's name is taken from the folder of pictures, and no picture is opened.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seetell.errors import BadInput, DamagedFile
from seetell.files import append_jsonl, as_list, as_object, read_jsonl
from seetell.types import Box, Image, Scene


def read_scenes(path: str | Path, images_dir: str | Path = "") -> Iterator[Scene]:
    """Every row in order; a row that is no scene is an error that names it."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There is no file of scenes {path}.")
    try:
        for number, row in enumerate(read_jsonl(path, ours=False), start=1):
            try:
                yield scene_of(row, images_dir)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise BadInput(f"{path}, row {number}, is not a scene: {_told(error)}.") from None
    except (DamagedFile, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not a file of scenes, one JSON object a line: {error}") from None


def write_scenes(path: str | Path, scenes: Iterable[Scene], images_dir: str | Path = "") -> int:
    """Writes our own layout; says how many scenes there were."""
    Path(path).unlink(missing_ok=True)
    count = 0
    with append_jsonl(path) as file:
        for scene in scenes:
            file.write(scene_row(scene, images_dir))
            count += 1
    return count


def scene_row(scene: Scene, images_dir: str | Path = "") -> dict[str, Any]:
    """A picture under `images_dir` is named from there."""
    row: dict[str, Any] = {"id": scene.id}
    if scene.image is not None:
        row["image"] = name_of(scene.image, images_dir)
    row["captions"] = list(scene.captions)
    row["boxes"] = [
        {"label": box.label, "box": [box.x0, box.y0, box.x1, box.y1], **({"crowd": True} if box.crowd else {})}
        for box in scene.boxes
    ]
    if scene.width_px and scene.height_px:
        row |= {"width_px": scene.width_px, "height_px": scene.height_px}
    return row


def scene_of(row: Mapping[str, Any], images_dir: str | Path = "") -> Scene:
    """The scene in a row of either layout."""
    name = row.get("image")
    boxes = as_list(row.get("boxes", row.get("instances", [])))
    captions = as_list(row.get("captions", []))
    if captions is None or not all(isinstance(caption, str) for caption in captions):
        raise ValueError("'captions' must be a list of texts")
    if boxes is None:
        raise ValueError("the boxes must be a list")
    if name is not None and not (isinstance(name, str) and name):
        raise ValueError(f"'image' must be a file's name, not {reprlib.repr(name)}")
    return Scene(
        str(row["id"]),
        tuple(captions),
        tuple(_box(box) for box in boxes),
        None if name is None else Image(str(Path(images_dir) / name)),
        int(row.get("width_px") or 0),
        int(row.get("height_px") or 0),
    )


def name_of(image: Image, images_dir: str | Path = "") -> str:
    """The picture's name from `images_dir`, or its path when it lies elsewhere."""
    path = Path(image.path)
    return path.relative_to(images_dir).as_posix() if path.is_relative_to(images_dir) else str(path.absolute())


def _box(value: Any) -> Box:
    row = as_object(value) or {}
    label = row["label"] if "label" in row else row["category"]
    corners = [float(edge) for edge in as_list(row["box"] if "box" in row else row["bbox"]) or ()]
    if not isinstance(label, str) or len(corners) != 4 or not all(0 <= edge <= 1 for edge in corners):
        raise ValueError(f"a box needs a label and four fractions of the picture, not {reprlib.repr(value)}")
    crowd = row.get("iscrowd") if row.get("crowd") is None else row["crowd"]
    if crowd not in (True, False, None):
        raise ValueError(f"'crowd' (COCO's 'iscrowd') is true or false, 1 or 0, not {crowd!r}")
    return Box(label, *corners, crowd=bool(crowd))


def _told(error: Exception) -> str:
    return f"it has no {error.args[0]!r}" if isinstance(error, KeyError) else str(error).rstrip(".")
