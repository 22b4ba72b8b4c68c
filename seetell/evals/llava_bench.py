"""LLaVA-Bench: open questions about pictures, judged beside a reference answer that a language model wrote from text.

The score is relative, a *ratio of means* × 100: all the points that the answers got over all the points that the
references got. Contexts are captions and boxes (COCO), a written description (in the wild), or whatever a bench of
the same file formats holds. A failed judgement is left out of both sums.

Source: Liu et al. 2023, arXiv:2304.08485 §5.1, and the files of its release.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seetell.ask.chat import Message
from seetell.errors import BadInput
from seetell.evals.judge import pair_prompt
from seetell.evals.rows import by_key, found_in, named, read_object, read_rows
from seetell.evals.task import Files, Graded, Judging, Number, Score, Task, Totals, ratio
from seetell.evals.verdict import Refused, read_pair
from seetell.files import as_list, as_object
from seetell.types import Image, Item, Unscored

CATEGORIES = ("conv", "detail", "complex")
SYSTEM = "You are a helpful and precise assistant for checking the quality of the answer."
OURS, REFERENCE = "ours:", "reference:"
QUESTIONS = ("qa90_questions.jsonl", "questions.jsonl")
REFERENCES = ("qa90_gpt4_answer.jsonl", "answers_gpt4.jsonl", "reference_answers.jsonl")
CONTEXTS = ("caps_boxes_coco2014_val_80.jsonl", "context.jsonl", "caps_boxes.jsonl")
RULE = (
    "We would like your feedback on two AI assistants' answers to the question above, which was asked while looking at "
    "an image. What is in the image is told above in words{boxes}.\n"
    "Rate how helpful, relevant, accurate and detailed each answer is. Each assistant gets one overall score on a "
    "scale of 1 to 10; higher is better.\n"
    "First write one line with two numbers only, the scores of Assistant 1 and Assistant 2, separated by a space. On "
    "the next lines explain them fully, without bias; the order of the answers must not affect your judgement."
)
BOXES_TOLD = (
    ", with bounding boxes as (x1, y1, x2, y2) in fractions of the image from 0 to 1, top left then bottom right"
)


# --------------------------------------------------------------------------------------------- items


def items(data: Path) -> list[Item]:
    """Questions with their reference answers and contexts, joined by question id and by picture."""
    questions, references = found_in(data, *QUESTIONS), found_in(data, *REFERENCES)
    rules = _rules(data)
    answers = by_key(
        ((named(row, "question_id", references), named(row, "text", references)) for row in read_rows(references)),
        references,
        "the question id",
    )
    contexts = {Path(str(row["image"])).stem: context_text(row) for row in read_rows(found_in(data, *CONTEXTS))}
    return [_item(row, questions, answers, contexts, rules) for row in read_rows(questions)]


def _item(
    row: Mapping[str, Any],
    path: Path,
    answers: Mapping[str, str],
    contexts: Mapping[str, str],
    rules: Mapping[str, Any],
) -> Item:
    number, picture, category = named(row, "question_id", path), named(row, "image", path), named(row, "category", path)
    stem = Path(picture).stem
    if number not in answers or stem not in contexts:
        lacking = "reference answer" if number not in answers else "context"
        raise BadInput(f"{path}: question {number} about {picture} has no {lacking}.")
    names = (picture, Path(picture).name, f"COCO_val2014_{Path(picture).name}")
    places = [folder / name for name in names for folder in (path.parent / "images", path.parent)]
    image = Image(str(next((place for place in places if place.is_file()), places[0])))
    boxed = "[" in contexts[stem]
    rule = (
        as_object(rules.get(category if boxed else f"llava_bench_{category}")) or as_object(rules.get(category)) or {}
    )
    return Item(
        id=number,
        question=named(row, "text", path),
        images=(image,),
        accepted=(answers[number],),
        kind=category.removeprefix("llava_bench_"),
        group=stem,
        facts={
            "context": contexts[stem],
            "role": str(rule.get("role") or "Assistant"),
            "rule": str(rule.get("prompt") or RULE.format(boxes=BOXES_TOLD if boxed else "")),
        },
    )


def context_text(row: Mapping[str, Any]) -> str:
    """Captions a line each; then, after an empty line, boxes as `label: [x1, y1, x2, y2]`."""
    captions = as_list(row.get("captions") if "captions" in row else row.get("caption")) or [row.get("caption", "")]
    boxes = [as_object(box) or {} for box in as_list(row.get("instances")) or []]
    told = [f"{box['category']}: [{', '.join(map(str, box['bbox']))}]" for box in boxes]
    return "\n".join(map(str, captions)) + ("\n\n" + "\n".join(told) if told else "")


def _rules(data: Path) -> dict[str, Any]:
    """The release's rule texts where they lie beside the bench, else ours."""
    path = next((folder / "rule.json" for folder in (data, data.parent) if (folder / "rule.json").is_file()), None)
    return read_object(path) if path else {}


# ----------------------------------------------------------------------------------------- judgement


def prompt(item: Item, answer: str, swapped: bool) -> list[Message]:
    """The reference stands first, as in the paper; in the other order, the answer does."""
    pair = (answer, item.accepted[0]) if swapped else (item.accepted[0], answer)
    content = pair_prompt(item.facts["context"], item.question, pair, item.facts["role"], item.facts["rule"])
    return [Message("system", SYSTEM), Message("user", content)]


def verdict(item: Item, reply: str, swapped: bool) -> Score | Unscored:
    pair = read_pair(reply)
    if isinstance(pair, Refused):
        return Unscored(item.id, pair.reason, reply)
    ours, reference = pair if swapped else pair[::-1]
    return marked(item, reference, ours, reply)


def marked(item: Item, reference: float, ours: float, evidence: str) -> Score:
    kinds = {"all", item.kind} - {""}
    tally = {name + kind: value for kind in kinds for name, value in ((OURS, ours), (REFERENCE, reference))}
    return Score(item, ours, tally, evidence=evidence)


def metrics(totals: Totals) -> dict[str, Number]:
    kinds = [name.removeprefix(OURS) for name in totals if name.startswith(OURS)]
    order = [*(kind for kind in CATEGORIES if kind in kinds), *sorted(set(kinds) - {*CATEGORIES, "all"}), "all"]
    return {kind: 100 * ratio(totals[OURS + kind], totals[REFERENCE + kind]) for kind in order if kind in kinds}


# ------------------------------------------------------------------------------------------ contract


@dataclass(frozen=True, slots=True)
class _Review:
    id: str
    kind: str
    pair: tuple[float, float] | Refused
    content: str


def contract(files: Files) -> Graded:
    """One review file a run. Each run has its own ratio; the metrics are their mean, and `_std` their spread."""
    runs = [_reviews(path) for path in files.answers]
    for path, run in zip(files.answers, runs, strict=True):
        if missing := sorted(set(runs[0]) ^ set(run)):
            raise BadInput(
                f"{path} and {files.answers[0]} do not judge the same questions: {missing[0]} is in one only."
            )
    graded = [TASK.graded(map(_scored, run.values())) for run in runs]
    values: dict[str, list[float]] = defaultdict(list)
    for one in graded:
        for name, value in one.metrics.items():
            values[name].append(value)
    order = [kind for kind in (*CATEGORIES, *sorted(set(values) - {*CATEGORIES, "all"}), "all") if kind in values]
    spread = {name: (float(np.mean(values[name])), float(np.std(values[name]))) for name in order}
    means = {name: mean for name, (mean, _) in spread.items()} | {
        # Of several runs, one that has a figure says nothing of their spread.
        f"{name}_std": std
        for name, (_, std) in spread.items()
        if len(values[name]) == len(runs)
    }
    scores = tuple(score for one in graded for score in one.scores)
    return Graded(TASK.name, scores, tuple(lost for one in graded for lost in one.unscored), means, len(runs[0]))


def _scored(review: _Review) -> Score | Unscored:
    if isinstance(review.pair, Refused):
        return Unscored(review.id, review.pair.reason, review.content)
    return marked(Item(review.id, "", kind=review.kind, group=review.id), *review.pair, review.content)


def _reviews(path: Path) -> dict[str, _Review]:
    """Rows by question id, or by place where a file has no ids."""
    rows = read_rows(path)
    if not rows:
        raise BadInput(f"{path} holds no review.")
    reviews = (_review(row, str(row.get("question_id", f"row {at}")), path) for at, row in enumerate(rows, start=1))
    return by_key(((review.id, review) for review in reviews), path, "the question id")


def _review(row: Mapping[str, Any], id: str, path: Path) -> _Review:
    kind = str(row.get("category", "")).removeprefix("llava_bench_")
    content = str(row.get("content") or "")
    if "tuple" in row:  # what the review was read as then, -1 twice where it could not be
        return _Review(id, kind, _stored_pair(row["tuple"]) or Refused("no two scores"), content)
    if "content" not in row:
        raise BadInput(f"{path}: the review of question {id} has neither `tuple` nor `content`.")
    return _Review(id, kind, read_pair(content), content)


def _stored_pair(value: object) -> tuple[float, float] | None:
    """Two scores on the scale; a mark of failure is none."""
    pair = as_list(value) or []
    if len(pair) != 2 or not all(
        isinstance(one, int | float) and math.isfinite(one) and 0 <= one <= 10 for one in pair
    ):
        return None
    return float(pair[0]), float(pair[1])


TASK = Task(
    name="llava_bench",
    title="LLaVA-Bench",
    headline="all",
    unit="picture",
    layout="questions.jsonl, answers_gpt4.jsonl, context.jsonl, images/ (a bench of `seetell generate --bench` is one)",
    items=items,
    judging=Judging(prompt, verdict, two_sided=True),
    metrics=metrics,
    contract=contract,
    max_new_tokens=1024,
)
COCO = replace(
    TASK,
    name="llava_bench_coco",
    title="LLaVA-Bench (COCO)",
    layout="qa90_questions.jsonl, qa90_gpt4_answer.jsonl, caps_boxes_coco2014_val_80.jsonl, rule.json, images/",
    published=("llava_table4",),
)
WILD = replace(
    TASK,
    name="llava_bench_wild",
    title="LLaVA-Bench (In-the-Wild)",
    layout="questions.jsonl, answers_gpt4.jsonl, context.jsonl, rule.json, images/",
    published=("llava_table5", "llava_bench_leaderboard"),
)
TASKS: Sequence[Task] = (TASK, COCO, WILD)
