"""POPE: is there a such-and-such in the picture? Three ways of choosing what is asked for in vain.

The three splits number their questions alike and ask about the same pictures, so answers are joined by
(split, picture, question), never by line or number alone. `f1` is the mean over the splits.

Source: Li et al. 2023, arXiv:2305.10355; questions and label files of its first release.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seetell.errors import BadInput
from seetell.evals.rows import by_key, named, picture_in, read_rows
from seetell.evals.task import Files, Graded, Number, Score, Task, Totals, ratio
from seetell.evals.yes_no import SHORT_TAIL, label, pope_says_yes
from seetell.types import Answer, Item

SPLITS = ("adversarial", "popular", "random")


def score(item: Item, answer: Answer) -> Score:
    yes, truth = pope_says_yes(answer.text), item.accepted[0] == "yes"
    cell = ("true" if yes == truth else "false") + ("_yes" if yes else "_no")
    return Score(item, float(yes == truth), {f"{item.kind}:{cell}": 1.0}, evidence="yes" if yes else "no")


def metrics(totals: Totals) -> dict[str, Number]:
    found: dict[str, Number] = {}
    for split in SPLITS:
        if not any(name.startswith(f"{split}:") for name in totals):
            continue
        cells = (totals.get(f"{split}:{cell}", 0.0) for cell in ("true_yes", "false_yes", "true_no", "false_no"))
        true_yes, false_yes, true_no, false_no = cells
        n = true_yes + false_yes + true_no + false_no
        found[f"{split}_accuracy"] = 100 * ratio(true_yes + true_no, n)
        found[f"{split}_precision"] = 100 * _share(true_yes, true_yes + false_yes)
        found[f"{split}_recall"] = 100 * _share(true_yes, true_yes + false_no)
        found[f"{split}_f1"] = 100 * _share(2 * true_yes, 2 * true_yes + false_yes + false_no)
        found[f"{split}_yes"] = 100 * ratio(true_yes + false_yes, n)
    scores = [value for name, value in found.items() if name.endswith("_f1")]
    return found | ({"f1": sum(scores[1:], start=scores[0]) / len(scores)} if scores else {})


def _share(above: Number, below: Number) -> Number:
    """A quotient that is zero where nobody said yes: a model that never does has no precision, not an unknown one."""
    return np.where(np.equal(below, 0), 0.0, np.nan_to_num(ratio(above, below)))


def items(data: Path) -> list[Item]:
    return _items(data, SPLITS)


def _items(data: Path, splits: Sequence[str]) -> list[Item]:
    folders = (data / "val2014", data / "images")
    return [
        Item(
            id=f"{split}/{picture}/{question}",
            question=f"{question}\n{SHORT_TAIL}",
            images=(picture_in(folders, picture),),
            accepted=(truth,),
            kind=split,
            group=picture,
        )
        for split in splits
        for (picture, question), truth in _truth(data, split).items()
    ]


def _truth(folder: Path, split: str) -> dict[tuple[str, str], str]:
    path = next((path for path in (folder, folder / "coco") if (path / f"coco_pope_{split}.json").is_file()), None)
    if path is None:
        raise BadInput(f"{folder} holds no coco_pope_{split}.json; docs/data.md says where its owner publishes it.")
    path /= f"coco_pope_{split}.json"
    pairs = (
        ((named(row, "image", path), _folded(named(row, "text", path))), label(named(row, "label", path), path))
        for row in read_rows(path)
    )
    return by_key(pairs, path, "the picture and question")


def _folded(text: str) -> str:
    """A question without what was added to it: its first line, white space folded."""
    return " ".join(text.strip().split("\n")[0].split())


def contract(files: Files) -> Graded:
    """`question_id` names the row of the questions; that row names split, picture and question."""
    questions_path, truth = files.need("questions"), files.need("truth")
    questions = by_key(
        ((named(row, "question_id", questions_path), row) for row in read_rows(questions_path)),
        questions_path,
        "the question id",
    )
    splits = {named(row, "category", questions_path) for row in questions.values()}
    if unknown := sorted(splits - set(SPLITS)):
        raise BadInput(f"{questions_path} has the category {unknown[0]!r}: POPE's are {', '.join(SPLITS)}.")
    asked = {item.id: item for item in _items(truth, [split for split in SPLITS if split in splits])}
    answers: list[tuple[str, Answer]] = []
    path = files.answers_file
    for row in read_rows(path):
        number = named(row, "question_id", path)
        question = questions.get(number)
        if question is None:
            raise BadInput(f"{path} answers the question {number}, which {questions_path} does not have.")
        picture, text = named(question, "image", questions_path), _folded(named(question, "text", questions_path))
        id = f"{question['category']}/{picture}/{text}"
        if id not in asked:
            raise BadInput(f"Question {number} ({id}) has no label in {truth}.")
        answers.append((id, Answer(id, named(row, "text", path))))
    return TASK.grade(list(asked.values()), by_key(answers, path, "an answer to").values())


TASK = Task(
    name="pope",
    title="POPE",
    headline="f1",
    unit="picture",
    layout="coco_pope_adversarial.json, coco_pope_popular.json, coco_pope_random.json, val2014/*.jpg",
    items=items,
    score=score,
    metrics=metrics,
    contract=contract,
)
