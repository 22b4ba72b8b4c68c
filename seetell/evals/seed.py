"""SEED-Bench: multiple choice about pictures and videos; a video is asked about by its middle frame.

Source: Li et al. 2023, arXiv:2307.16125.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from seetell.errors import BadInput
from seetell.evals.choices import LETTERS, facts_of_choices, question_text, score
from seetell.evals.rows import found_in, list_under, named, picture_in, read_object
from seetell.evals.task import Number, Task, Totals, shares
from seetell.files import append_jsonl, as_object
from seetell.types import Answer, Item

CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")


def items(data: Path) -> list[Item]:
    path = found_in(data, "SEED-Bench.json")
    file = read_object(path)
    kinds = {str(number): str(name) for name, number in (as_object(file.get("question_type")) or {}).items()}
    return [_item(row, kinds, data, path) for row in list_under(file, "questions", path)]


def _item(row: Mapping[str, Any], kinds: Mapping[str, str], data: Path, path: Path) -> Item:
    choices = [named(row, choice, path) for choice in takewhile(lambda choice: row.get(choice) is not None, CHOICES)]
    sort, picture = named(row, "data_type", path), named(row, "data_id", path)
    video = sort != "image"
    folders = (data / "SEED-Bench-video-image",) if video else (data / "SEED-Bench-image", data / "images")
    number = named(row, "question_id", path)
    kind = kinds.get(str(row.get("question_type_id")), "")
    return Item(
        id=number,
        question=question_text(named(row, "question", path), choices),
        images=(picture_in(folders, f"{number}.png" if video else picture),),
        accepted=_accepted(row, choices, path),
        kind=kind,
        group=picture,
        facts=facts_of_choices(choices, [*filter(None, ("video" if video else "image", "all", kind))]),
    )


def _accepted(row: Mapping[str, Any], choices: Sequence[str], path: Path) -> tuple[str, ...]:
    """The right letter; none where the file keeps its answers to itself."""
    if not row.get("answer"):
        return ()
    answer = named(row, "answer", path)
    if answer not in tuple(LETTERS[: len(choices)]):
        raise BadInput(f"{path}: the answer of question {row['question_id']} is {answer!r}, which is none of its "
                       f"{len(choices)} choices' letters.")  # fmt: skip
    return (answer,)


def metrics(totals: Totals) -> dict[str, Number]:
    found = shares(totals)
    first = [name for name in ("image", "video", "all") if name in found]
    return {name: found[name] for name in (*first, *sorted(set(found) - set(first)))}


def submission(items: Sequence[Item], answers: Sequence[Answer], folder: Path) -> Path:
    """The leaderboard's rows, in the questions' order."""
    said = {answer.item_id: answer.text for answer in answers}
    path = folder / "seed.jsonl"
    path.unlink(missing_ok=True)
    with append_jsonl(path) as rows:
        for item in items:
            rows.write({"question_id": item.id, "prediction": said[item.id].strip()})
    return path


TASK = Task(
    name="seed",
    title="SEED-Bench",
    headline="all",
    unit="picture",
    layout="SEED-Bench.json, SEED-Bench-image/, SEED-Bench-video-image/<question_id>.png",
    items=items,
    score=score,
    metrics=metrics,
    submission=submission,
)
