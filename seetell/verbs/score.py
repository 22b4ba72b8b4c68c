"""`seetell score`: scores answers that someone already has, by the official rule and nothing kinder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from seetell.config import pick
from seetell.console import say
from seetell.errors import ServiceError, UsageError
from seetell.evals.task import Files, Graded


def score(
    task: str,
    answers: Sequence[str | Path],
    *,
    truth: str | Path | None = None,
    questions: str | Path | None = None,
    splits: str | Path | None = None,
    stored: bool = False,
    as_json: bool = False,
) -> Graded:
    """Prints the metrics, as a table or as one JSON object; failed judgements are a ServiceError after that."""
    from seetell.evals.report import metrics_table
    from seetell.evals.tasks import CONTRACTS

    chosen = pick(CONTRACTS, task, "task to score")
    if chosen.contract is None:
        raise UsageError(f"{task} has no format of answers to score.")
    paths = [None if path is None else Path(path) for path in (truth, questions, splits)]
    files = Files(tuple(map(Path, answers)), paths[0], paths[1], paths[2], stored)
    graded = chosen.contract(files)
    if as_json:
        print(json.dumps(graded.to_json(), ensure_ascii=False))
    else:
        print(metrics_table(chosen, graded))
    if graded.unparsed:
        say(f"{graded.unparsed} of {graded.items} answers could not be read and count as wrong.")
    if graded.unscored:
        lost = graded.unscored
        raise ServiceError(f"{len(lost)} judgements failed; they are in no figure above. The first: {lost[0].why}")
    return graded
