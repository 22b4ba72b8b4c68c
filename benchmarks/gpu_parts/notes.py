"""What a part of `gpu.py` found: figures, what is wrong, what was skipped; on disk as soon as each is known.

A part may be killed at its limit: what it noted before stands.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(slots=True)
class Notes:
    """The file that the parent reads. `wrong` holds a sentence for each check that does not hold."""

    path: Path
    figures: dict[str, Any] = field(default_factory=dict[str, Any])
    wrong: list[str] = field(default_factory=list[str])
    skipped: list[str] = field(default_factory=list[str])
    error: str = ""

    def put(self, **figures: Any) -> None:
        self.figures |= figures
        self._write()

    def check(self, holds: bool, sentence: str) -> bool:
        """Whether it holds; if not, the sentence says what does not."""
        if not holds:
            self.wrong.append(sentence)
            self._write()
        return holds

    def skip(self, sentence: str) -> None:
        self.skipped.append(sentence)
        self._write()

    def fail(self, sentence: str) -> None:
        """What ended the part."""
        self.error = sentence
        self._write()

    def _write(self) -> None:
        told = {"figures": self.figures, "wrong": self.wrong, "skipped": self.skipped, "error": self.error}
        beside = self.path.with_suffix(".part")
        beside.write_text(json.dumps(told), encoding="utf-8")
        beside.replace(self.path)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part runs: on which device, tiny or in real sizes, and how long it has."""

    device: torch.device
    tiny: bool
    seconds: float
    began_s: float = field(default_factory=time.monotonic)

    @property
    def left_s(self) -> float:
        return self.seconds - (time.monotonic() - self.began_s)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"
