"""One model's run of one task: ask, keep every answer as it comes, score, keep every score with its evidence.

A run is a folder: `run.json` (who was asked, how, judged by whom), `answers.jsonl` (the journal: an answer that is in
it is never asked for again), `scores.jsonl` (every item's score with what it stands on). Scores are in the items'
order, so that what comes out does not depend on the order of what came in.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seetell.console import progress
from seetell.errors import BadInput, UsageError
from seetell.evals.answerers import checked
from seetell.evals.judge import Judge
from seetell.evals.llava_bench import OURS, REFERENCE
from seetell.evals.task import Score, Task, has_truth
from seetell.files import append_jsonl, as_object, read_json, read_jsonl, sha256_text, write_json
from seetell.types import Answer, Answerer, Image, Item, Unscored

SECONDS_AT_RISK = 1.0  # of answers, should the process be killed
CUT_OFF, REFUSED = "length", "refused"
MAY_CHANGE = ("limit", "judge", "both_orders", "version")  # what may differ when a run goes on in its folder


@dataclass(frozen=True, slots=True)
class Row:
    """One item with what was said and what came of it; `swapped` marks a judgement in the other order."""

    item: Item
    answer: Answer
    result: Score | Unscored | None
    swapped: bool = False
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run, as the report shows it."""

    facts: Mapping[str, Any]
    task: Task
    rows: tuple[Row, ...]
    submission: Path | None = None
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def name(self) -> str:
        return str(self.facts["name"])

    @property
    def scores(self) -> list[Score]:
        return [row.result for row in self.rows if isinstance(row.result, Score)]

    @property
    def items(self) -> int:
        return len({row.item.id for row in self.rows})

    @property
    def unparsed(self) -> int:
        return sum(not score.parsed for score in self.scores)

    @property
    def unscored(self) -> dict[str, int]:
        return dict(Counter(result.reason for result in self.lost))

    @property
    def lost(self) -> list[Unscored]:
        return [row.result for row in self.rows if isinstance(row.result, Unscored)]

    @property
    def cut_off(self) -> int:
        return len({row.item.id for row in self.rows if row.answer.finish_reason == CUT_OFF})

    @property
    def refused(self) -> int:
        """Items that the model could not be asked about, such as a picture that does not open; they count as said."""
        return len({row.item.id for row in self.rows if row.answer.finish_reason == REFUSED})

    @property
    def answered(self) -> bool:
        """Whether there was a truth to score against."""
        return any(row.result is not None for row in self.rows)

    def position_bias(self) -> tuple[float, float, int] | None:
        """Mean points that the first place gains over the second, its 95 % half width, and how many answers both
        orders were read for. What is in the first place is the reference in one order and the answer in the other."""
        gains: dict[str, list[float]] = {}
        for row in self.rows:
            if isinstance(row.result, Score) and OURS + "all" in row.result.tally:
                ahead = row.result.tally[OURS + "all"] - row.result.tally[REFERENCE + "all"]
                gains.setdefault(row.item.id, []).append(ahead if row.swapped else -ahead)
        both = [sum(pair) / 2 for pair in gains.values() if len(pair) == 2]
        if len(both) < 2:
            return None
        return float(np.mean(both)), 1.96 * float(np.std(both, ddof=1)) / len(both) ** 0.5, len(both)


def limited(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Exactly as many of the first items. Groups, which are scored or resampled together, stay whole where that is
    possible: one that does not fit is passed over, and cut only if there is still room at the end."""
    if limit is None or limit >= len(items):
        return list(items)
    if limit < 1:
        raise UsageError("--limit should be 1 or more.")
    groups: dict[str, list[int]] = {}
    for at, item in enumerate(items):
        groups.setdefault(f"group {item.group}" if item.group else f"item {at}", []).append(at)
    taken: list[int] = []
    passed_over: list[int] = []
    for members in groups.values():
        (taken if len(taken) + len(members) <= limit else passed_over).extend(members)
    taken += passed_over[: limit - len(taken)]
    return [items[at] for at in sorted(taken)]


def run(
    task: Task,
    items: Sequence[Item],
    answerer: Answerer,
    folder: Path,
    facts: Mapping[str, Any],
    judge: Judge | None = None,
) -> Run:
    """Asks what is not yet answered, scores everything, writes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _agree(folder / "run.json", facts)
    write_json(folder / "run.json", facts)
    answers = _answers(task, items, answerer, folder / "answers.jsonl")
    ordered = [answers[item.id] for item in items]
    submission = task.submission(items, ordered, folder) if task.submission else None
    rows = tuple(_scored(task, items, answers, judge))
    _write_scores(folder / "scores.jsonl", rows)
    done = Run(facts, task, rows, submission)
    metrics = task.aggregate(done.scores)
    write_json(
        folder / "results.json", {**facts, "metrics": metrics, "unparsed": done.unparsed, "unscored": done.unscored}
    )
    return Run(facts, task, rows, submission, metrics)


def _agree(path: Path, facts: Mapping[str, Any]) -> None:
    """A folder holds one run: who was asked, and how, does not change in it."""
    if not path.is_file():
        return
    before = as_object(read_json(path)) or {}
    for name in (name for name in facts if name not in MAY_CHANGE):
        if name in before and before[name] != facts[name]:
            raise UsageError(
                f"{path.parent} holds another run: {name} was {before[name]!r}, "
                f"now it is {facts[name]!r}. Use another --out."
            )


def question_key(item: Item) -> str:
    """What was asked, by content, as far as it can be told without opening a picture."""
    pictures = [image.path or sha256_text(repr(image.data)) for image in item.images]
    return sha256_text("\n".join([item.question, *pictures]))[:16]


def _answers(task: Task, items: Sequence[Item], answerer: Answerer, path: Path) -> dict[str, Answer]:
    wanted = {item.id: question_key(item) for item in items}
    if len(wanted) != len(items):
        twice = next(id for id, count in Counter(item.id for item in items).items() if count > 1)
        raise BadInput(f"{task.name} has two items with the id {twice}.")
    known = {answer.item_id: answer for answer in _known(path, wanted)}
    missing = [item for item in items if item.id not in known]
    kept_s = 0.0
    with append_jsonl(path) as writer, progress(f"ask {answerer.name}", len(items), len(known)) as bar:

        def keep(answer: Answer) -> None:
            writer.write(
                {
                    "item": answer.item_id,
                    "key": wanted[answer.item_id],
                    "text": answer.text,
                    "finish_reason": answer.finish_reason,
                    "tokens": answer.tokens,
                }
            )
            bar.advance()
            nonlocal kept_s
            if time.monotonic() - kept_s > SECONDS_AT_RISK:
                writer.flush()
                kept_s = time.monotonic()

        if missing:
            known |= checked(missing, answerer.answer(missing), keep)
    if silent := [item.id for item in items if item.id not in known]:
        raise BadInput(f"{answerer.name} gave no answer to {len(silent)} items, the first is {silent[0]}.")
    return known


def _known(path: Path, wanted: Mapping[str, str]) -> Iterator[Answer]:
    """Answers of an earlier run to exactly these questions."""
    if path.is_file():
        for row in read_jsonl(path):
            if wanted.get(str(row["item"])) == row["key"]:
                yield Answer(str(row["item"]), str(row["text"]), str(row["finish_reason"]), int(row["tokens"]))


def _scored(task: Task, items: Sequence[Item], answers: Mapping[str, Answer], judge: Judge | None) -> Iterator[Row]:
    if not has_truth(items):
        yield from (Row(item, answers[item.id], None) for item in items)
    elif task.judging is not None:
        if judge is None:
            raise UsageError(f"{task.name} is judged: give --judge openai:NAME@URL, replay:FILE or rules.")
        pairs = [(item, answers[item.id]) for item in items]
        orders = 2 if judge.both_orders and task.judging.two_sided else 1
        with progress(f"judge by {judge.name}", len(pairs) * orders) as bar:
            for judgement in judge.judge(task.judging, pairs, bar.advance):
                said = answers[judgement.item.id]
                yield Row(judgement.item, said, judgement.result, judgement.swapped, judgement.reply)
    else:
        assert task.score is not None
        score: Callable[[Item, Answer], Score | Unscored] = task.score
        yield from (Row(item, answers[item.id], score(item, answers[item.id])) for item in items)


# --------------------------------------------------------------------------------------------- scores


def _write_scores(path: Path, rows: Sequence[Row]) -> None:
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with append_jsonl(part) as writer:
        for row in rows:
            writer.write(_row_to_json(row))
    part.replace(path)


def _row_to_json(row: Row) -> dict[str, object]:
    item, result = row.item, row.result
    told: dict[str, object] = {
        "item": item.id,
        "kind": item.kind,
        "group": item.group,
        "question": item.question,
        "images": [image.path for image in item.images],
        "accepted": list(item.accepted),
        "answer": row.answer.text,
        "finish_reason": row.answer.finish_reason,
        "tokens": row.answer.tokens,
        "swapped": row.swapped,
        "verdict": row.verdict,
    }
    if isinstance(result, Score):
        told |= {
            "value": result.value,
            "tally": dict(result.tally),
            "parsed": result.parsed,
            "evidence": result.evidence,
        }
    elif result is not None:
        told["unscored"] = result.reason
        told["why"] = "" if result.raw == row.verdict else result.raw
    return told


def stored_run(folder: Path, task: Task, pictures: Mapping[str, tuple[Image, ...]]) -> Run:
    """A run as its folder keeps it; `pictures` are what the items of this call hold, for those drawn in memory."""
    facts = as_object(read_json(folder / "run.json")) or {}
    rows = tuple(_row(row, pictures) for row in read_jsonl(folder / "scores.jsonl"))
    done = Run(facts, task, rows)
    return Run(facts, task, rows, None, task.aggregate(done.scores))


def _row(row: Mapping[str, Any], pictures: Mapping[str, tuple[Image, ...]]) -> Row:
    images = pictures.get(str(row["item"])) or tuple(Image(path) for path in row["images"] if path)
    item = Item(row["item"], row["question"], images, tuple(row["accepted"]), row["kind"], row["group"])
    answer = Answer(item.id, row["answer"], row["finish_reason"], row["tokens"])
    result: Score | Unscored | None = None
    if "unscored" in row:
        result = Unscored(item.id, row["unscored"], row.get("why") or row["verdict"])
    elif "value" in row:
        result = Score(item, row["value"], row["tally"], row["parsed"], row["evidence"])
    return Row(item, answer, result, row["swapped"], row["verdict"])
