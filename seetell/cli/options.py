"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


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


DeviceOption = Annotated[Device, typer.Option(help="Where to compute.")]
OutOption = Annotated[Path, typer.Option(help="The folder to write.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Turns a knob: tune.lr.language=1e-5. Repeatable.")]
