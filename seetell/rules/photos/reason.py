"""Questions that take thinking about a photograph: those rows of the table of relations that its evidence allows.

Where no row fits, nothing is asked.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from seetell.rules.photos.causes import REASONS, Reason
from seetell.rules.photos.evidence import Evidence
from seetell.rules.photos.scenery import place_of, sport_of, time_of, weather_of


def reasons(evidence: Evidence, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Every pair that the table allows, in random order."""
    fitting = [reason for reason in REASONS if _fits(reason, evidence)]
    rng.shuffle(fitting)
    return ((reason.question, reason.answer) for reason in fitting)


def _fits(reason: Reason, evidence: Evidence) -> bool:
    if (
        evidence.depicted
        or not evidence.captions
        or (reason.scene and not _scenes(evidence) & set(reason.scene.split("|")))
    ):
        return False
    for choice in filter(None, reason.things.split(",")):
        labels = choice.split("|")
        if "" not in labels and not any(_named(evidence, label) for label in labels):
            return False
    texts = [" ".join(words) for words in evidence.words]
    said = sum(re.search(reason.words, text) is not None for text in texts)
    if said < min(reason.least, len(texts)) or any(re.search(reason.without, text) for text in texts):
        return False
    return "he is" not in reason.answer.lower() or evidence.sex == "m"


def _named(evidence: Evidence, label: str) -> bool:
    return label in evidence.sure


def _scenes(evidence: Evidence) -> set[str]:
    return {place_of(evidence), sport_of(evidence), time_of(evidence), weather_of(evidence)}
