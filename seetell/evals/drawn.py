"""The drawn-scene task: open questions about scenes no training ever drew, answered in a word or two.

Right means equal to an accepted short answer once both are lower-cased and rid of articles and the final stop:
no list of candidates, no likelihoods. Constant answers gain little, since no answer is the truth of more than
0.55 of a type; the *blind* run asks each question with another scene's picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from seetell.sources.drawn.questions import TYPES, is_right, normal
from seetell.sources.drawn.scenes import drawn_scenes, questions_about
from seetell.types import Answer, Item


def items(scene_count: int, *, pairs: str = "seen", seed: int = 0) -> list[Item]:
    """Up to six questions, one of each type, about each of `scene_count` held-out scenes."""
    scenes = drawn_scenes("held-out", scene_count, pairs=pairs)
    return [item for drawn in scenes for item in questions_about(drawn, seed)]


def blind(items: Sequence[Item]) -> list[Item]:
    """The same questions, each with the picture of the next scene."""
    images = {item.group: item.images for item in items}
    groups = list(images)
    following = dict(zip(groups, groups[1:] + groups[:1], strict=True))
    return [replace(item, images=images[following[item.group]]) for item in items]


def score(item: Item, answer: Answer) -> float:
    return float(is_right(answer.text, item.accepted))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Fractions of right answers, overall and by type, over `n` questions."""

    overall: float
    by_type: Mapping[str, float]
    n: int


def aggregate(items: Sequence[Item], answers: Iterable[Answer]) -> Accuracy:
    """A question without an answer counts as wrong; an answer without a question is a mistake of the caller."""
    asked = {item.id: item for item in items}
    right = {answer.item_id: score(asked[answer.item_id], answer) for answer in answers}
    by_type = {
        type: _mean([right.get(item.id, 0.0) for item in items if item.kind == type])
        for type in TYPES
        if any(item.kind == type for item in items)
    }
    return Accuracy(_mean([right.get(item.id, 0.0) for item in items]), by_type, len(items))


def best_constant(items: Sequence[Item]) -> dict[str, float]:
    """By type, how often the one answer that is right most often would be right."""
    counts = {type: Counter(normal(item.accepted[0]) for item in items if item.kind == type) for type in TYPES}
    return {type: count.most_common(1)[0][1] / count.total() for type, count in counts.items() if count}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
