"""What the package can use and does not need: each is asked for before anything heavy is imported."""

from __future__ import annotations

import importlib.util

from seetell.console import installing
from seetell.errors import UsageError


def require(module: str, extra: str, what: str, instead: str = "") -> None:
    """Refuses when a module of an extra is not installed; `what` needs it, and `instead` is another way out."""
    if importlib.util.find_spec(module) is None:
        other = f", or {instead}." if instead else ""
        raise UsageError(f"{what} needs {module}, which is not installed: {installing(extra)}{other}")


def require_peft() -> None:
    """For LoRA."""
    require("peft", "lora", "LoRA")


def require_bitsandbytes(bits: int) -> None:
    """For a frozen language model in 8 or 4 bits."""
    require("bitsandbytes", "quant", f"A language model in {bits} bits", "leave lora.bits at 16")
