"""COCO files: boxes as fractions, pictures in order, faults told with the file and the entry."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seetell.errors import BadInput, UsageError
from seetell.sources.coco import read_coco, write_coco
from seetell.sources.scenes import scene_of
from seetell.types import Box, Image, Scene

PICTURES = [
    {"id": 9, "file_name": "000000000009.jpg", "width": 640, "height": 480},
    {"id": 3, "file_name": "3.jpg", "width": 200, "height": 100},
]
CAPTIONS = {"images": PICTURES, "annotations": [{"id": 1, "image_id": 3, "caption": " A dog. "}]}
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]


def box(**changed: Any) -> dict[str, Any]:
    return {"id": 5, "image_id": 3, "category_id": 18, "bbox": [10, 20, 50, 30], "iscrowd": 0, **changed}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def instances(tmp_path: Path, *boxes: Any, **changed: Any) -> Path:
    content = {"images": PICTURES, "annotations": list(boxes), "categories": CATEGORIES, **changed}
    return write(tmp_path / "instances.json", content)


def test_scenes_hold_captions_and_boxes_of_both_files(tmp_path: Path) -> None:
    captions = write(tmp_path / "captions.json", CAPTIONS)
    crowd = box(category_id=1, bbox=[0, 0, 200, 100], iscrowd=1)
    scenes = list(read_coco(captions, instances(tmp_path, box(), crowd), "pics"))
    assert scenes == [
        Scene("9", image=Image("pics/000000000009.jpg"), width_px=640, height_px=480),
        Scene(
            "3",
            ("A dog.",),
            (Box("dog", 0.05, 0.2, 0.3, 0.5), Box("person", 0.0, 0.0, 1.0, 1.0, crowd=True)),
            Image("pics/3.jpg"),
            200,
            100,
        ),
    ]


def test_either_file_is_enough_and_boxes_stay_inside_the_picture(tmp_path: Path) -> None:
    captions = write(tmp_path / "captions.json", CAPTIONS)
    assert [scene.captions for scene in read_coco(captions=captions)] == [(), ("A dog.",)]
    (_, scene) = read_coco(instances=instances(tmp_path, box(bbox=[-1, 99.5, 202.7, 0.51])))
    assert scene.boxes == (Box("dog", 0.0, 0.995, 1.0, 1.0),)
    with pytest.raises(UsageError, match="captions file"):
        next(read_coco())


def test_boxes_have_three_decimals(tmp_path: Path) -> None:
    (_, scene) = read_coco(instances=instances(tmp_path, box(bbox=[1.2345, 1, 33.333, 2])))
    assert scene.boxes == (Box("dog", 0.006, 0.01, 0.173, 0.03),)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "has no list 'images'"),
        ({"images": PICTURES}, "has no list 'annotations'"),
        ({"images": [{"id": 1}], "annotations": []}, "entry 0 of 'images' has no 'file_name'"),
        ({"images": PICTURES, "annotations": [{"image_id": 3}]}, "entry 0 of 'annotations' has no 'caption'"),
        (
            {"images": PICTURES, "annotations": [{"image_id": 4, "caption": "a"}]},
            "about picture 4, which is not listed",
        ),
        ({"images": [7], "annotations": []}, "entry 0 of 'images' has no 'id'"),
    ],
)
def test_what_is_no_coco_file_is_told(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        list(read_coco(captions=write(tmp_path / "captions.json", content)))


@pytest.mark.parametrize(
    ("picture", "annotation", "said"),
    [
        ({"id": [1]}, {}, "'id' of entry 0 of 'images' must be a number or a text, not .1."),
        ({"file_name": 5}, {}, "'file_name' of entry 0 of 'images' must be a name, not 5"),
        ({"width": "wide"}, {}, "'width' of entry 0 of 'images' must be a number of pixels, not 'wide'"),
        ({"height": float("nan")}, {}, "'height' of entry 0 of 'images' must be a number"),
        ({}, {"caption": None}, "'caption' of entry 0 of 'annotations' must be a text, not None"),
        ({}, {"image_id": {}}, "'image_id' of entry 0 of 'annotations' must be"),
    ],
)
def test_what_has_the_wrong_type_is_told(
    tmp_path: Path, picture: dict[str, Any], annotation: dict[str, Any], said: str
) -> None:
    pictures, annotations = [PICTURES[1] | picture], [{"image_id": 3, "caption": "A dog.", **annotation}]
    path = write(tmp_path / "captions.json", {"images": pictures, "annotations": annotations})
    with pytest.raises(BadInput, match=r"captions\.json: " + said):
        list(read_coco(captions=path))


def test_a_picture_needs_its_size_for_boxes_alone(tmp_path: Path) -> None:
    pictures = [PICTURES[1] | {"width": None, "height": None}]
    captions = write(tmp_path / "captions.json", CAPTIONS | {"images": pictures})
    assert [(scene.width_px, scene.height_px) for scene in read_coco(captions=captions)] == [(0, 0)]
    with pytest.raises(BadInput, match="no picture size"):
        list(read_coco(instances=instances(tmp_path, box(), images=pictures)))


def test_what_is_not_needed_may_be_null(tmp_path: Path) -> None:
    said = {"id": None, "image_id": 3, "category_id": None, "caption": "A dog."}
    path = write(tmp_path / "captions.json", {"images": PICTURES, "annotations": [said]})
    assert [scene.captions for scene in read_coco(path)] == [(), ("A dog.",)]


def test_one_kind_of_file_in_the_place_of_the_other_is_told(tmp_path: Path) -> None:
    captions, boxes = write(tmp_path / "captions.json", CAPTIONS), instances(tmp_path, box())
    with pytest.raises(BadInput, match="has no 'caption'"):
        list(read_coco(captions=boxes))
    with pytest.raises(BadInput, match="has no 'category_id'"):
        list(read_coco(instances=captions))


def test_crowds_are_told_in_either_word_in_either_layout() -> None:
    plain, published = {"label": "person", "box": [0, 0, 1, 1]}, {"category": "person", "bbox": [0, 0, 1, 1]}
    for kind, box_row in (("boxes", plain), ("instances", published)):
        marks: list[dict[str, Any]] = [{}, {"crowd": True}, {"iscrowd": 1}, {"iscrowd": 0}]
        scene = scene_of({"id": 1, kind: [box_row | mark for mark in marks]})
        assert [box.crowd for box in scene.boxes] == [False, True, True, False]
        with pytest.raises(ValueError, match="'iscrowd'"):
            scene_of({"id": 1, kind: [box_row | {"iscrowd": "no"}]})


@pytest.mark.parametrize("changed", [{"category_id": 2}, {"bbox": [1, 2, 3]}, {"bbox": ["a", 2, 3, 4]}, {"bbox": None}])
def test_a_box_that_means_nothing_is_told(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="in picture 3"):
        list(read_coco(instances=instances(tmp_path, box(**changed))))


def test_a_missing_or_torn_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.json cannot be read"):
        list(read_coco(tmp_path / "none.json"))
    (tmp_path / "torn.json").write_text('{"images": [')
    with pytest.raises(BadInput, match=r"torn\.json cannot be read"):
        list(read_coco(tmp_path / "torn.json"))


def test_reading_undoes_writing(tmp_path: Path) -> None:
    boxes = (Box("red car", 0.1, 0.2, 0.345, 0.999), Box("tree", 0.0, 0.0, 1.0, 1.0, crowd=True))
    scenes = [
        Scene("drawn-7", ("One.", "Two."), boxes, Image(data=b"\x89PNG seven"), 96, 112),
        Scene("12", ("Three.",), boxes[:1], Image(data=b"\xff\xd8 twelve"), 640, 480),
        Scene("007", (), (), Image(data=b"\x89PNG bond"), 96, 96),
    ]
    assert write_coco(tmp_path, iter(scenes)) == 3
    back = list(read_coco(tmp_path / "captions.json", tmp_path / "instances.json", tmp_path / "images"))
    assert [dataclasses.replace(scene, image=None) for scene in back] == [
        dataclasses.replace(scene, image=None) for scene in scenes
    ]
    for scene, written in zip(scenes, back, strict=True):
        assert scene.image is not None
        assert written.image is not None
        assert Path(written.image.path).read_bytes() == scene.image.data
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == ["007.png", "12.jpg", "drawn-7.png"]
    assert [entry["id"] for entry in json.loads((tmp_path / "captions.json").read_text())["images"]] == [
        "drawn-7",
        12,
        "007",
    ]


@pytest.mark.parametrize(
    ("scene", "said"),
    [
        (Scene("a"), "has no picture to write"),
        (Scene("a", image=Image("none.png")), r"none\.png cannot be read"),
        (Scene("../a", image=Image(data=b"x")), "cannot name a file"),
        (Scene("a", boxes=(Box("b", 0, 0, 1, 1),), image=Image(data=b"x")), "no picture size"),
    ],
)
def test_a_scene_that_cannot_be_written_is_told(tmp_path: Path, scene: Scene, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        write_coco(tmp_path, [scene])


def test_real_annotations_read_whole_and_survive_a_round(tmp_path: Path, outside: Callable[[str], Path]) -> None:
    folder = outside("coco")
    annotations = folder / "annotations"
    scenes = list(read_coco(annotations / "captions.json", annotations / "instances.json", folder / "images"))
    assert len(scenes) == 161
    assert sum(len(scene.captions) for scene in scenes) == 700
    assert sum(len(scene.boxes) for scene in scenes) == 1268
    assert sum(bool(scene.captions and scene.boxes) for scene in scenes) == 116
    assert all(scene.image is not None and Path(scene.image.path).is_file() for scene in scenes)
    write_coco(tmp_path, scenes)
    back = read_coco(tmp_path / "captions.json", tmp_path / "instances.json", tmp_path / "images")
    for scene, written in zip(scenes, back, strict=True):
        assert dataclasses.replace(written, image=scene.image) == scene
