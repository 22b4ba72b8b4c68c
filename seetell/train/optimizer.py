"""What learns, and how fast at each step: a stage's `lr` map turned into parameter groups and a schedule.

AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), warm-up in a straight line, then a half cosine down to 0.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from seetell.model.adapter import lora_parameters
from seetell.train.lean import LeanAdamW
from seetell.train.recipe import LEARNABLE, Stage


def choose_what_learns(model: nn.Module, stage: Stage) -> None:
    """Parts named in `lr` take gradients, under LoRA the language model's matrices alone; the rest is frozen."""
    model.requires_grad_(False)
    for name in LEARNABLE:
        if name in stage.lr:
            part = model.get_submodule(name)
            matrices = lora_parameters(part)
            for parameter in matrices.values() if matrices else part.parameters():
                parameter.requires_grad_(True)


def build_optimizer(model: nn.Module, stage: Stage, seed: int = 0) -> torch.optim.Optimizer:
    """A group for each part that learns; biases and norms are never decayed. `seed` is for rounding by chance."""
    groups: list[dict[str, object]] = []
    for name, peak in stage.lr.items():
        parameters = [p for p in model.get_submodule(name).parameters() if p.requires_grad]
        for decay, chosen in (
            (stage.weight_decay, [p for p in parameters if p.ndim >= 2]),
            (0.0, [p for p in parameters if p.ndim < 2]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": peak, "peak": peak, "weight_decay": decay, "part": name})
    if stage.optimizer == "adamw":
        return torch.optim.AdamW(groups, betas=stage.betas, eps=stage.eps, fused=True)
    moments = "8bit" if stage.optimizer == "adamw-8bit" else "bfloat16"
    return LeanAdamW(groups, stage.betas, stage.eps, moments, seed)


def set_lr(optimizer: torch.optim.Optimizer, stage: Stage, step: int, steps: int) -> dict[str, float]:
    """Sets the rate of every group for this step (counted from 0); returns it by part."""
    factor = lr_factor(stage, step, steps)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    return {group["part"]: group["lr"] for group in optimizer.param_groups}


def lr_factor(stage: Stage, step: int, steps: int) -> float:
    """The fraction of the peak rate: rises to 1 over the warm-up, then falls to 0 behind the last step."""
    warmup_steps = math.ceil(stage.warmup * steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if stage.schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))
