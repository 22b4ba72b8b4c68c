"""What a run needs, looked at before its first step: a later stage must not find out after hours what it lacks.

Every stage that is still to be trained is looked at: its extras (peft, bitsandbytes), the products and the compiler of
this device, the shape of its language model. `CHECKS` are functions that raise a `UsageError`; what they say is said
together. The model is an outline, without weights, so this takes seconds.

The longest sample is bounded here too: by `max_tokens`, or by what the language model can read where that is less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from seetell.console import say
from seetell.errors import UsageError
from seetell.model.adapter import import_peft
from seetell.model.computing import check_blocks, check_compile
from seetell.model.fp8 import check_fp8
from seetell.model.limits import Limit, longest_document
from seetell.model.quantized import import_bitsandbytes
from seetell.model.vlm import VLM
from seetell.train.recipe import Recipe, Stage


def preflight(recipe: Recipe, names: Sequence[str], vlm: VLM, device: torch.device) -> None:
    """Refuses a run one of whose stages cannot be trained on this device; `vlm` may be an outline."""
    problems = [f"{name}: {why}" for name in names for why in why_not_run(recipe.stages[name], vlm, device)]
    if problems:
        raise UsageError(" ".join(problems))


def why_not_run(stage: Stage, vlm: VLM, device: torch.device) -> list[str]:
    """All that keeps a stage from being trained on this device; `vlm` may be an outline."""
    problems: list[str] = []
    for check in CHECKS:
        try:
            check(stage, vlm, device)
        except UsageError as error:
            problems.append(str(error))
    return problems


def within(stage: Stage, limit: Limit | None, name: str) -> Stage:
    """The stage with samples no longer than its language model can read; says when that is less than was asked for."""
    if limit is None or stage.max_tokens <= limit.tokens:
        return stage
    say(f"{name}: a sample has at most {limit.tokens:,} tokens, not max_tokens={stage.max_tokens:,}: {limit.why}.")
    return replace(stage, max_tokens=limit.tokens)


def _check_lora(stage: Stage, _vlm: VLM, device: torch.device) -> None:
    if stage.lora is not None:
        import_peft()
        if stage.lora.bits < 16:
            import_bitsandbytes(stage.lora.bits, device)


def _check_computing(stage: Stage, vlm: VLM, device: torch.device) -> None:
    if stage.fp8:
        check_fp8(device)
    if stage.compile == "on":
        check_compile(vlm.language, device)
    elif stage.checkpointing in ("selective", "full"):
        check_blocks(vlm.language)


def _check_pictures(_stage: Stage, vlm: VLM, _device: torch.device) -> None:
    limit = longest_document(vlm.language.config)
    if limit is not None and vlm.slots_per_image >= limit.tokens:
        raise UsageError(
            f"A picture takes {vlm.slots_per_image:,} tokens, and {limit.why}: choose a tower that gives fewer, or "
            "another language model."
        )


CHECKS: tuple[Callable[[Stage, VLM, torch.device], None], ...] = (_check_lora, _check_computing, _check_pictures)
