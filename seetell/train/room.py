"""Whether a stage fits in the memory of this device, asked before the first step of the run; and what would fit.

A stage whose tensors alone are more than the device has is refused, with up to three settings that fit, each found by
the same estimate (`estimate.py`). It is asked twice: before a weight is read, of a micro-batch of next to nothing, and
when the data is known, of the fullest micro-batches there are. `memory="trust"` in a stage asks nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from seetell.errors import ConfigError, UsageError
from seetell.model.vlm import VLM
from seetell.train.estimate import Memory, arranged, fits, fullest, memory, rehearsal_of, setting_of
from seetell.train.gpus import GIB
from seetell.train.hardware import memory_of_each
from seetell.train.recipe import Lora, Stage
from seetell.train.shapes import shapes_of
from seetell.train.work import Load

LEAST = (Load(tokens=128, slots=128, targets=1),)
SAID_AT_MOST = 3
RANKS = (2, 4, 8, 16, 32, 64)


def check_room(
    name: str,
    stage: Stage,
    vlm: VLM,
    chosen: Mapping[str, str],
    device: torch.device,
    ranks: int,
    loads: Sequence[Load] = LEAST,
    can_lora: bool = False,
) -> None:
    """Refuses a stage that cannot fit, computed as was chosen, with these loads its fullest micro-batches.

    `vlm` may be an outline. `can_lora` says that the stage could learn by LoRA.
    """
    if stage.memory == "trust":
        return
    room_bytes = memory_of_each(device, ranks)
    on_gpu = device.type == "cuda"
    needed = _needed(stage, vlm, chosen, on_gpu, ranks, loads)
    if needed.counted <= room_bytes:
        return
    largest = sorted(needed.parts().items(), key=lambda part: -part[1])[:3]
    holding = ", ".join(f"{what} {size / GIB:,.1f}" for what, size in largest)
    there = f"{needed.counted / GIB:,.1f} GiB of memory {'on each rank' if ranks > 1 else 'here'} ({holding})"
    found: list[str] = []
    for how, other, count in _others(name, stage, vlm, ranks, can_lora):
        now = loads if other.micro_tokens == stage.micro_tokens else (fullest(other, shapes_of(vlm)),)
        least = _least(other, vlm, chosen, on_gpu, count, now, room_bytes)
        if fits(least, room_bytes):
            found.append(f"{how} ({least.peak / GIB:,.1f} GiB)")
        if len(found) == SAID_AT_MOST:
            break
    what = f"These would fit: {'; '.join(found)}." if found else "No setting known here would fit: a smaller model may."
    raise UsageError(
        f"{name} needs {there}, and {room_bytes / GIB:,.1f} GiB are there. {what} "
        f"If you know better: --set {name}.memory=trust."
    )


def _needed(
    stage: Stage, vlm: VLM, chosen: Mapping[str, str], on_gpu: bool, ranks: int, loads: Sequence[Load]
) -> Memory:
    """As was chosen; of a step of one pass, which holds no gradients while its activations grow."""
    setting = setting_of(stage, chosen["precision"], on_gpu, chosen["checkpointing"], chosen["compile"] == "on")
    sharded = ranks > 1 and stage.shardings[0]
    setting = replace(
        setting, ranks=ranks, sharded=sharded, roomy=sharded and chosen["roomy"] == "on", accumulates=False
    )
    rehearsal, shapes = rehearsal_of(stage, vlm, chosen["precision"], on_gpu), shapes_of(vlm)
    return max((memory(shapes, rehearsal, load, setting) for load in loads), key=lambda one: one.counted)


def _least(
    stage: Stage, vlm: VLM, chosen: Mapping[str, str], on_gpu: bool, ranks: int, loads: Sequence[Load], room: float
) -> Memory:
    """Of another setting, with the least recomputation that fits."""
    precision = chosen["precision"] if stage.optimizer == "adamw" else "bfloat16"
    setting = setting_of(stage, precision, on_gpu, compiled=chosen["compile"] == "on")
    setting = replace(setting, ranks=ranks, sharded=ranks > 1 and stage.shardings[0])
    rehearsal, shapes = rehearsal_of(stage, vlm, precision, on_gpu), shapes_of(vlm)
    return max(
        (
            memory(shapes, rehearsal, load, arranged(shapes, rehearsal, load, setting, room, stage.checkpointing))
            for load in loads
        ),
        key=lambda one: one.peak,
    )


def _others(name: str, stage: Stage, vlm: VLM, ranks: int, can_lora: bool) -> Iterator[tuple[str, Stage, int]]:
    """Other ways to train the stage: what to ask for, the stage then, on how many ranks; the smaller changes first."""
    changes: list[dict[str, Any]] = []
    if stage.checkpointing not in ("auto", "full") and "language" in stage.lr:
        changes.append({"checkpointing": "auto"})
    least = max(stage.max_tokens, vlm.slots_per_image)
    fewer = (stage.micro_tokens // part // 128 * 128 for part in (2, 4, 8))
    changes += [{"micro_tokens": tokens} for tokens in fewer if tokens >= max(least, 128)][:1]
    if "language" in stage.lr and stage.lora is None:
        changes += [{"optimizer": other} for other in ("adamw-bf16", "adamw-8bit") if other != stage.optimizer]
        changes += [{"lora": Lora()}] if can_lora else []
    if stage.lora is not None and stage.lora.bits > 4:
        changes.append({"lora": replace(stage.lora, bits=4)})
    for change in changes:
        try:
            other = replace(stage, **change)
        except ConfigError:  # what does not go with the rest of the stage
            continue
        yield f"--set {name}.{_asked(change)}", other, ranks
    for count in RANKS:
        if count > ranks and stage.shardings[0]:
            yield f"torchrun --nproc-per-node {count}", stage, count


def _asked(change: Mapping[str, Any]) -> str:
    ((what, value),) = change.items()
    if isinstance(value, Lora):
        return f"lora.rank={value.rank}" if value.bits == Lora().bits else f"lora.bits={value.bits}"
    return f"{what}={value}"
