"""MMBench: multiple choice about pictures by ability; plain, or circular, where every rotation of the choices counts.

In the circular form a question is right only if it is right in all rotations, so that a liking for one letter gains
nothing. Splits without answers are scored by the owner's server, which wants a spreadsheet.

Source: Liu et al. 2023, arXiv:2307.06281; TSV files with the pictures in base64.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from seetell.errors import BadInput
from seetell.evals.choices import LETTERS, TAIL, choices_of, facts_of_choices, letter_of, question_text, score
from seetell.evals.rows import read_tsv
from seetell.evals.spreadsheet import write_spreadsheet
from seetell.evals.task import Score, Tally, Task
from seetell.types import Answer, Image, Item

CHINESE_TAIL = "请直接回答选项字母。"
ABSENT = ("", "nan", "none")


def items(data: Path) -> list[Item]:
    return _items(data, TAIL, "en")


def circular_items(data: Path) -> list[Item]:
    return [turned for item in items(data) for turned in _rotations(item)]


def chinese_items(data: Path) -> list[Item]:
    return _items(data, CHINESE_TAIL, "cn")


def _items(data: Path, tail: str, language: str) -> list[Item]:
    path = _file(data, language)
    pictures: dict[str, bytes] = {}
    asked: list[Item] = []
    for row in read_tsv(path):
        choices = _choices(row)
        hint = row.get("hint") or ""
        if not choices or not row.get("question"):
            raise BadInput(f"{path}: row {row.get('index')} has no question or no choices.")
        asked.append(
            Item(
                id=row["index"],
                question=question_text(row["question"], choices, "" if hint.lower() in ABSENT else hint, tail),
                images=(Image(data=_picture(row, pictures, path)),),
                accepted=_accepted(row, choices, path),
                kind=row.get("category") or "",
                group=row["index"],
                facts={
                    **facts_of_choices(choices, ["accuracy", *filter(None, (row.get("category"),))]),
                    "hint": hint,
                    "asked": row["question"],
                },
            )
        )
    return asked


def _choices(row: Mapping[str, str]) -> list[str]:
    """The row's choices up to the first absent one, as the owner reads them: so each keeps its letter."""
    return [row[letter] for letter in takewhile(lambda letter: _there(row.get(letter)), LETTERS)]


def _there(cell: str | None) -> bool:
    return (cell or "").strip().lower() not in ABSENT


def _accepted(row: Mapping[str, str], choices: Sequence[str], path: Path) -> tuple[str, ...]:
    """The right letter; none where the split keeps its answers to itself."""
    answer = (row.get("answer") or "").strip()
    if not _there(answer):
        return ()
    if answer not in tuple(LETTERS[: len(choices)]):
        raise BadInput(f"{path}: the answer of row {row.get('index')} is {answer!r}, and its choices end at "
                       f"{LETTERS[len(choices) - 1]}.")  # fmt: skip
    return (answer,)


def _file(data: Path, language: str) -> Path:
    """The dev split if there is one, else whatever TSV of that language there is."""
    found = sorted(path for path in data.glob("*.tsv") if ("cn" in path.stem.lower()) == (language == "cn"))
    chosen = next((path for path in found if "dev" in path.stem.lower()), found[0] if found else None)
    if chosen is None:
        raise BadInput(f"{data} holds no mmbench*.tsv; docs/data.md says where its owner publishes it.")
    return chosen


def _picture(row: dict[str, str], pictures: dict[str, bytes], path: Path) -> bytes:
    """A row's own picture, or the one of the row that its `image` column numbers."""
    text = row.get("image") or ""
    if text in pictures:
        return pictures[text]
    try:
        pictures[row["index"]] = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput(f"{path}: the picture of row {row['index']} is not base64.") from None
    return pictures[row["index"]]


def _rotations(item: Item) -> list[Item]:
    """The question once for every rotation of its choices; the first is as it was."""
    choices = choices_of(item.facts)
    turned: list[Item] = []
    for by in range(len(choices)):
        order = choices[by:] + choices[:by]
        accepted = tuple(LETTERS[(LETTERS.index(letter) - by) % len(choices)] for letter in item.accepted)
        hint = item.facts["hint"]
        question = question_text(item.facts["asked"], order, "" if hint.lower() in ABSENT else hint)
        facts = {**item.facts, "choices": json.dumps(order)}
        turned.append(replace(item, id=f"{item.id}/{by}", question=question, accepted=accepted, facts=facts))
    return turned


def all_rotations(scores: Sequence[Score]) -> dict[str, Tally]:
    """One question a group, right if every rotation of it is."""
    worst: dict[str, Score] = {}
    for one in scores:
        group = one.item.group
        worst[group] = min(worst.get(group, one), one, key=lambda each: each.value)
    return {group: one.tally for group, one in worst.items()}


def submission(items: Sequence[Item], answers: Sequence[Answer], folder: Path) -> Path:
    """The server's spreadsheet: index, question, choices, prediction."""
    said = {answer.item_id: answer.text for answer in answers}
    rows: list[list[str]] = [["index", "question", "A", "B", "C", "D", "prediction"]]
    for item in items:
        choices = choices_of(item.facts)
        letter = letter_of(said[item.id], choices) or said[item.id]
        rows.append([item.id, item.facts["asked"], *(choices + [""] * 4)[:4], letter])
    path = folder / "mmbench.xlsx"
    write_spreadsheet(path, rows)
    return path


TASK = Task(
    name="mmbench",
    title="MMBench",
    headline="accuracy",
    unit="question",
    layout="mmbench_dev_*.tsv (index, question, hint, A to D, answer, category, image in base64)",
    items=items,
    score=score,
    submission=submission,
)
CIRCULAR = replace(
    TASK,
    name="mmbench_circular",
    title="MMBench (circular)",
    items=circular_items,
    tallies=all_rotations,
    submission=None,
)
CHINESE = replace(
    TASK,
    name="mmbench_cn",
    title="MMBench (Chinese)",
    items=chinese_items,
    layout="mmbench_dev_cn_*.tsv, as MMBench",
)
TASKS = (TASK, CIRCULAR, CHINESE)
