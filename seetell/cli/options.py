"""Options that several commands share."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from seetell.errors import UsageError


class Device(StrEnum):
    """Where tensors live."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Dtype(StrEnum):
    """How numbers are kept: `auto` is float32 on a CPU, bfloat16 on an accelerator."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Layout(StrEnum):
    """Whose checkpoint layout to write: transformers', or the first LLaVA release's."""

    hf = "hf"
    original = "original"


def temperature_of(text: str) -> float | None:
    """`none` leaves the temperature to the service, which models that reason want."""
    if text.lower() == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise UsageError(f"A temperature is a number from 0, or none to leave it to the service; not {text!r}.")
    return value


def seconds_of(text: str) -> float:
    """A length of time: `30s`, `5m`, `1h`, `1.5h`."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    try:
        seconds = float(text[:-1]) * units[text[-1:]]
    except (KeyError, ValueError):
        seconds = -1.0
    if not 0 < seconds < math.inf:
        raise UsageError(f"A length of time is a number with its unit, such as 30s, 5m or 1h; not {text!r}.")
    return seconds


DeviceOption = Annotated[Device, typer.Option(help="Where to compute.")]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Compute with so many threads; else one for each core that is free.")
]
OutOption = Annotated[Path, typer.Option(help="The folder to write.")]
TemperatureOption = Annotated[str, typer.Option(help="A number, or none to leave it to the service.")]
JudgeTokensOption = Annotated[
    int | None, typer.Option(min=0, help="The judge's longest reply, else the task's; 0 leaves it to the service.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting: tune.lr.language=1e-5. Repeatable.")
]
