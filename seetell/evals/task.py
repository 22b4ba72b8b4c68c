"""What a benchmark is: items, a score for an answer, and metrics of what the scores add up to.

A score carries a *tally*: figures that add up over answers (right, asked, true positives, n-gram counts).
Every metric here is a function of summed tallies, so that the same code gives the point estimate and, fed with
the sums of resampled groups, its bootstrap distribution. A group is what is resampled together: questions about
one picture. What could not be scored is `Unscored`: it is in no sum, and it is counted.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from seetell.ask.chat import Message
from seetell.errors import BadInput, UsageError
from seetell.types import Answer, Item, Unscored

Number: TypeAlias = "float | NDArray[np.float64]"
Totals: TypeAlias = Mapping[str, Number]
Tally: TypeAlias = Mapping[str, float]

ASKED, RIGHT = "asked:", "right:"
NO_TOTALS: Tally = {}


@dataclass(frozen=True, slots=True)
class Score:
    """A number with its evidence. `parsed` is false where nothing could be read out of the answer and the official
    rule calls that wrong; `evidence` is what was read, or what the judge said."""

    item: Item
    value: float
    tally: Tally = field(default_factory=dict[str, float])
    parsed: bool = True
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Files:
    """What `seetell score` is given; a contract says which of them it needs."""

    answers: tuple[Path, ...]
    truth: Path | None = None
    questions: Path | None = None
    splits: Path | None = None
    stored: bool = False

    def need(self, name: str) -> Path:
        path: Path | None = getattr(self, name)
        if path is None:
            raise UsageError(f"These answers cannot be scored without --{name}.")
        return path

    @property
    def answers_file(self) -> Path:
        if len(self.answers) != 1:
            raise UsageError(f"This task scores one answers file at a time; {len(self.answers)} were given.")
        return self.answers[0]


@dataclass(frozen=True, slots=True)
class Graded:
    """Everything that came out of scoring: one run's scores, what has none, and the runs that they were cut from."""

    task: str
    scores: tuple[Score, ...]
    unscored: tuple[Unscored, ...]
    metrics: Mapping[str, float]
    items: int

    @property
    def unparsed(self) -> int:
        return sum(not score.parsed for score in self.scores)

    def to_json(self) -> dict[str, object]:
        """The one object that `seetell score --json` prints."""
        return {
            "task": self.task,
            "n": self.items,
            "metrics": dict(self.metrics),
            "unparsed": self.unparsed,
            "unscored": dict(Counter(failure.reason for failure in self.unscored)),
        }


def summed(scores: Sequence[Score]) -> dict[str, Tally]:
    """By group, the sums of its scores' tallies."""
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for score in scores:
        group = sums[score.item.group or score.item.id]
        for name, value in score.tally.items():
            group[name] += value
    return {group: dict(tally) for group, tally in sums.items()}


def shares(totals: Totals) -> dict[str, Number]:
    """Percentages `right` of `asked`, by whatever stands behind the colon."""
    names = [name.removeprefix(ASKED) for name in totals if name.startswith(ASKED)]
    return {name: 100 * ratio(totals[RIGHT + name], totals[ASKED + name]) for name in names}


def right_or_wrong(item: Item, right: float, *names: str, parsed: bool = True, evidence: str = "") -> Score:
    """A score that counts under each of the names."""
    tally = {ASKED + name: 1.0 for name in names} | {RIGHT + name: right for name in names}
    return Score(item, right, tally, parsed, evidence)


def ratio(above: Number, below: Number) -> Number:
    """A quotient that is not a number where there is nothing to divide by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.true_divide(above, below)
    return np.where(np.isfinite(quotient), quotient, np.nan)


@dataclass(frozen=True, slots=True)
class Judging:
    """How a judge is asked about an answer, and how its reply becomes a score."""

    prompt: Callable[[Item, str, bool], list[Message]]  # item, answer, the other order?
    verdict: Callable[[Item, str, bool], Score | Unscored]  # item, the judge's reply, the other order?
    two_sided: bool = False  # the reference stands beside the answer, so that their order matters
    max_tokens: int = 1024


@dataclass(frozen=True, slots=True)
class Task:
    """A benchmark. `score` marks an answer by a rule, or `judging` says how a judge does; `contract` reads the
    answers that someone already has."""

    name: str
    title: str
    headline: str  # the metric to report
    unit: str  # what is resampled: "question" or "picture"
    layout: str  # what --data must hold, in one line
    items: Callable[[Path], list[Item]]
    score: Callable[[Item, Answer], Score | Unscored] | None = None
    judging: Judging | None = None
    metrics: Callable[[Totals], dict[str, Number]] = shares
    tallies: Callable[[Sequence[Score]], dict[str, Tally]] = summed
    contract: Callable[[Files], Graded] | None = None
    submission: Callable[[Sequence[Item], Sequence[Answer], Path], Path] | None = None
    max_new_tokens: int = 16
    published: tuple[str, ...] = ()  # printed tables whose columns are metrics of this task

    def aggregate(self, scores: Sequence[Score]) -> dict[str, float]:
        """The metrics; one that nothing was scored for is left out."""
        return self.of_totals(add(self.tallies(scores).values()))

    def of_totals(self, totals: Totals) -> dict[str, float]:
        named = {name: float(value) for name, value in self.metrics(totals).items()}
        return {name: value for name, value in named.items() if math.isfinite(value)}

    def graded(self, scored: Iterable[Score | Unscored]) -> Graded:
        everything = list(scored)
        scores = tuple(one for one in everything if isinstance(one, Score))
        unscored = tuple(one for one in everything if isinstance(one, Unscored))
        return Graded(self.name, scores, unscored, self.aggregate(scores), len(everything))

    def grade(self, items: Sequence[Item], answers: Iterable[Answer]) -> Graded:
        """Marks by the rule: every item once, in the items' order; an answer that is missing is a mistake."""
        assert self.score is not None, f"{self.name} is judged"
        said = {answer.item_id: answer for answer in answers}
        missing = [item.id for item in items if item.id not in said]
        if missing:
            raise BadInput(
                f"{len(missing)} of {len(items)} questions of {self.name} have no answer, the first is {missing[0]}."
            )
        return self.graded(self.score(item, said[item.id]) for item in items)


def add(tallies: Iterable[Tally]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for tally in tallies:
        for name, value in tally.items():
            sums[name] += value
    return dict(sums)


def has_truth(items: Sequence[Item]) -> bool:
    return all(item.accepted for item in items)


def facts_of(row: Mapping[str, Any], *names: str) -> dict[str, str]:
    """What a row says under these names, as text; what it leaves out is left out."""
    return {name: str(row[name]) for name in names if row.get(name) not in (None, "")}
