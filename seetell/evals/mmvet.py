"""MM-Vet: open questions, each graded 0.0 to 1.0 by a language model beside the true answer; six capabilities.

`total` is the mean grade × 100; a question graded several times counts with the mean of its grades.

Source: Yu et al. 2023, arXiv:2308.02490. The few-shot grading prompt is our own, in the same form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from seetell.ask.chat import Message
from seetell.errors import BadInput
from seetell.evals.judge import without_fences
from seetell.evals.rows import found_in, named, picture_in, read_object
from seetell.evals.task import Files, Graded, Judging, Score, Task, right_or_wrong
from seetell.evals.verdict import Refused, read_grade
from seetell.files import as_list, as_object, write_json
from seetell.types import Answer, Item, Unscored

GRADING = """Compare the ground truth and the prediction of an AI model, and give one correctness score for the \
prediction: 0.0 (wrong), 0.1, 0.2, …, 0.9, or 1.0 (fully right). <AND> in the ground truth means that all of its parts \
are needed, <OR> that any one is enough. Reply with the score alone.

Question | Ground truth | Prediction | Correctness
--- | --- | --- | ---
How many wheels has it? | 4 <OR> four | There are four wheels. | 1.0
How many wheels has it? | 4 <OR> four | It is a car. | 0.0
What is on the table? | a cup <AND> a red book | I see a book. | 0.4
What is on the table? | a cup <AND> a red book | A cup, and beside it a book with a red cover. | 1.0
"""


def items(data: Path) -> list[Item]:
    path = found_in(data, "mm-vet.json")
    asked: list[Item] = []
    for id, row in read_object(path).items():
        entry = as_object(row) or {}
        capabilities = [str(one) for one in as_list(entry.get("capability")) or []]
        asked.append(
            Item(
                id=id,
                question=named(entry, "question", path),
                images=(picture_in((data / "images", data), named(entry, "imagename", path)),),
                accepted=(named(entry, "answer", path),),
                group=named(entry, "imagename", path),
                facts={"capabilities": " ".join(capabilities)},
            )
        )
    return asked


def prompt(item: Item, answer: str, swapped: bool) -> list[Message]:
    del swapped
    said = without_fences(" ".join(answer.split())).replace("|", "/")
    return [Message("user", f"{GRADING}{item.question} | {item.accepted[0]} | {said} | ")]


def verdict(item: Item, reply: str, swapped: bool) -> Score | Unscored:
    del swapped
    grade = read_grade(reply)
    if isinstance(grade, Refused):
        return Unscored(item.id, grade.reason, reply)
    return right_or_wrong(item, grade, *item.facts["capabilities"].split(), "total", evidence=reply)


def contract(files: Files) -> Graded:
    """The official grader's file: by question id, the grades of one or several runs."""
    path = files.answers_file
    graded: list[Score | Unscored] = []
    rows = read_object(path)
    if not rows:
        raise BadInput(f"{path} holds no grade.")
    for id, row in rows.items():
        grades = as_list((as_object(row) or {}).get("score"))
        if grades is None:
            raise BadInput(f"{path}: question {id} has no list `score`.")
        good = [float(grade) for grade in grades if _is_grade(grade)]
        lost = [grade for grade in grades if not _is_grade(grade)] + ([None] if not grades else [])
        graded += [Unscored(id, "no grade", str(grade)) for grade in lost]
        if good:
            graded.append(right_or_wrong(Item(id, "", group=id), sum(good) / len(good), "total"))
    found = TASK.graded(graded)
    return Graded(found.task, found.scores, found.unscored, found.metrics, len(rows))


def _is_grade(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1


def submission(items: Sequence[Item], answers: Sequence[Answer], folder: Path) -> Path:
    """What the official grader reads: answers by question id."""
    del items
    path = folder / "mm-vet.json"
    write_json(path, {answer.item_id: answer.text for answer in answers})
    return path


TASK = Task(
    name="mmvet",
    title="MM-Vet",
    headline="total",
    unit="picture",
    layout="mm-vet.json, images/",
    items=items,
    judging=Judging(prompt, verdict, max_tokens=16),
    contract=contract,
    submission=submission,
    max_new_tokens=1024,
)
