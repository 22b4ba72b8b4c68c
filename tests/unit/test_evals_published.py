"""A run stands against a printed figure only where judge, questions and template are the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seetell.evals.published import TABLES, why_not_compared
from seetell.evals.report import Figures
from seetell.evals.run import Row, Run
from seetell.evals.task import Score
from seetell.evals.tasks import TASKS
from seetell.types import Answer, Item

WILD = {"limit": None, "judge": "gpt-4-0314", "template": "vicuna-v1"}


@pytest.mark.parametrize(
    ("table", "task", "changed", "items", "why"),
    [
        ("llava_table5", "llava_bench_wild", {}, 60, None),
        ("llava_table5", "llava_bench_wild", {}, 24, "24 questions were asked of 60"),
        ("llava_table5", "llava_bench_wild", {"limit": 60}, 60, "60 questions were asked"),
        ("llava_table5", "llava_bench_wild", {"judge": "rules"}, 60, "the judge is rules, and was gpt-4-0314 there"),
        ("llava_table5", "llava_bench_wild", {"template": "own"}, 60, "the chat template is own, and was vicuna-v1"),
        ("llava_table5", "llava_bench_wild", {"template": None}, 60, "the chat template is not known"),
        ("llava15", "mmvet", {"judge": "gpt-4-0613"}, 218, None),
        ("llava15", "vizwiz", {"judge": None}, 8000, None),
        ("llava15", "pope", {"judge": None}, 9000, None),
        ("llava_table7", "scienceqa", {"judge": None}, 4241, "the chat template is vicuna-v1, and was vicuna-v0 there"),
    ],
)
def test_what_keeps_a_run_from_being_compared(
    table: str, task: str, changed: dict[str, object], items: int, why: str | None
) -> None:
    said = why_not_compared(TABLES[table], task, WILD | changed, items)
    assert said is None if why is None else said is not None and why in said


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("vicuna-v1", "Published Wild of 7B: 65.4; this is"),
        ("own", "Not compared with LLaVA-1.5: the chat template is own, and was vicuna-v1 there."),
    ],
)
def test_the_report_compares_or_says_why_not(template: str, told: str) -> None:
    items = [Item(str(number), "What is it?") for number in range(60)]
    tally = {"all:ours": 3.0, "all:theirs": 6.0}
    rows = tuple(Row(item, Answer(item.id, "x"), Score(item, 50.0, tally)) for item in items)
    task = replace(TASKS["llava_bench_wild"], metrics=lambda totals: {"all": totals["all:ours"] / totals["all:theirs"]})
    run = Run({"name": "run", **WILD, "template": template}, task, rows, metrics={"all": 0.5})
    said = Figures(task, [run]).to_json()["report"]
    assert isinstance(said, list)
    assert len(said) == 1
    assert told in said[0]
