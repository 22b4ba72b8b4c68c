"""VQAv2, VizWiz and GQA: short open answers about photographs.

VQAv2 and VizWiz are scored by agreement with ten people, GQA by equality. Test splits without answers write what
the servers take.

Source: Goyal et al. 2017, arXiv:1612.00837; Gurari et al. 2018, arXiv:1802.08218; Hudson and Manning 2019,
arXiv:1902.09506.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seetell.evals.rows import found_in, list_under, named, picture_in, read_object, read_rows
from seetell.evals.task import Score, Task, right_or_wrong
from seetell.evals.vqa import accuracy, normal
from seetell.evals.yes_no import SHORT_TAIL
from seetell.files import as_list, as_object, write_json
from seetell.types import Answer, Item

VIZWIZ_TAIL = f"When the provided information is insufficient, respond with 'Unanswerable'.\n{SHORT_TAIL}"


def agreement(item: Item, answer: Answer) -> Score:
    said = normal(answer.text)
    value = accuracy(said, [normal(person) for person in item.accepted])
    names = ("accuracy", item.kind) if item.kind else ("accuracy",)
    return right_or_wrong(item, value, *names, evidence=said)


def _people(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        str((as_object(answer) or {"answer": answer})["answer"]) for answer in as_list(row.get("answers")) or []
    )


# ---------------------------------------------------------------------------------------------- VQAv2


def vqav2_items(data: Path) -> list[Item]:
    """The validation split where it is, else test-dev, which has no answers."""
    validation = data / "v2_OpenEnded_mscoco_val2014_questions.json"
    annotations = data / "v2_mscoco_val2014_annotations.json"
    path = found_in(data, validation.name, "v2_OpenEnded_mscoco_test-dev2015_questions.json")
    truth: dict[str, dict[str, Any]] = {}
    if path == validation and annotations.is_file():
        rows = list_under(read_object(annotations), "annotations", annotations)
        truth = {named(row, "question_id", annotations): row for row in rows}
    split = "val2014" if path == validation else "test2015"
    asked: list[Item] = []
    for row in list_under(read_object(path), "questions", path):
        number, picture = named(row, "question_id", path), int(named(row, "image_id", path))
        known = truth.get(number, {})
        asked.append(
            Item(
                id=number,
                question=f"{named(row, 'question', path)}\n{SHORT_TAIL}",
                images=(picture_in((data / split, data / "images"), f"COCO_{split}_{picture:012}.jpg"),),
                accepted=_people(known),
                kind=str(known.get("answer_type", "")),
                group=str(picture),
            )
        )
    return asked


def vqav2_submission(items: Sequence[Item], answers: Sequence[Answer], folder: Path) -> Path:
    said = {answer.item_id: normal(answer.text) for answer in answers}
    path = folder / "vqav2.json"
    write_json(path, [{"question_id": int(item.id), "answer": said[item.id]} for item in items])
    return path


# --------------------------------------------------------------------------------------------- VizWiz


def vizwiz_items(data: Path) -> list[Item]:
    path = found_in(data, "val.json", "test.json", "annotations/val.json", "annotations/test.json")
    folders = (data / path.stem, data / "images")
    return [
        Item(
            id=named(row, "image", path),
            question=f"{named(row, 'question', path)}\n{VIZWIZ_TAIL}",
            images=(picture_in(folders, named(row, "image", path)),),
            accepted=_people(row),
            kind=str(row.get("answer_type", "")),
            group=named(row, "image", path),
        )
        for row in read_rows(path)
    ]


def vizwiz_submission(items: Sequence[Item], answers: Sequence[Answer], folder: Path) -> Path:
    said = {answer.item_id: normal(answer.text) for answer in answers}
    path = folder / "vizwiz.json"
    write_json(path, [{"image": item.id, "answer": said[item.id]} for item in items])
    return path


# ------------------------------------------------------------------------------------------------ GQA


def gqa_items(data: Path) -> list[Item]:
    path = found_in(data, "testdev_balanced_questions.json", "questions1.2/testdev_balanced_questions.json")
    asked: list[Item] = []
    for number, value in read_object(path).items():
        row = as_object(value) or {}
        picture = named(row, "imageId", path)
        asked.append(
            Item(
                id=number,
                question=f"{named(row, 'question', path)}\n{SHORT_TAIL}",
                images=(picture_in((data / "images",), f"{picture}.jpg"),),
                accepted=(named(row, "answer", path),) if row.get("answer") else (),
                group=picture,
            )
        )
    return asked


def same(item: Item, answer: Answer) -> Score:
    said = answer.text.strip().rstrip(".").lower()
    return right_or_wrong(item, float(said == item.accepted[0].lower()), "accuracy", evidence=said)


def gqa_submission(items: Sequence[Item], answers: Sequence[Answer], folder: Path) -> Path:
    said = {answer.item_id: answer.text.strip().rstrip(".").lower() for answer in answers}
    path = folder / "gqa.json"
    write_json(path, [{"questionId": item.id, "prediction": said[item.id]} for item in items])
    return path


VQAV2 = Task(
    name="vqav2",
    title="VQAv2",
    headline="accuracy",
    unit="picture",
    layout="v2_OpenEnded_mscoco_val2014_questions.json, v2_mscoco_val2014_annotations.json, val2014/ "
    "(or v2_OpenEnded_mscoco_test-dev2015_questions.json, test2015/: submission only)",
    items=vqav2_items,
    score=agreement,
    submission=vqav2_submission,
)
VIZWIZ = Task(
    name="vizwiz",
    title="VizWiz",
    headline="accuracy",
    unit="picture",
    layout="val.json, val/ (or test.json, test/: submission only)",
    items=vizwiz_items,
    score=agreement,
    submission=vizwiz_submission,
)
GQA = Task(
    name="gqa",
    title="GQA",
    headline="accuracy",
    unit="picture",
    layout="testdev_balanced_questions.json, images/<imageId>.jpg",
    items=gqa_items,
    score=same,
    submission=gqa_submission,
)
TASKS = (VQAV2, VIZWIZ, GQA)
