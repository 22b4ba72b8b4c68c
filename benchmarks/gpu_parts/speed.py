"""`train_speed` in short: fewer samples a step and one round, so that four of them fit into minutes.

Useful FLOP/s stand beside the rate of a matrix product measured in the same process. Parity is told and, unlike there,
does not stop the timing: what bfloat16 does on a card is one of the things to be found out. The systems beside ours
need accelerate, a LoRA peft.
"""

from __future__ import annotations

import gc
import importlib.util
import time
from typing import Any, cast

import torch

from benchmarks import train_speed
from benchmarks.gpu_parts.notes import Notes, Place
from benchmarks.systems.sizes import SIZES


def align_half(place: Place, notes: Notes) -> None:
    speed("0.5b", 1, 64, place, notes)


def tune_half(place: Place, notes: Notes) -> None:
    speed("0.5b", 2, 64, place, notes)


def align_seven(place: Place, notes: Notes) -> None:
    speed("7b", 1, 32, place, notes)


def lora_seven(place: Place, notes: Notes) -> None:
    if importlib.util.find_spec("peft") is None:
        notes.skip("LoRA: peft is not installed")
        return
    speed("7b", 2, 32, place, notes, "--lora", "128")


def speed(size: str, stage: int, samples: int, place: Place, notes: Notes, *more: str) -> None:
    """Times ours alone first, then ours beside the others, so that a limit that comes too soon leaves ours."""
    size, samples = ("mini", 8) if place.tiny else (size, samples)
    given = ["--size", size, "--stage", str(stage), "--device", place.device.type, "--samples-per-step", str(samples)]
    given += ["--rounds", "1", "--steps", "1", "--quick", *more, *(["--gemm-side", "256"] if place.tiny else [])]
    began_s = time.monotonic()
    notes.put(ours_alone=told([*given, "--systems", "ours"], size, notes))
    if importlib.util.find_spec("accelerate") is None:
        notes.skip("hf-default, hf-tuned: accelerate is not installed")
        return
    if (took_s := time.monotonic() - began_s) > place.left_s:  # ours once more is the least of it
        notes.skip(f"hf-default, hf-tuned: {place.left_s:.0f} s are left and ours alone took {took_s:.0f}")
        return
    notes.put(together=told([*given, "--systems", "ours,hf-default,hf-tuned"], size, notes))


def told(arguments: list[str], size: str, notes: Notes) -> dict[str, Any]:
    """One measurement's figures, system by system."""
    gc.collect()  # of the one before: 7B twice is much
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    found = cast(dict[str, Any], train_speed.measure(train_speed.parse(arguments), SIZES[size]))
    wrong = found["parity"].get("wrong")
    notes.check(not wrong, str(wrong))
    wanted = ("samples_per_s", "useful_flops_per_s", "useful_share_of_gemm", "peak_memory_bytes", "flags")
    figures: dict[str, Any] = {name: {what: one[what] for what in wanted} for name, one in found["systems"].items()}
    parity = {name: value for name, value in found["parity"].items() if name != "wrong"}
    return {**figures, "parity": parity, "gemm_flops_per_s": found["gemm_flops_per_s"]}
