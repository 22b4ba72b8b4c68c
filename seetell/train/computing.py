"""How a stage is computed on this machine: chosen once, written to the run, and the same ever after.

What a recipe leaves to "auto" is decided here by rule and feature test, and told with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from seetell.console import say
from seetell.model.computing import can_compile, fuse_with_liger, keep_freed_memory, set_computing
from seetell.model.last_layer import blocks, prune
from seetell.model.vlm import VLM
from seetell.train.estimate import arranged, fullest, rehearsal_of, setting_of
from seetell.train.hardware import memory_of_each
from seetell.train.recipe import Stage
from seetell.train.shapes import shapes_of

WIDE_ENOUGH = 128


def choose_computing(stage: Stage, vlm: VLM, device: torch.device, shards: int = 1) -> dict[str, str]:
    """What "auto" means on this device, which holds one of so many shards, for each thing that may be left to it."""
    precision = choose_precision(stage, vlm, device)
    computed = {"precision": precision, "compile": _choose_compile(stage, vlm, device, precision)}
    return computed | choose_for_memory(stage, vlm, device, shards, computed)


def choose_for_memory(
    stage: Stage, vlm: VLM, device: torch.device, shards: int, computed: Mapping[str, str]
) -> dict[str, str]:
    """What depends on the memory of a device and on how many share the weights, for a full micro-batch."""
    asked = stage.checkpointing
    if asked == "auto" and ("language" not in stage.lr or not blocks(vlm.language)):
        asked = "off"
    if asked != "auto" and shards == 1:
        return {"checkpointing": asked, "roomy": "off"}
    shapes = shapes_of(vlm)
    on_gpu, compiled = device.type == "cuda", computed["compile"] == "on"
    rehearsal = rehearsal_of(stage, vlm, computed["precision"], on_gpu)
    setting = setting_of(stage, computed["precision"], on_gpu, compiled=compiled)
    setting = replace(setting, ranks=shards, sharded=shards > 1)
    found = arranged(shapes, rehearsal, fullest(stage, shapes), setting, memory_of_each(device, shards), asked)
    return {"checkpointing": found.checkpointing, "roomy": "on" if found.roomy else "off"}


def choose_precision(stage: Stage, vlm: VLM, device: torch.device) -> str:
    """bfloat16 products where the machine multiplies them faster, else float32.

    A rule rather than a measurement, so that the same recipe on the same machine is the same run. On a CPU only AMX
    pays: with avx512_bf16 alone a core reached 84 GFLOP/s in bfloat16 and 150 in float32 (2048 x 160 x 160); below a
    width of WIDE_ENOUGH the conversions cost what the products save.
    """
    if stage.precision != "auto":
        return stage.precision
    if stage.optimizer != "adamw":
        return "bfloat16"  # what its weights are kept in
    if device.type == "cuda":
        pays = torch.cuda.is_bf16_supported(including_emulation=False)  # a card before sm80 has it by emulation, slowly
    elif device.type == "cpu":
        has = torch.cpu.get_capabilities()
        pays = bool(has.get("amx_bf16")) and vlm.language.config.hidden_size >= WIDE_ENOUGH
    else:
        pays = False
    return "bfloat16" if pays else "float32"


def _choose_compile(stage: Stage, vlm: VLM, device: torch.device, precision: str) -> str:
    """On a GPU in bfloat16, where it works and the family has blocks; on a CPU it seldom pays its minutes."""
    if stage.compile != "auto":
        return stage.compile
    pays = device.type == "cuda" and precision == "bfloat16" and bool(blocks(vlm.language))
    return "on" if pays and can_compile(device) else "off"


def arrange(vlm: VLM, chosen: dict[str, str], device: torch.device) -> None:
    """Makes the model compute as chosen on the device; its weights still lie and are typed as they were loaded.

    In those types the pruned layer can be tried: a mixture needs autocast to be multiplied at all.
    """
    if device.type == "cpu":
        keep_freed_memory()
    if why := prune(vlm.language):
        say(f"The last layer is computed whole, for {why}.")
    fuses = device.type == "cuda" and chosen["compile"] == "off" and can_compile(device)  # Liger's are Triton's too
    if fuses and fuse_with_liger(vlm.language):
        say("Norms and gated activations run through Liger's kernels.")
    set_computing(vlm.language, chosen["checkpointing"], chosen["compile"] == "on")


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Matrix products in bfloat16 where that was chosen, everything in float32 where not."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16)
