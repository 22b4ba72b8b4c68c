"""COCO captioning: BLEU-1 to 4, ROUGE-L and CIDEr over all pictures, written from their definitions.

BLEU (Papineni et al. 2002) is of the corpus: clipped n-gram matches over all captions, the reference length nearest
to each caption's; ROUGE-L (Lin 2004) with beta 1.2 and the best precision and recall over the references; CIDEr is
CIDEr-D (Vedantam et al. 2015, arXiv:1411.5726), clipped, with the length penalty of sigma 6, times 10. All are given
times 100, and words are those of `caption_words`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from seetell.errors import BadInput
from seetell.evals.caption_words import words
from seetell.evals.rows import by_key, found_in, list_under, named, picture_in, read_object, read_rows
from seetell.evals.task import Files, Graded, Number, Score, Tally, Task, Totals, ratio
from seetell.types import Answer, Item

N = 4
BETA = 1.2
SIGMA = 6.0
QUESTION = "Provide a one-sentence caption for the provided image."
Words: TypeAlias = tuple[str, ...]
Counts: TypeAlias = Counter[Words]


def ngrams(caption: Words, n: int) -> Counts:
    return Counter(tuple(caption[at : at + n]) for at in range(len(caption) - n + 1))


def rouge_l(caption: Words, references: Sequence[Words]) -> float:
    """F of the longest common subsequence, recall weighing 1.44 times as much as precision."""
    shared = [(common_length(caption, reference), len(reference)) for reference in references]
    precision = max((length / len(caption) for length, _ in shared), default=0.0) if caption else 0.0
    recall = max((length / size for length, size in shared if size), default=0.0)
    if not precision or not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def common_length(one: Words, other: Words) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for at, there in enumerate(other, start=1):
            above = row[at]
            row[at] = before + 1 if word == there else max(above, row[at - 1])
            before = above
    return row[-1]


class Cider:
    """CIDEr-D over a set of pictures: an n-gram weighs less the more pictures' references have it."""

    def __init__(self, references: Sequence[Sequence[Words]]) -> None:
        self.pictures = len(references)
        self.seen: Counts = Counter()
        for captions in references:
            self.seen.update({gram for caption in captions for n in range(1, N + 1) for gram in ngrams(caption, n)})

    def weights(self, caption: Words, n: int) -> dict[Words, float]:
        log_pictures = math.log(self.pictures)
        return {
            gram: count * (log_pictures - math.log(max(1, self.seen[gram])))
            for gram, count in ngrams(caption, n).items()
        }

    def score(self, caption: Words, references: Sequence[Words]) -> float:
        total = sum(self._likeness(caption, reference, n) for reference in references for n in range(1, N + 1))
        return 10 * total / (N * len(references))

    def _likeness(self, caption: Words, reference: Words, n: int) -> float:
        said, true = self.weights(caption, n), self.weights(reference, n)
        length = math.hypot(*said.values()) * math.hypot(*true.values())
        if not length:
            return 0.0
        product = sum(min(weight, true[gram]) * true[gram] for gram, weight in said.items() if gram in true)
        return product / length * math.exp(-((len(caption) - len(reference)) ** 2) / (2 * SIGMA**2))


def bleu_tally(caption: Words, references: Sequence[Words]) -> dict[str, float]:
    nearest = min((len(reference) for reference in references), key=lambda size: (abs(size - len(caption)), size))
    tally: dict[str, float] = {"length": len(caption), "nearest": nearest}
    for n in range(1, N + 1):
        most: Counts = Counter()
        for reference in references:
            most |= ngrams(reference, n)
        tally[f"guessed{n}"] = max(0, len(caption) - n + 1)
        tally[f"matched{n}"] = (ngrams(caption, n) & most).total()
    return tally


def score(item: Item, answer: Answer) -> Score:
    """One caption's ROUGE-L; what needs all captions is worked out in `tallies`."""
    caption = words(answer.text)
    value = rouge_l(caption, [words(reference) for reference in item.accepted])
    return Score(item, value, evidence=" ".join(caption))


def tallies(scores: Sequence[Score]) -> dict[str, Tally]:
    references = [[words(reference) for reference in score.item.accepted] for score in scores]
    cider = Cider(references)
    sums: dict[str, dict[str, float]] = {}
    for one, truth in zip(scores, references, strict=True):
        caption = tuple(one.evidence.split())
        own = {**bleu_tally(caption, truth), "rouge": one.value, "cider": cider.score(caption, truth), "captions": 1.0}
        group = sums.setdefault(one.item.group or one.item.id, defaultdict(float))
        for name, value in own.items():
            group[name] += value
    return {group: dict(tally) for group, tally in sums.items()}


def metrics(totals: Totals) -> dict[str, Number]:
    found: dict[str, Number] = {}
    if "captions" not in totals:
        return found
    length, nearest = totals["length"], totals["nearest"]
    brevity = np.exp(np.minimum(0.0, 1.0 - ratio(nearest, np.maximum(length, 1e-9))))
    logs: Number = 0.0
    for n in range(1, N + 1):
        precision = ratio(totals[f"matched{n}"], np.maximum(totals[f"guessed{n}"], 1e-9))
        with np.errstate(divide="ignore"):
            logs = logs + np.log(precision)
        found[f"BLEU-{n}"] = 100 * brevity * np.exp(logs / n)
    found["ROUGE-L"] = 100 * ratio(totals["rouge"], totals["captions"])
    found["CIDEr"] = 100 * ratio(totals["cider"], totals["captions"])
    return found


def items(data: Path) -> list[Item]:
    path = found_in(
        data, "captions.json", "annotations/captions.json", "captions_val2014.json", "captions_val2017.json"
    )
    folder = data if (data / "images").is_dir() else path.parent
    return _items(path, (folder / "images", data))


def _items(path: Path, folders: Sequence[Path]) -> list[Item]:
    file = read_object(path)
    names = (
        {str(row["id"]): str(row["file_name"]) for row in list_under(file, "images", path)} if "images" in file else {}
    )
    said: dict[str, list[str]] = defaultdict(list)
    for row in list_under(file, "annotations", path):
        said[named(row, "image_id", path)].append(named(row, "caption", path))
    return [
        Item(
            id=id,
            question=QUESTION,
            images=(picture_in(folders, names[id]),) if id in names else (),
            accepted=tuple(captions),
            group=id,
        )
        for id, captions in said.items()
    ]


def contract(files: Files) -> Graded:
    """The results format of COCO: a list of `image_id` and `caption`."""
    truth, path = files.need("truth"), files.answers_file
    asked = {item.id: item for item in _items(truth, (truth.parent,))}
    rows = read_rows(path)
    said = by_key(
        ((id, Answer(id, named(row, "caption", path))) for row in rows for id in (named(row, "image_id", path),)),
        path,
        "a caption of picture",
    )
    if unknown := [id for id in said if id not in asked]:
        raise BadInput(f"{path} has a caption of picture {unknown[0]}, which {truth} does not have.")
    return TASK.grade(list(asked.values()), said.values())


TASK = Task(
    name="caption",
    title="COCO captions",
    headline="CIDEr",
    unit="picture",
    layout="captions.json (COCO's annotation format), images/",
    items=items,
    score=score,
    metrics=metrics,
    tallies=tallies,
    contract=contract,
    max_new_tokens=64,
)
