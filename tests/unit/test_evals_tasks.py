"""Every task in the table, asked of three answerers: perfect, wrong and unreadable."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from seetell.ask.chat import Completion, Message
from seetell.evals import drawn
from seetell.evals.judge import Judge
from seetell.evals.run import limited
from seetell.evals.task import Graded, Task
from seetell.evals.tasks import TASKS
from seetell.evals.vqa import normal
from seetell.types import Answer, Item
from tests.tiny_benchmarks import BENCHMARKS

GIBBERISH = "qwzx vrtk."
COUNTED_UNPARSED = {"scienceqa", "scienceqa_qcm", "mme", "mmbench", "mmbench_circular", "mmbench_cn", "seed"}
MAXIMUM = {"mme": 200.0}  # of every metric; else 100, but for CIDEr


class KnowingJudge:
    """Gives full marks to the true answer, none to another, and no verdict on what cannot be read."""

    name = "knowing"

    async def complete(
        self, messages: Sequence[Message], *, temperature: float | None = 0.0, max_tokens: int | None = None
    ) -> Completion:
        del temperature
        prompt = messages[-1].content
        if GIBBERISH.rstrip(".") in prompt:
            return Completion("I cannot judge this.")
        if max_tokens == 16:  # MM-Vet's grade
            truth, said = prompt.rstrip().removesuffix("|").rsplit("|", 2)[1:]
            return Completion("1.0" if truth.strip() in said else "0.0")
        one, other = (prompt.split(f"[Assistant {at}]\n")[1].split("\n\n[End")[0] for at in (1, 2))
        return Completion("10 10" if one == other else "10 0")


def tiny_items(name: str, folder: Path) -> tuple[Task, list[Item]]:
    if name == "drawn":
        return TASKS[name], drawn.items(2)
    BENCHMARKS[name](folder)
    return TASKS[name], TASKS[name].items(folder)


def grade(task: Task, items: Sequence[Item], texts: Sequence[str], folder: Path) -> Graded:
    answers = [Answer(item.id, text) for item, text in zip(items, texts, strict=True)]
    if task.judging is None:
        return task.grade(items, answers)
    judge = Judge(KnowingJudge(), folder / "judge.jsonl")
    return task.graded(each.result for each in judge.judge(task.judging, zip(items, answers, strict=True)))


def perfect(item: Item) -> str:
    return item.accepted[0]


def wrong(item: Item) -> str:
    """Readable, and not among what is accepted."""
    right = {accepted.lower() for accepted in item.accepted}
    letters, words = ("A", "B"), ("yes", "no")
    for known in (letters, words):
        if item.accepted[0] in known or item.accepted[0] in ("C", "D"):
            return next(choice for choice in known if choice.lower() not in right)
    return "zebra"


@pytest.mark.parametrize("name", TASKS)
def test_perfect_gets_the_maximum(name: str, tmp_path: Path) -> None:
    task, items = tiny_items(name, tmp_path)
    found = grade(task, items, [perfect(item) for item in items], tmp_path)
    assert task.headline in found.metrics
    yes_share = {metric for metric in found.metrics if metric.endswith("_yes")}
    for metric in set(found.metrics) - yes_share:
        assert found.metrics[metric] == pytest.approx(1000.0 if metric == "CIDEr" else MAXIMUM.get(name, 100.0)), metric
    assert (found.unparsed, found.unscored) == (0, ())


@pytest.mark.parametrize("name", TASKS)
def test_wrong_gets_the_minimum(name: str, tmp_path: Path) -> None:
    task, items = tiny_items(name, tmp_path)
    found = grade(task, items, [wrong(item) for item in items], tmp_path)
    assert found.metrics[task.headline] == pytest.approx(0.0)
    assert (found.unparsed, found.unscored) == (0, ())


@pytest.mark.parametrize("name", TASKS)
def test_unreadable_is_wrong_and_counted_or_has_no_score(name: str, tmp_path: Path) -> None:
    task, items = tiny_items(name, tmp_path)
    found = grade(task, items, [GIBBERISH] * len(items), tmp_path)
    if task.judging is not None:
        assert len(found.unscored) == len(items)
        assert found.metrics == {}
        return
    assert found.unparsed == (len(items) if name in COUNTED_UNPARSED else 0)
    if name != "pope":  # whose rule takes for a yes what has no no in it
        assert found.metrics[task.headline] == pytest.approx(0.0)


@pytest.mark.parametrize("name", TASKS)
def test_items_are_whole(name: str, tmp_path: Path) -> None:
    task, items = tiny_items(name, tmp_path)
    assert len({item.id for item in items}) == len(items)
    assert all(item.group for item in items)
    assert task.unit in ("question", "picture")
    for item in items:
        for image in item.images:
            assert image.data is not None or Path(image.path).is_file(), image.path


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.submission])
def test_submissions_hold_every_answer(name: str, tmp_path: Path) -> None:
    task, items = tiny_items(name, tmp_path)
    assert task.submission is not None
    path = task.submission(items, [Answer(item.id, perfect(item)) for item in items], tmp_path)
    if path.suffix == ".xlsx":
        with zipfile.ZipFile(path) as archive:
            sheet = archive.read("xl/worksheets/sheet1.xml").decode()
        assert sheet.count("<row>") == len(items) + 1
        return
    text = path.read_text()
    rows = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
    assert len(rows) == len(items)
    said = str(rows)
    assert all(normal(perfect(item)) in said.lower() for item in items)


def test_ocr_tokens_are_in_one_prompt_and_not_in_the_other(tmp_path: Path) -> None:
    _, alone = tiny_items("textvqa", tmp_path)
    with_tokens = TASKS["textvqa_ocr"].items(tmp_path)
    assert [item.question.count("OCR") for item in alone] == [0] * 5
    assert with_tokens[1].question.split("\n")[1] == "Reference OCR token: green, x"


def test_circular_is_right_only_in_all_rotations(tmp_path: Path) -> None:
    task, items = tiny_items("mmbench_circular", tmp_path)
    assert len(items) == 15
    always_a = task.grade(items, [Answer(item.id, "A") for item in items])
    assert always_a.metrics["accuracy"] == 0
    texts = {item.id: json.loads(item.facts["choices"])["ABC".index(item.accepted[0])] for item in items}
    assert [texts[f"0/{by}"] for by in range(3)] == ["red"] * 3


def test_limit_asks_exactly_as_many_and_keeps_groups_whole_where_it_can(tmp_path: Path) -> None:
    _, items = tiny_items("mme", tmp_path)
    for limit in range(1, len(items)):
        assert len(limited(items, limit)) == limit
    assert limited(items, 4) == items[:4]
    assert limited(items, None) == limited(items, len(items)) == items
    sizes = (4, 3, 1, 2)  # pictures of so many questions
    mixed = [Item(f"{group}{n}", "?", group=str(group)) for group, size in enumerate(sizes) for n in range(size)]
    assert [item.id for item in limited(mixed, 5)] == ["00", "01", "02", "03", "20"]
    assert [item.id for item in limited(mixed, 6)] == ["00", "01", "02", "03", "10", "20"]


def test_the_drawn_task_is_the_demos(tmp_path: Path) -> None:
    task, items = tiny_items("drawn", tmp_path)
    answers = [Answer(item.id, perfect(item) if at % 3 else "zebra") for at, item in enumerate(items)]
    theirs, ours = drawn.aggregate(items, answers), task.grade(items, answers).metrics
    assert ours["all"] == pytest.approx(100 * theirs.overall)
    assert {name: ours[name] for name in theirs.by_type} == pytest.approx(
        {name: 100 * share for name, share in theirs.by_type.items()}
    )
