"""ScienceQA: multiple choice over school science, with or without a picture; nine columns of accuracy.

Prompts are named as the dataset's authors name them: what is shown (QCM: question, context, choices; CQM: the
context first) and what is answered (A; LEA: lecture, explanation, answer; LEPA: the same under headings). TXT is
"has a hint", IMG "has a picture", NO "has neither": TXT and IMG overlap.

Source: Lu et al. 2022, arXiv:2209.09513; the parsing rule is that of LLaVA's evaluation, and no kinder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from seetell.console import say
from seetell.errors import BadInput
from seetell.evals.rows import by_key, found_in, named, read_object, read_object_or_rows
from seetell.evals.task import Files, Graded, Number, Score, Task, Totals, right_or_wrong, shares
from seetell.files import as_list, as_object
from seetell.types import Answer, Image, Item

LETTERS = "ABCDE"
COLUMNS = ("NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12", "Avg")
SUBJECTS = {"natural science": "NAT", "social science": "SOC", "language science": "LAN"}
LETTER_TAIL = "\nAnswer with the option's letter from the given choices directly."
_SAID = re.compile(r"The answer is ([A-Z])\.")
_LETTER_FIRST = re.compile(r"([A-E])\. ", re.DOTALL)


def parse(text: str) -> str:
    """The letter that an answer gives, or nothing: the whole text is one letter, or it starts `B. `, or it says
    `The answer is B.` exactly once."""
    if text in tuple(LETTERS):
        return text
    if found := _LETTER_FIRST.match(text):
        return found[1]
    said = _SAID.findall(text)
    return said[0] if len(said) == 1 else ""


def score(item: Item, answer: Answer) -> Score:
    letter = parse(answer.text)
    at = LETTERS.find(letter) if letter else -1
    readable = 0 <= at < int(item.facts["choices"])
    return marked(item, at if readable else -1, letter)


def marked(item: Item, chosen: int, evidence: str) -> Score:
    """A score for a chosen index; -1 is no choice at all."""
    right = chosen == int(item.facts["answer"])
    return right_or_wrong(item, float(right), *item.facts["columns"].split(), parsed=chosen >= 0, evidence=evidence)


def metrics(totals: Totals) -> dict[str, Number]:
    found = shares(totals)
    return {name: found[name] for name in COLUMNS if name in found}


# ------------------------------------------------------------------------------------------- prompts


def options(choices: list[str]) -> str:
    return " ".join(f"({LETTERS[at]}) {choice}" for at, choice in enumerate(choices))


def question_text(problem: Mapping[str, Any], form: str = "QCM") -> str:
    """What is shown, in the order of the form's letters; a problem without a hint has the context `N/A`."""
    parts = {
        "Q": str(problem["question"]),
        "C": f"Context: {str(problem.get('hint') or '').strip() or 'N/A'}",
        "M": f"Options: {options(problem['choices'])}",
    }
    if sorted(form) != sorted(parts):
        raise BadInput(f"There is no prompt format {form!r}: give Q, C and M in an order, such as QCM.")
    return "\n".join(parts[letter] for letter in form)


def answer_text(problem: Mapping[str, Any], form: str = "A") -> str:
    """What is to be said: `A`, or the lecture (L) and explanation (E) before or after it; P writes headings."""
    letter = LETTERS[int(problem["answer"])]
    lecture, solution = str(problem.get("lecture") or "").strip(), str(problem.get("solution") or "").strip()
    if form == "A":
        return letter
    if form in ("LEPA", "EPA"):
        told = [f"LECTURE: {lecture}"] if lecture and form[0] == "L" else []
        told += [f"SOLUTION: {solution}"] if solution else []
        return "\n".join([*told, "###", f"ANSWER: {letter}."])
    said = {"L": lecture, "E": solution, "A": f"The answer is {letter}."}
    if not set(form) <= set(said) or "A" not in form:
        raise BadInput(f"There is no answer format {form!r}: give A, AL, AE, ALE, LA, EA, LEA, ELA, EPA or LEPA.")
    return " ".join(said[part] for part in form if said[part])


# --------------------------------------------------------------------------------------------- items


def problem_items(
    problems: Mapping[str, Any], images: Path | None = None, form: str = "CQM", tail: str = ""
) -> list[Item]:
    return [_item(pid, _problem(pid, row), images, form, tail) for pid, row in problems.items()]


def _problem(pid: str, row: object) -> dict[str, Any]:
    problem = as_object(row)
    if problem is None or not as_list(problem.get("choices")) or problem.get("answer") is None:
        raise BadInput(f"ScienceQA problem {pid} has no choices or no answer.")
    return problem


def _item(pid: str, problem: dict[str, Any], images: Path | None, form: str, tail: str) -> Item:
    pictures: tuple[Image, ...] = ()
    if problem.get("image") and images is not None:
        pictures = (Image(str(images / str(problem.get("split", "test")) / pid / str(problem["image"]))),)
    answer = int(problem["answer"])
    return Item(
        id=pid,
        question=question_text(problem, form) + tail,
        images=pictures,
        accepted=(LETTERS[answer],),
        kind=str(problem.get("subject", "")),
        group=pid,
        facts={
            "answer": str(answer),
            "choices": str(len(problem["choices"])),
            "columns": " ".join(_columns(problem)),
        },
    )


def _columns(problem: Mapping[str, Any]) -> Iterator[str]:
    """Which of the nine columns a problem counts in."""
    yield "Avg"
    if subject := SUBJECTS.get(str(problem.get("subject"))):
        yield subject
    hint, image = bool(problem.get("hint")), bool(problem.get("image"))
    if hint:
        yield "TXT"
    if image:
        yield "IMG"
    if not hint and not image:
        yield "NO"
    if grade := re.fullmatch(r"grade(\d+)", str(problem.get("grade"))):
        yield "G1-6" if int(grade[1]) <= 6 else "G7-12"


def items(data: Path) -> list[Item]:
    """As LLaVA-1.5 asks: the context first, and for a letter alone."""
    return _items(data, "CQM", LETTER_TAIL)


def items_as_tuned(data: Path) -> list[Item]:
    """As a model was tuned that saw the problems as conversations: nothing tells it to leave its reasons out."""
    return _items(data, "QCM", "")


def _items(data: Path, form: str, tail: str) -> list[Item]:
    """The test split, or every problem where no file of splits lies beside them."""
    problems = read_object(found_in(data, "problems.json", "problems_full_150.json"))
    splits = data / "pid_splits.json"
    wanted = _split(splits) if splits.is_file() else list(problems)
    return problem_items({pid: problems[pid] for pid in wanted if pid in problems}, _images(data), form, tail)


def _images(data: Path) -> Path:
    return data / "images" if (data / "images").is_dir() else data


def _split(path: Path, name: str = "test") -> list[str]:
    pids = as_list(read_object(path).get(name))
    if pids is None:
        raise BadInput(f"{path} has no split `{name}`.")
    return [str(pid) for pid in pids]


# ------------------------------------------------------------------------------------------ contract


def contract(files: Files) -> Graded:
    """Scores LLaVA's result file (`outputs`: pid to text) or JSONL rows; with `stored`, the file's own `results`."""
    problems = read_object(files.need("truth"))
    said = _stored(files.answers_file) if files.stored else texts_of(files.answers_file)
    wanted = _split(files.splits) if files.splits else _of_the_same_splits(problems, said)
    unknown = [pid for pid in wanted if pid not in problems]
    if unknown:
        raise BadInput(f"{files.truth} lacks {len(unknown)} problems of the split, the first is {unknown[0]}.")
    if not wanted:
        raise BadInput(f"{files.answers_file} answers none of the problems of {files.truth}.")
    missing = [pid for pid in wanted if pid not in said]
    if missing:
        raise BadInput(f"{files.answers_file} has no answer to {len(missing)} problems, the first is {missing[0]}.")
    asked = problem_items({pid: problems[pid] for pid in wanted})
    if len(said) > len(asked):
        say(f"{len(said) - len(asked)} answers are about other problems and are ignored.")
    if files.stored:
        return TASK.graded(marked(item, int(said[item.id]), "stored") for item in asked)
    return TASK.grade(asked, [Answer(pid, text) for pid, text in said.items()])


def _of_the_same_splits(problems: Mapping[str, Any], said: Mapping[str, str]) -> list[str]:
    """Without a split file, all problems of the splits that the answers are about."""

    def split(pid: str) -> str:
        return str(_problem(pid, problems[pid]).get("split"))

    touched = {split(pid) for pid in said if pid in problems}
    return [pid for pid in problems if split(pid) in touched]


def texts_of(path: Path) -> dict[str, str]:
    file = read_object_or_rows(path)
    outputs = as_object(file.get("outputs")) if isinstance(file, dict) else None
    if outputs is not None:
        return {pid: named(outputs, pid, path) for pid in outputs}
    rows = [file] if isinstance(file, dict) else file
    pairs = ((named(row, "question_id", path), named(row, "text", path)) for row in rows)
    return by_key(pairs, path, "the question")


def _stored(path: Path) -> dict[str, str]:
    results = as_object(read_object(path).get("results"))
    if results is None:
        raise BadInput(f"{path} has no `results` to score with --stored.")
    for pid, index in results.items():
        if index is not None and (not isinstance(index, int) or isinstance(index, bool)):
            raise BadInput(f"{path}: the stored choice of problem {pid} should be a number, and is {index!r}.")
    return {pid: "-1" if index is None else str(index) for pid, index in results.items()}


TASK = Task(
    name="scienceqa",
    title="ScienceQA",
    headline="Avg",
    unit="question",
    layout="problems.json, pid_splits.json, images/<split>/<pid>/image.png",
    items=items,
    score=score,
    metrics=metrics,
    contract=contract,
    published=("llava_table7",),
)
AS_TUNED = replace(
    TASK,
    name="scienceqa_qcm",
    title="ScienceQA (asked as it was tuned, QCM)",
    items=items_as_tuned,
    contract=None,
    max_new_tokens=1024,
)
