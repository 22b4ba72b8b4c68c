"""Memory by part before anything runs, and from it whether activations must be recomputed.

Bytes are those of the largest micro-batch on one rank: weights, gradients, the optimizer's state, what the forward
pass keeps, the rows of logits, the pictures. Weights that learn are kept in float32 and cast for every product
under bfloat16; frozen matrices are held in bfloat16 where products are. What a GPU's allocator loses between
pieces is left room for by `SPARE`; on a CPU the C library keeps what is freed and reuses it badly (`HEAP`, as
`benchmarks/plan_accuracy.py` saw it; giving it back at once would cost 40 % of the speed).

Source  the shapes of the parts (`shapes.py`), what autograd saves (`activations.py`), AdamW's two averages.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from seetell.train.activations import Kept, kept_by
from seetell.train.recipe import Stage
from seetell.train.shapes import Shapes
from seetell.train.work import Load

SPARE = 0.9  # of a device's memory is planned with
HEAP = 1.75
CHECKPOINTING = ("off", "selective", "full")
# Bytes a learning weight takes: itself, its gradient, its averages.
OPTIMIZERS = {"adamw": (4.0, 4.0, 8.0), "adamw-bf16": (2.0, 2.0, 4.0), "adamw-8bit": (2.0, 2.0, 2.06)}


@dataclass(frozen=True, slots=True)
class Setting:
    """How a stage is computed: on how many ranks, what learns, in which arithmetic. `lora_rank` 0 is no LoRA.

    `shardings` are the values `sharded` may take on several ranks (`Stage.shardings`).
    """

    learns: Collection[str]
    precision: str = "float32"
    optimizer: str = "adamw"
    checkpointing: str = "off"
    ranks: int = 1
    sharded: bool = False
    shardings: tuple[bool, ...] = (True,)
    accumulates: bool = True
    compiled: bool = False
    on_gpu: bool = False
    lora_rank: int = 0
    bits: int = 16


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one rank. `pictures` are a moment of their own, before the decoder keeps anything."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    pictures: int

    @property
    def peak(self) -> int:
        return self.weights + self.gradients + self.optimizer + max(self.activations + self.logits, self.pictures)

    def parts(self) -> dict[str, int]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def memory(shapes: Shapes, kept: Kept, load: Load, setting: Setting) -> Memory:
    """What one rank holds at its fullest, with `load` its largest micro-batch."""
    half = 2 if setting.precision == "bfloat16" else 4
    weight, gradient, averages = OPTIMIZERS[setting.optimizer]
    cast = 2 if half == 2 and weight == 4 else 0
    share = setting.ranks if setting.sharded else 1
    learning, frozen = _language(shapes, setting, half)
    learning_connector = shapes.connector_parameters if "connector" in setting.learns else 0
    gathered = 2 * shapes.block_matrices * half if share > 1 else 0
    weights = (
        shapes.vision_parameters * half
        + (frozen + learning * (weight + cast)) / share
        + shapes.connector_parameters * (4 + cast)
        + gathered
    )
    rows = load.pictures * shapes.slots
    joint = rows * (shapes.vision_width * 4 + 2 * (len(shapes.connector_matrices) - 1) * shapes.width * half)
    gradients = (learning / share + learning_connector) * gradient
    recomputed = "selective" if setting.compiled and setting.checkpointing == "off" else setting.checkpointing
    activations = load.slots * kept.language(shapes.layers, recomputed) + joint
    if not setting.accumulates:  # gradients then come as fast as activations go
        activations = max(0.0, activations - gradients)
    heap = 1.0 if setting.on_gpu else HEAP
    moment = shapes.vision_tokens * (2 * shapes.vision_width * 4 + 4 * shapes.vision_mlp * half)
    return Memory(
        weights=int(weights),
        gradients=int(gradients),
        optimizer=int((learning / share + learning_connector) * averages),
        activations=int(heap * activations),
        logits=int(heap * load.targets * shapes.vocabulary * half),  # their gradient takes their place
        pictures=int(heap * load.pictures * (moment + 9 * 3 * shapes.side_px**2)),
    )


def setting_of(
    stage: Stage, precision: str, on_gpu: bool, checkpointing: str = "off", compiled: bool = False
) -> Setting:
    """How a stage is computed on one device, as its recipe has it and as the rest was chosen."""
    return Setting(
        learns=tuple(stage.lr),
        precision=precision,
        checkpointing=checkpointing,
        optimizer=stage.optimizer,
        shardings=stage.shardings,
        compiled=compiled,
        on_gpu=on_gpu,
        lora_rank=stage.lora.rank if stage.lora else 0,
        bits=stage.lora.bits if stage.lora else 16,
    )


def kept_in(stage: Stage, config: Any, precision: str, on_gpu: bool) -> Kept:
    """What the decoder of that config keeps in this stage."""
    stored = torch.float32 if stage.optimizer == "adamw" else torch.bfloat16
    return kept_by(config, "language" in stage.lr, precision, split=not on_gpu, stored=stored)


def fullest(stage: Stage, shapes: Shapes) -> Load:
    """A load that no micro-batch of the stage exceeds by much: full of pictures, and half of it learnt."""
    slots = max(stage.micro_tokens, stage.max_tokens)
    return Load(tokens=slots, slots=slots, targets=slots // 2, pictures=slots // shapes.slots)


def learning_parameters(shapes: Shapes, setting: Setting) -> int:
    """How many numbers the optimizer moves."""
    joint = shapes.connector_parameters if "connector" in setting.learns else 0
    return joint + _language(shapes, setting, 4)[0]


def choose_checkpointing(shapes: Shapes, kept: Kept, load: Load, setting: Setting, room_bytes: float) -> str:
    """The least recomputation that fits in the device's memory; "full" when nothing does.

    Where only the connector learns there is nothing to choose: frozen weights keep little, and computing all twice
    costs half as much again.
    """
    if "language" not in setting.learns:
        return "off"
    for choice in CHECKPOINTING:
        if fits(memory(shapes, kept, load, replace(setting, checkpointing=choice)), room_bytes):
            return choice
    return "full"


def fits(needed: Memory, room_bytes: float) -> bool:
    """Whether a device of that memory holds it, with some to spare."""
    return needed.peak <= SPARE * room_bytes


def _language(shapes: Shapes, setting: Setting, half: int) -> tuple[int, float]:
    """The decoder's weights that learn, and the bytes of those that do not."""
    blocks = shapes.layers * shapes.block_matrices
    if "language" not in setting.learns:
        return 0, (shapes.language_parameters - shapes.table) * half + shapes.table * 4
    if not setting.lora_rank:
        return shapes.language_parameters, 0.0
    frozen = blocks * setting.bits / 8 if setting.bits < 16 else blocks * half
    rest = shapes.language_parameters - blocks
    return shapes.layers * shapes.lora_sides * setting.lora_rank, frozen + rest * half
