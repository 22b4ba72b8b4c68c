"""TensorBoard, where it is installed: numbers, and what the model said beside the pictures it said it of."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from seetell.train.observing import Told


class Board:
    """A stage's figures for TensorBoard."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # here because it is optional and slow to import

        self._writer = SummaryWriter(str(folder), purge_step=step + 1)
        self._shown: set[str] = set()

    def numbers(self, step: int, figures: Mapping[str, Any]) -> None:
        for name, value in numbers(figures):
            self._writer.add_scalar(name, value, step)

    def told(self, step: int, name: str, told: Told) -> None:
        """The words each time, the picture once."""
        if told.picture is not None and name not in self._shown:
            self._shown.add(name)
            with PIL.Image.open(io.BytesIO(told.picture)) as picture:
                self._writer.add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")
        self._writer.add_text(name, f"{told.prompt}\n\n{told.text}", step)

    def close(self) -> None:
        self._writer.close()


def open_board(folder: Path, step: int) -> Board | None:
    """A board, when TensorBoard is installed."""
    return None if importlib.util.find_spec("tensorboard") is None else Board(folder, step)


def numbers(figures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Numbers by name; those of a source as `loss/NAME`, which a board shows side by side."""
    for name, value in figures.items():
        if isinstance(value, (int, float)):
            yield name, value
    for name, value in figures.get("loss_by_source", {}).items():
        yield f"loss/{name}", value
