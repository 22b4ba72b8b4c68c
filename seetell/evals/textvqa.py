"""TextVQA: questions that reading the picture answers; ten people's answers each.

Two tasks, since what is shown changes the score by some twelve points: `textvqa` shows the picture alone,
`textvqa_ocr` adds the dataset's own OCR tokens to the question, as LLaVA's published figures do.

Source: Singh et al. 2019, arXiv:1904.08920, version 0.5.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from seetell.errors import BadInput
from seetell.evals.rows import by_key, found_in, list_under, named, picture_in, read_object, read_rows
from seetell.evals.task import Files, Graded, Score, Task, right_or_wrong
from seetell.evals.vqa import accuracy, normal
from seetell.evals.yes_no import SHORT_TAIL
from seetell.files import as_list, as_object
from seetell.types import Answer, Item

OCR_LINE = "Reference OCR token: "


def score(item: Item, answer: Answer) -> Score:
    said = normal(answer.text)
    value = accuracy(said, [normal(person) for person in item.accepted])
    return right_or_wrong(item, value, "accuracy", evidence=said)


def items(data: Path) -> list[Item]:
    """From the release's own file, or from question and annotation files in the VQA challenge's format."""
    whole = data / "TextVQA_0.5.1_val.json"
    questions = whole if whole.is_file() else found_in(data, "val_questions_vqa_format.json", whole.name)
    answers = whole if whole.is_file() else found_in(data, "val_annotations_vqa_format.json")
    return _items(questions, answers, data)


def _items(questions: Path, answers: Path, data: Path) -> list[Item]:
    """From two files, each in the VQA challenge's format or the release's own, which holds both under `data`."""
    people = {named(row, "question_id", answers): _people(row, answers) for row in _listed(answers, "annotations")}
    return [_item(row, people, data, questions) for row in _listed(questions, "questions")]


def _listed(path: Path, name: str) -> list[dict[str, Any]]:
    file = read_object(path)
    return list_under(file, name if name in file else "data", path)


def items_with_ocr(data: Path) -> list[Item]:
    path = found_in(data, "TextVQA_Rosetta_OCR_v0.2_val.json")
    rows = list_under(read_object(path), "data", path)
    tokens = {named(row, "image_id", path): ", ".join(map(str, row.get("ocr_tokens") or [])) for row in rows}
    return [_with_tokens(item, tokens.get(item.group, "")) for item in items(data)]


def _with_tokens(item: Item, tokens: str) -> Item:
    question, _, tail = item.question.rpartition("\n")
    return replace(item, question=f"{question}\n{OCR_LINE}{tokens}\n{tail}")


def _item(row: Mapping[str, Any], people: Mapping[str, tuple[str, ...]], data: Path, path: Path) -> Item:
    number, picture, question = (named(row, name, path) for name in ("question_id", "image_id", "question"))
    if number not in people:
        raise BadInput(f"TextVQA question {number} has no people's answers.")
    folders = (data / "train_images", data / "images")
    return Item(
        id=number,
        question=f"{question.strip()}\n{SHORT_TAIL}",
        images=(picture_in(folders, f"{picture}.jpg"),),
        accepted=people[number],
        group=picture,
        facts={"key": f"{picture}/{first_line(question)}"},
    )


def first_line(text: str) -> str:
    return text.strip().lower().split("\n")[0].strip()


def _people(row: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    answers = as_list(row.get("answers"))
    if not answers:
        raise BadInput(f"{path}: question {row.get('question_id')} has no answers.")
    return tuple(str((as_object(answer) or {"answer": answer})["answer"]) for answer in answers)


def contract(files: Files) -> Graded:
    """`question_id` is the picture's id, and the first line of `prompt` the question."""
    questions, path = files.need("questions"), files.answers_file
    asked = _items(questions, files.need("truth"), questions.parent)
    ids = by_key(((item.facts["key"], item.id) for item in asked), questions, "the question")
    said: list[tuple[str, Answer]] = []
    for row in read_rows(path):
        key = f"{named(row, 'question_id', path)}/{first_line(named(row, 'prompt', path))}"
        if key not in ids:
            raise BadInput(f"{path} answers {key}, which {questions} does not ask.")
        said.append((ids[key], Answer(ids[key], named(row, "text", path))))
    return TASK.grade(asked, by_key(said, path, "an answer to question").values())


TASK = Task(
    name="textvqa",
    title="TextVQA (picture alone)",
    headline="accuracy",
    unit="picture",
    layout="TextVQA_0.5.1_val.json (or the two *_vqa_format.json), train_images/<image_id>.jpg",
    items=items,
    score=score,
    contract=contract,
)
WITH_OCR = replace(
    TASK,
    name="textvqa_ocr",
    title="TextVQA (OCR tokens in the prompt)",
    layout=f"{TASK.layout}, TextVQA_Rosetta_OCR_v0.2_val.json",
    items=items_with_ocr,
)
