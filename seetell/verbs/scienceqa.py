"""`seetell scienceqa`: problems to conversations, and two models' answers joined as the LLaVA paper joins them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from seetell.console import say
from seetell.files import append_jsonl, read_json
from seetell.publish import output_file, output_folder


def convert(
    problems: str | Path,
    out: str | Path,
    *,
    images: str | Path = "",
    form: str = "QCM-LEA",
    picture: str = "before",
    split: str = "",
) -> int:
    """Writes the conversations of a split; returns how many there are."""
    from seetell.evals.scienceqa_talks import conversations
    from seetell.sources.conversations import write_conversations

    out = output_file(out)
    folder = Path(images) if images else Path(problems).parent / "images"
    found = list(conversations(read_json(problems), folder, form=form, picture=picture, split=split))
    write_conversations(out, found, folder)
    say(f"{len(found)} conversations in {out}, pictures under {folder}.")
    return len(found)


def join(
    answers: str | Path,
    second: str | Path,
    truth: str | Path,
    out: str | Path,
    *,
    judge: str = "",
    judge_temperature: float | None = 0.0,
    judge_max_tokens: int | None = None,
) -> Mapping[str, float]:
    """Joins two answer files: as complements, or where a judge is given, by asking it where they differ."""
    from seetell.evals.ensembles import complement, judged
    from seetell.evals.judge import Manner
    from seetell.evals.scienceqa import TASK, problem_items, texts_of
    from seetell.verbs.eval import make_judge

    out = output_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    first, other = texts_of(Path(answers)), texts_of(Path(second))
    problems = read_json(truth)
    items = problem_items({pid: row for pid, row in problems.items() if pid in first and pid in other})
    asked = make_judge(judge, out, both_orders=False, manner=Manner(judge_temperature, judge_max_tokens))
    joined = complement(items, first, other) if asked is None else judged(items, first, other, asked)
    path = out / "answers.jsonl"
    path.unlink(missing_ok=True)
    with append_jsonl(path) as rows:
        for answer in joined.answers:
            rows.write({"question_id": answer.item_id, "text": answer.text})
    graded = TASK.grade(items, joined.answers)
    print(json.dumps({**graded.to_json(), "asked": joined.asked, "fell_back": joined.fell_back}))
    return graded.metrics
