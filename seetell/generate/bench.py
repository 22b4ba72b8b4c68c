"""A benchmark made as the paper made its own: pictures, one question of each kind, references by a writer of text.

    questions.jsonl           {"question_id", "image", "text", "category": "conv" | "detail" | "complex"}
    reference_answers.jsonl   {"question_id", "text", "category"}
    caps_boxes.jsonl          {"id", "image", "captions", "instances": [{"category", "bbox"}]}

The three files have the format of LLaVA's 90 questions about 30 pictures, and whatever reads those reads these. A
picture takes part when the teacher's replies of all three kinds were kept; of a conversation one pair is drawn.

Source: Liu et al. 2023 (arXiv:2304.08485), section 5.1.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seetell.ask.journal import Journal
from seetell.console import say
from seetell.errors import BadInput, UsageError
from seetell.files import append_jsonl
from seetell.generate.items import Item, read_items
from seetell.generate.outcome import ITEMS, JOURNAL, outcome
from seetell.generate.parse import Parsed
from seetell.generate.prompts import Kind
from seetell.generate.run import PAPER_KINDS, Run
from seetell.sources.scenes import scene_row
from seetell.types import Scene

CATEGORIES: dict[Kind, str] = {"conversation": "conv", "detail": "detail", "complex": "complex"}
QUESTIONS, ANSWERS, CONTEXTS = "questions.jsonl", "reference_answers.jsonl", "caps_boxes.jsonl"
ROUNDS = 5  # of asking about more pictures in the place of those that fell out


def bench_run(run: Run, scenes: Iterable[Scene], count: int) -> tuple[Run, list[Scene]]:
    """The run's pictures that fit, in the order in which they are taken, and a run over just these."""
    if run.settings.shares != dict.fromkeys(PAPER_KINDS, 1.0):
        raise UsageError("A benchmark has all three kinds of every picture: leave out --kinds and --mix.")
    mine = [scene for _, scene in run.pictures(scenes)]
    fit = [scene for scene in mine if not any(run.prompts.lacks(kind, scene) for kind in PAPER_KINDS)]
    if len(fit) < count:
        raise BadInput(f"--bench {count} needs as many pictures with captions and boxes, and there are {len(fit)}.")
    random.Random(f"bench:{run.settings.seed}").shuffle(fit)
    settings = replace(run.settings, limit=None, shard=(0, 1))
    return Run(run.out, run.teacher, run.prompts, settings, run.images_dir), fit


def write_bench(run: Run, scenes: Iterable[Scene], count: int) -> tuple[dict[str, Any], str]:
    """Asks about pictures until `count` of them have all three questions; returns what `Run.go` does."""
    run, fit = bench_run(run, scenes, count)
    asked = wanted = count
    report: dict[str, Any] = {}
    whole: dict[str, Pairs] = {}
    stopped = ""
    for _ in range(ROUNDS):
        report, stopped = run.go(fit[:wanted])
        asked, whole = wanted, _whole(run.out, fit[:wanted], str(run.images_dir))
        if stopped or len(whole) >= count or asked >= len(fit):
            break
        wanted = min(len(fit), asked + 2 * (count - len(whole)))
        run.settings = replace(run.settings, retry_rejected=False)  # once more is not once a round
    _write_files(run.out, fit, whole, count, run)
    say(f"{3 * min(count, len(whole))} questions about {min(count, len(whole))} pictures: {run.out / QUESTIONS}.")
    if len(whole) < count and not stopped:
        stopped = f"Only {len(whole)} of {count} pictures have all three questions; {asked} were asked about."
    return report, stopped


Pairs = dict[Kind, tuple[str, str]]


def _whole(out: Path, scenes: Sequence[Scene], images_dir: str) -> dict[str, Pairs]:
    """By picture: the question and answer of each kind, where all three were kept."""
    ids = {scene.id for scene in scenes}
    found: dict[str, Pairs] = {}
    with Journal(out / JOURNAL) as journal:
        for item in read_items(out / ITEMS, images_dir):
            if isinstance(item, Item) and item.scene.id in ids:
                result = outcome(item, journal)
                if isinstance(result, Parsed):
                    found.setdefault(item.scene.id, {})[item.kind] = _pair(item, result)
    return {id: pairs for id, pairs in found.items() if set(pairs) >= set(PAPER_KINDS)}


def _pair(item: Item, result: Parsed) -> tuple[str, str]:
    texts = [turn.text for turn in result.conversation.turns]
    at = 2 * random.Random(f"bench:{item.seed}:{item.scene.id}").randrange(len(texts) // 2)
    return texts[at], texts[at + 1]


def _write_files(out: Path, scenes: Sequence[Scene], whole: dict[str, Pairs], count: int, run: Run) -> None:
    chosen = [scene for scene in scenes if scene.id in whole][:count]
    for name in (QUESTIONS, ANSWERS, CONTEXTS):
        (out / name).unlink(missing_ok=True)
    with (
        append_jsonl(out / QUESTIONS) as questions,
        append_jsonl(out / ANSWERS) as answers,
        append_jsonl(out / CONTEXTS) as contexts,
    ):
        number = 0
        for scene in chosen:
            row = scene_row(scene, run.images_dir)
            boxes = [{"category": box["label"], "bbox": box["box"]} for box in row["boxes"]]
            contexts.write({"id": scene.id, "image": row["image"], "captions": row["captions"], "instances": boxes})
            for kind, category in CATEGORIES.items():
                question, answer = whole[scene.id][kind]
                known = {"question_id": number, "category": category}
                questions.write({"question_id": number, "image": row["image"], "text": question, "category": category})
                answers.write({**known, "text": answer})
                number += 1
