"""What a run writes down as it goes: metrics, what was refused and why, and TensorBoard where installed.

Rows of steps that a killed run had made after its last checkpoint are dropped on resuming, so a resumed
run's files read as an undisturbed one's.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seetell.files import append_jsonl, json_text, read_jsonl, write_atomic
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


LOGS = METRICS, NOT_FINITE, REFUSED, BOARD = "metrics.jsonl", "not_finite.jsonl", "refused.jsonl", "tensorboard"


class Nowhere:
    """A file that nobody keeps."""

    def write(self, row: Mapping[str, object]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class RunLog:
    """`metrics.jsonl`, `not_finite.jsonl` and `refused.jsonl` of a run, from one stage's point of view."""

    def __init__(self, out: Path, stage: str, step: int, writes: bool = True) -> None:
        """Of many processes one writes; the others' logs go nowhere."""
        self.stage = stage
        self.not_finite_file = out / NOT_FINITE
        if not writes:
            self._metrics = self._not_finite = self._refused = Nowhere()
            self._refused_rows, self.refused_reasons, self._board = set[int](), Counter[str](), None
            return
        for name in (METRICS, NOT_FINITE):
            _drop_after(out / name, stage, step)
        self._metrics = append_jsonl(out / METRICS)
        self._not_finite = append_jsonl(self.not_finite_file)
        self._refused = append_jsonl(out / REFUSED)
        mine = [row for row in read_jsonl(out / REFUSED) if row["stage"] == stage]
        self._refused_rows = {row["row"] for row in mine}
        self.refused_reasons = Counter(str(row["reason"]) for row in mine)
        self._board = _tensorboard(out / BOARD / stage, step)

    def step(self, step: int, figures: Mapping[str, Any]) -> None:
        """One row of metrics."""
        self._metrics.write({"stage": self.stage, "step": step, **figures})
        if self._board is not None:
            for name, value in flat(figures):
                self._board.add_scalar(name, value, step)

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
        for file in (self._metrics, self._not_finite, self._refused):
            file.flush()

    def close(self) -> None:
        for file in (self._metrics, self._not_finite, self._refused):
            file.close()
        if self._board is not None:
            self._board.close()


def flat(figures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Numbers by name; those of a source as `loss/NAME`, which a board shows side by side."""
    for name, value in figures.items():
        if isinstance(value, (int, float)):
            yield name, value
    for name, value in figures.get("loss_by_source", {}).items():
        yield f"loss/{name}", value


def has_learned(out: Path) -> bool:
    """Whether a step was ever taken there, as far as the metrics say."""
    return (out / METRICS).exists() and any("loss" in row for row in read_jsonl(out / METRICS))


def remove_logs(out: Path) -> None:
    """Forgets what a start that came to nothing had written down."""
    for name in (METRICS, NOT_FINITE, REFUSED):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / BOARD, ignore_errors=True)


def _drop_after(path: Path, stage: str, step: int) -> None:
    """Removes the stage's rows behind a step."""
    if not path.exists():
        return
    rows = list(read_jsonl(path))
    kept = [row for row in rows if row["stage"] != stage or row["step"] <= step]
    if len(kept) < len(rows):
        write_atomic(path, "".join(json_text(row) + "\n" for row in kept))


def _tensorboard(folder: Path, step: int) -> Any:
    """A writer, when TensorBoard is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter  # here because it is optional and slow to import

    return SummaryWriter(str(folder), purge_step=step + 1)
