"""ScienceQA: prompts, conversations to tune on, and two models joined, with right counts known by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from seetell.ask.chat import Completion, Message
from seetell.errors import BadInput, UsageError
from seetell.evals.ensembles import Joined, complement, judged
from seetell.evals.judge import Judge
from seetell.evals.scienceqa import TASK, answer_text, parse, problem_items, question_text
from seetell.evals.scienceqa_talks import conversations
from seetell.sources.conversations import read_conversations
from seetell.types import Conversation, Image
from seetell.verbs.scienceqa import convert, join

PROBLEM: dict[str, Any] = {
    "question": "Which is soft?", "choices": ["stone", "wool"], "answer": 1, "hint": "Feel them.", "image": "image.png",
    "lecture": "Things differ.", "solution": "Wool is soft.", "split": "train", "grade": "grade2",
    "subject": "natural science",
}  # fmt: skip
PLAIN = {**PROBLEM, "hint": "", "image": None, "lecture": "", "split": "test"}


def test_what_is_shown() -> None:
    assert question_text(PROBLEM) == "Which is soft?\nContext: Feel them.\nOptions: (A) stone (B) wool"
    assert question_text(PLAIN, "CQM") == "Context: N/A\nWhich is soft?\nOptions: (A) stone (B) wool"
    with pytest.raises(BadInput):
        question_text(PROBLEM, "QCX")


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("A", "B"),
        ("LEA", "Things differ. Wool is soft. The answer is B."),
        ("ALE", "The answer is B. Things differ. Wool is soft."),
        ("EA", "Wool is soft. The answer is B."),
        ("LEPA", "LECTURE: Things differ.\nSOLUTION: Wool is soft.\n###\nANSWER: B."),
    ],
)
def test_what_is_answered(form: str, text: str) -> None:
    assert answer_text(PROBLEM, form) == text


@pytest.mark.parametrize("form", ["A", "LEA", "ALE", "AE", "LA"])
def test_what_is_taught_can_be_read(form: str) -> None:
    assert parse(answer_text(PROBLEM, form)) == "B"


def test_conversations_go_to_a_file_and_back(tmp_path: Path) -> None:
    (tmp_path / "problems.json").write_text(json.dumps({"1": PROBLEM, "2": PLAIN}))
    for place in ("before", "after"):
        out = tmp_path / f"{place}.json"
        assert convert(tmp_path / "problems.json", out, form="QCM-LEA", picture=place) == 2
        first, second = list(read_conversations(out, tmp_path / "images"))
        assert isinstance(first, Conversation)
        assert isinstance(second, Conversation)
        picture = Image(str(tmp_path / "images/train/1/image.png"))
        assert first.images == (picture,)
        assert first.turns[0].parts.index(picture) == (0 if place == "before" else 1)
        assert second.images == ()
        assert first.turns[1].text == answer_text(PROBLEM, "LEA")
    assert [each.id for each in conversations({"1": PROBLEM, "2": PLAIN}, tmp_path, split="test")] == ["2"]
    with pytest.raises(UsageError):
        list(conversations({"1": PROBLEM}, tmp_path, form="QCM"))


# ------------------------------------------------------------------------------------------ ensembles

# pid: truth, the first model's answer, the second's, what the judge says when they differ
CASES: dict[str, tuple[int, str, str, str]] = {
    "agree right": (0, "A", "The answer is A.", ""),
    "agree wrong": (0, "B", "B", ""),
    "first right": (0, "A", "B", "So. The answer is A."),
    "second right": (1, "A", "The answer is B.", "The answer is B."),
    "second silent": (1, "B", "I need the image.", "The answer is A."),
    "judge silent": (0, "A", "B", "I cannot decide."),
    "no such choice": (0, "A", "The answer is E.", "The answer is A."),
}


class Third:
    name = "third"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def complete(
        self, messages: Sequence[Message], *, temperature: float | None = 0.0, max_tokens: int | None = None
    ) -> Completion:
        del temperature, max_tokens
        name = next(name for name in CASES if f"Problem {name}?" in messages[-1].content)
        self.asked.append(name)
        return Completion(CASES[name][3])


def problems() -> dict[str, dict[str, Any]]:
    return {name: {**PLAIN, "question": f"Problem {name}?", "answer": truth} for name, (truth, *_) in CASES.items()}


def right(joined: Joined) -> set[str]:
    graded = TASK.grade(problem_items(problems()), joined.answers)
    return {score.item.id for score in graded.scores if score.value}


def test_complement_is_the_second_where_it_can_be_read() -> None:
    first, second = ({name: str(case[at]) for name, case in CASES.items()} for at in (1, 2))
    joined = complement(problem_items(problems()), first, second)
    assert right(joined) == {"agree right", "second right", "second silent", "no such choice"}
    assert joined.fell_back == 2


def test_a_judge_is_asked_only_where_they_differ(tmp_path: Path) -> None:
    first, second = ({name: str(case[at]) for name, case in CASES.items()} for at in (1, 2))
    third = Third()
    joined = judged(problem_items(problems()), first, second, Judge(third, tmp_path / "judge.jsonl"))
    assert set(third.asked) == set(CASES) - {"agree right", "agree wrong"}
    assert right(joined) == {"agree right", "first right", "second right", "judge silent", "no such choice"}
    assert (joined.asked, joined.fell_back) == (5, 1)


def test_join_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "problems.json").write_text(json.dumps(problems()))
    for at, name in ((1, "one"), (2, "two")):
        rows = [json.dumps({"question_id": pid, "text": case[at]}) for pid, case in CASES.items()]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    files = [tmp_path / name for name in ("one.jsonl", "two.jsonl", "problems.json", "out")]
    metrics = join(*files)
    assert metrics["Avg"] == pytest.approx(100 * 4 / 7)
    assert json.loads(capsys.readouterr().out)["fell_back"] == 2
    assert len((tmp_path / "out/answers.jsonl").read_text().splitlines()) == 7
