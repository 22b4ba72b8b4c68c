"""MME: fourteen tasks of yes or no, two questions a picture; accuracy plus the share of pictures with both right.

Source: Fu et al. 2023, arXiv:2306.13394; truth files of the official evaluation, picture, question and answer by
tabs, the two questions of a picture in consecutive rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import TypeAlias

from seetell.errors import BadInput, DamagedFile
from seetell.evals.rows import by_key, named, picture_in, read_rows, read_text
from seetell.evals.task import (
    ASKED,
    RIGHT,
    Files,
    Graded,
    Number,
    Score,
    Tally,
    Task,
    Totals,
    ratio,
    right_or_wrong,
    summed,
)
from seetell.evals.yes_no import SHORT_TAIL, label, mme_says
from seetell.types import Answer, Item

PERCEPTION = ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR")
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
YES_NO_TAIL = "Please answer yes or no."
PAIRS, BOTH = "pairs:", "both:"
Key: TypeAlias = tuple[str, str, str]  # task, picture, question


def score(item: Item, answer: Answer) -> Score:
    said = mme_says(answer.text)
    return right_or_wrong(item, float(said == item.accepted[0]), item.kind, parsed=bool(said), evidence=said)


def tallies(scores: Sequence[Score]) -> dict[str, Tally]:
    """What is right, and, where both questions of a picture were scored, whether both are."""
    values: dict[str, list[float]] = defaultdict(list)
    kinds = {score.item.group: score.item.kind for score in scores}
    for one in scores:
        values[one.item.group].append(one.value)
    return {
        group: {
            **tally,
            **({PAIRS + kinds[group]: 1.0, BOTH + kinds[group]: min(values[group])} if len(values[group]) == 2 else {}),
        }
        for group, tally in summed(scores).items()
    }


def metrics(totals: Totals) -> dict[str, Number]:
    found: dict[str, Number] = {}
    for kind in PERCEPTION + COGNITION:
        if PAIRS + kind in totals:
            accuracy = ratio(totals[RIGHT + kind], totals[ASKED + kind])
            found[kind] = 100 * (accuracy + ratio(totals[BOTH + kind], totals[PAIRS + kind]))
    for name, kinds in (("perception", PERCEPTION), ("cognition", COGNITION)):
        parts = [found[kind] for kind in kinds if kind in found]
        if parts:
            found[name] = sum(parts[1:], start=parts[0])
    return found


def items(data: Path) -> list[Item]:
    truth = data / "truth" if (data / "truth").is_dir() else data
    return [
        Item(
            id="/".join(key),
            question=f"{key[2]}\n{SHORT_TAIL}",
            images=(picture_in((data / key[0], data / key[0] / "images", data / "images" / key[0]), key[1]),),
            accepted=(answer,),
            kind=key[0],
            group=f"{key[0]}/{key[1]}",
        )
        for key, answer in _truth(truth).items()
    ]


def _truth(folder: Path) -> dict[Key, str]:
    files = [folder / f"{kind}.txt" for kind in PERCEPTION + COGNITION if (folder / f"{kind}.txt").is_file()]
    if not files:
        raise BadInput(f"{folder} holds no <task>.txt of MME; docs/data.md says where its owner publishes them.")
    table: dict[Key, str] = {}
    for path in files:
        rows = list(_rows(path, 3))
        for one, other in zip(rows[::2], rows[1::2], strict=False):
            if one[0] != other[0]:
                raise DamagedFile(
                    f"{path} has an odd number of questions about {one[0]}: MME asks two of each picture."
                )
        table |= by_key(
            (((path.stem, row[0], folded(row[1])), label(row[2], path)) for row in rows), path, "the question"
        )
    return table


def _rows(path: Path, columns: int) -> Iterator[list[str]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        cells = [cell.strip() for cell in line.rstrip("\r").split("\t", columns - 1)]
        if cells != [""]:
            if len(cells) != columns:
                raise DamagedFile(f"{path}, line {number}, should have {columns} columns with tabs between them.")
            yield cells


def folded(question: str) -> str:
    """A question without the two sentences that ask for the form of its answer, white space folded."""
    return " ".join(question.replace(YES_NO_TAIL, " ").replace(SHORT_TAIL, " ").split())


def contract(files: Files) -> Graded:
    """A folder of `<task>.txt` with the answer as the fourth column, or JSONL with `question_id` task/…/picture."""
    folder = files.need("truth")
    truth = items(folder)
    path = files.answers_file
    known = by_key(((_joined(*item.id.split("/", 2)), item.id) for item in truth), folder, "the question")
    said: list[tuple[str, Answer]] = []
    for key, text in _of_folder(path) if path.is_dir() else _of_rows(path):
        id = known.get(_joined(*key))
        if id is None:
            raise BadInput(f"{path} answers {key[2]!r} about {key[0]}/{key[1]}, which the truth does not ask.")
        said.append((id, Answer(id, text)))
    return TASK.grade(truth, by_key(said, path, "an answer to").values())


def _joined(kind: str, picture: str, question: str) -> Key:
    """What answers are joined by: LLaVA's own converter names pictures `0001.txt`."""
    return kind, PurePath(picture).stem, question


def _of_folder(folder: Path) -> Iterator[tuple[Key, str]]:
    for path in sorted(folder.glob("*.txt")):
        if path.stem in PERCEPTION + COGNITION:
            for picture, question, _, text in _rows(path, 4):
                yield (path.stem, picture, folded(question)), text


def _of_rows(path: Path) -> Iterator[tuple[Key, str]]:
    for row in read_rows(path):
        parts = named(row, "question_id", path).split("/")
        yield (parts[0], parts[-1], folded(named(row, "prompt", path))), named(row, "text", path)


TASK = Task(
    name="mme",
    title="MME",
    headline="perception",
    unit="picture",
    layout="truth/<task>.txt (picture, question, answer by tabs), <task>/<picture>",
    items=items,
    score=score,
    metrics=metrics,
    tallies=tallies,
    contract=contract,
)
