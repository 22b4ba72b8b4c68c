"""What a run writes down as it goes: metrics, what was refused and why, what observers saw, and its page.

    out/metrics.jsonl  not_finite.jsonl  refused.jsonl      numbers of each step; steps not taken; rows left out
    out/observations.jsonl  observed/                       what the model said to observers, of which pictures
    out/events.jsonl                                        when a stage began, was resumed, stopped, finished
    out/run.html  tensorboard/                              the same for people

Rows of steps that a killed run had made after its last checkpoint are dropped on resuming, so a resumed
run's files read as an undisturbed one's; only its events tell.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seetell.console import say
from seetell.files import append_jsonl, json_text, read_jsonl, write_atomic
from seetell.train.board import open_board
from seetell.train.observing import Figures, Told
from seetell.train.run_files import BOARD, EVENTS, METRICS, NOT_FINITE, OBSERVATIONS, OBSERVED, PAGE, REFUSED
from seetell.train.run_page import RunPage
from seetell.types import Rejected


@dataclass(slots=True)
class Progress:
    """The counters of a stage: what a checkpoint keeps beside tensors."""

    step: int = 0
    samples: int = 0
    tokens: int = 0
    supervised: int = 0
    seconds: float = 0.0
    data_wait_s: float = 0.0
    not_finite: int = 0
    not_finite_in_a_row: int = 0
    empty_steps: int = 0
    first_loss: float | None = None
    last_loss: float | None = None


LOGS = METRICS, NOT_FINITE, REFUSED, OBSERVATIONS, EVENTS, OBSERVED, BOARD, PAGE


class Nowhere:
    """A file that nobody keeps."""

    def write(self, row: Mapping[str, object]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class RunLog:
    """The files of a run, from one stage's point of view."""

    def __init__(self, out: Path, stage: str, step: int, steps: int = 0, writes: bool = True) -> None:
        """The stage goes on behind `step` of `steps`. Of many processes one writes; the others' logs go nowhere."""
        self.stage, self._out = stage, out
        self.not_finite_file = out / NOT_FINITE
        self.lost_steps = (
            max(_drop_after(out / name, stage, step) for name in (METRICS, NOT_FINITE, OBSERVATIONS)) if writes else 0
        )
        names = (METRICS, NOT_FINITE, REFUSED, OBSERVATIONS, EVENTS)
        self._has_rows = bool(step)
        self._files = [append_jsonl(out / name) if writes else Nowhere() for name in names]
        self._metrics, self._not_finite, self._refused, self._observations, self._events = self._files
        self._board = open_board(out / BOARD / stage, step) if writes else None
        self._page = RunPage(out) if writes else None
        mine = [row for row in read_jsonl(out / REFUSED) if row["stage"] == stage] if writes else []
        self._refused_rows = {row["row"] for row in mine}
        self.refused_reasons = Counter(str(row["reason"]) for row in mine)
        self.failed_observations: Counter[str] = Counter()
        self.event("resumed" if step else "began", step, steps=steps, done_again=self.lost_steps)

    def step(self, step: int, figures: Mapping[str, Any]) -> None:
        """One row of metrics."""
        self._metrics.write({"stage": self.stage, "step": step, **figures})
        if not self._has_rows:  # a run that is killed before its first checkpoint has begun all the same
            self._metrics.flush()
            self._has_rows = True
        if self._board is not None:
            self._board.numbers(step, figures)

    def observed(self, step: int, figures: Figures) -> None:
        """What observers saw: numbers into the metrics, words and pictures beside them."""
        numbers = {f"observed_{name}": value for name, value in figures.items() if not isinstance(value, Told)}
        if numbers:
            self.step(step, numbers)
        for name, told in figures.items():
            if isinstance(told, Told):
                said = {"prompt": told.prompt, "text": told.text, "truth": told.truth, "picture": self._keep(told)}
                self._observations.write({"stage": self.stage, "step": step, "name": name, **said})
                if self._board is not None:
                    self._board.told(step, name, told)

    def observer_failed(self, step: int, name: str, error: Exception) -> None:
        """Told the first time, counted always."""
        if not self.failed_observations[name]:
            say(
                f"The observer {name} failed at step {step} of {self.stage} ({type(error).__name__}: {error}); the run "
                "continues, and further failures of it are only counted."
            )
        self.failed_observations[name] += 1
        self.event("observer failed", step, observer=name, error=f"{type(error).__name__}: {error}")

    def event(self, what: str, step: int, **facts: object) -> None:
        """Something that happened once, with the time; kept when rows of steps are dropped."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._events.write({"stage": self.stage, "step": step, "event": what, "at": now, **facts})
        self._events.flush()

    def not_finite(self, step: int, figures: Mapping[str, Any]) -> None:
        """A step that was not taken, with the ids of its samples."""
        self._not_finite.write({"stage": self.stage, "step": step, **figures})
        self._not_finite.flush()

    def refuse(self, row: int, rejected: Rejected) -> None:
        """A row of the data that was left out, told once, however often the run meets it."""
        if row in self._refused_rows:
            return
        self._refused_rows.add(row)
        self.refused_reasons[rejected.reason] += 1
        said = {"id": rejected.id, "reason": rejected.reason, "detail": rejected.detail}
        self._refused.write({"stage": self.stage, "row": row, **said})

    def flush(self) -> None:
        """Makes the disk hold everything written so far; called before a checkpoint says it happened."""
        for file in self._files:
            file.flush()

    def show(self) -> None:
        """Writes the run's page anew, if the last time was long enough ago."""
        if self._page is not None and self._page.due:
            self.flush()
            self._page.write()

    def close(self) -> None:
        for file in self._files:
            file.close()
        if self._board is not None:
            self._board.close()
        if self._page is not None:
            self._page.write()

    def _keep(self, told: Told) -> str:
        """The name under which the picture lies in `observed/`; nothing for words alone."""
        if told.picture is None:
            return ""
        name = f"{hashlib.sha256(told.picture).hexdigest()[:16]}.jpg"
        path = self._out / OBSERVED / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_atomic(path, told.picture)
        return name


def has_learned(out: Path) -> bool:
    """Whether a step was ever taken there, as far as the metrics say."""
    return (out / METRICS).exists() and any("loss" in row for row in read_jsonl(out / METRICS))


def remove_logs(out: Path) -> None:
    """Forgets what a start that came to nothing had written down."""
    for name in LOGS:
        if (out / name).is_dir():
            shutil.rmtree(out / name, ignore_errors=True)
        else:
            (out / name).unlink(missing_ok=True)


def _drop_after(path: Path, stage: str, step: int) -> int:
    """Removes the stage's rows behind a step; returns how many steps those were."""
    if not path.exists():
        return 0
    rows = list(read_jsonl(path))
    kept = [row for row in rows if row["stage"] != stage or row["step"] <= step]
    if len(kept) < len(rows):
        write_atomic(path, "".join(json_text(row) + "\n" for row in kept))
    return max((row["step"] for row in rows if row["stage"] == stage), default=step) - step
