"""Memory by part before anything runs, and from it how a stage is computed so that it fits.

Bytes are those of the largest micro-batch on one rank, at the fullest of a step's moments: while the tower runs, when
all that the backward pass needs is there, when all gradients are there, while the optimizer moves the weights. What
lives beside weights and gradients is rehearsed (`activations.py`); what shards hold beside them is FSDP's: gathered
weights, whole gradients, the buffers of its messages. `benchmarks/memory_counted.py` compares all of it with bytes
that are counted. What a GPU's allocator loses between storages is left room for by `SPARE`; on a CPU the C library
keeps what is freed and reuses it badly (`HEAP`, as `benchmarks/plan_accuracy.py` saw it; giving it back at once would
cost 40 % of the speed).

Source  the shapes of the parts (`shapes.py`), AdamW's two averages, torch's `_fsdp_param_group.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from seetell.model.vlm import VLM
from seetell.train.activations import Held, Rehearsal
from seetell.train.hardware import CHUNK_CPU, CHUNK_GPU
from seetell.train.lean import CHUNK
from seetell.train.recipe import Stage
from seetell.train.shapes import Shapes
from seetell.train.work import Load

SPARE = 0.9  # of a device's memory is planned with
HEAP = 1.75
CHECKPOINTING = ("off", "selective", "full")
# Bytes a learning weight takes: itself, its gradient, its averages; and while it is moved, of CHUNK at once.
OPTIMIZERS = {
    "adamw": (4.0, 4.0, 8.0, 0.0),
    "adamw-bf16": (2.0, 2.0, 4.0, 32.0),
    "adamw-8bit": (2.0, 2.0, 2.03125, 77.0),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """How a stage is computed: on how many ranks, what learns, in which arithmetic. `lora_rank` 0 is no LoRA.

    `shardings` are the values `sharded` may take on several ranks (`Stage.shardings`); shards that are `roomy` leave
    what was gathered, and whole gradients, where they are until a step ends.
    """

    learns: Collection[str]
    precision: str = "float32"
    optimizer: str = "adamw"
    checkpointing: str = "off"
    ranks: int = 1
    sharded: bool = False
    roomy: bool = False
    shardings: tuple[bool, ...] = (True,)
    accumulates: bool = True
    compiled: bool = False
    on_gpu: bool = False
    lora_rank: int = 0
    bits: int = 16

    @property
    def narrow(self) -> bool:
        """Whether the decoder computes in bfloat16 throughout, as shards on a GPU do."""
        return self.sharded and self.on_gpu and self.precision == "bfloat16"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one rank when it is fullest. `gathered` is what shards hold beside themselves; `heap` is no tensor's."""

    weights: int
    optimizer: int
    gathered: int
    gradients: int
    activations: int
    heap: int = 0

    @property
    def peak(self) -> int:
        return sum(self.parts().values())

    @property
    def counted(self) -> int:
        """Of tensors alone."""
        return self.peak - self.heap

    def parts(self) -> dict[str, int]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def memory(shapes: Shapes, rehearsal: Rehearsal, load: Load, setting: Setting) -> Memory:
    """What one rank holds at its fullest, with `load` its largest micro-batch."""
    half = 2 if setting.precision == "bfloat16" else 4
    weight, gradient, averages, _ = OPTIMIZERS[setting.optimizer]
    share = setting.ranks if setting.sharded else 1
    learning, frozen = _language(shapes, setting, half)
    joint = shapes.connector_parameters if "connector" in setting.learns else 0
    recomputed = "selective" if setting.compiled and setting.checkpointing == "off" else setting.checkpointing
    # Of shards, whole gradients live until they are added to what is kept of them: as where they accumulate.
    held = rehearsal.held(load, recomputed, setting.accumulates or setting.sharded, setting.narrow)
    moments = _moments(shapes, held, load, setting, learning + joint, (learning + joint) / share * gradient)
    gathered, gradients, activations = max(moments, key=sum)
    language = (frozen + learning * weight) / share
    return Memory(
        weights=int(shapes.vision_parameters * half + language + shapes.connector_parameters / share * weight),
        optimizer=int((learning + joint) / share * averages),
        gathered=int(gathered),
        gradients=int(gradients),
        activations=int(activations),
        heap=0 if setting.on_gpu else int((HEAP - 1) * activations),
    )


def _moments(
    shapes: Shapes, held: Held, load: Load, setting: Setting, learning: int, kept: float
) -> Iterator[tuple[float, float, float]]:
    """Of each moment of a step what shards hold beside themselves, the gradients, and all else; `kept` is what all
    gradients take in the end."""
    weight, _, _, moving = OPTIMIZERS[setting.optimizer]
    more = max(shapes.layers - held.blocks, 0)
    logits = 2 * 4 * min(load.targets * shapes.vocabulary, CHUNK_GPU if setting.on_gpu else CHUNK_CPU)
    turn, backward = held.turn + more * held.block + logits, held.backward + more * held.block
    largest = max(shapes.connector_parameters, 0 if setting.lora_rank else max(shapes.table, shapes.end_matrix))
    moved = moving * min(CHUNK, largest / (setting.ranks if setting.sharded else 1))
    if not setting.sharded:
        before = kept if setting.accumulates else 0.0
        blocks = 0.0 if setting.accumulates else more * _of_a_block(shapes, setting)
        yield 0.0, before, held.tower
        yield 0.0, before, max(turn, backward)
        yield 0.0, kept, max(0.0, held.end + blocks - (kept - before))
        yield 0.0, kept, moved
        return
    whole = 2.0 if setting.narrow else weight  # bytes of a gathered weight, and of its gradient as it is made
    summed = 4.0 if setting.narrow else weight  # of its gradient in messages, and where whole ones are kept
    block, root = float(shapes.block_matrices), float(shapes.language_parameters + shapes.connector_parameters)
    root -= shapes.layers * block
    learns = "language" in setting.learns
    made = whole + summed if learns else 0.0
    blocks = shapes.layers if setting.roomy else 2.0
    before = (learning * summed if setting.roomy else kept) if setting.accumulates else 0.0
    yield root * whole, before, held.tower
    head = shapes.head * whole if learns else 0.0
    yield (
        (root + blocks * block) * whole + (head if setting.roomy else max(0.0, head - 2 * block * whole)),
        before,
        turn,
    )
    yield (root + blocks * block) * whole + block * made + head, before, backward
    root_made = root * whole if learns else shapes.connector_parameters * whole
    yield max((root + 2 * block) * whole + root_made + block * made, root_made * (1 + summed / whole)), kept, held.end
    yield 0.0, kept, moved


def _of_a_block(shapes: Shapes, setting: Setting) -> float:
    """Bytes of a block's gradients."""
    if "language" not in setting.learns:
        return 0.0
    numbers = shapes.lora_sides * setting.lora_rank if setting.lora_rank else shapes.block_matrices
    return numbers * OPTIMIZERS[setting.optimizer][1]


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


def rehearsal_of(stage: Stage, vlm: VLM, precision: str, on_gpu: bool) -> Rehearsal:
    """What the steps of this stage hold, of a model of these shapes."""
    return Rehearsal(vlm, stage, precision, on_gpu)


def fullest(stage: Stage, shapes: Shapes) -> Load:
    """A load that no micro-batch of the stage exceeds by much: full of pictures, and half of it learnt."""
    slots = max(stage.micro_tokens, stage.max_tokens)
    return Load(tokens=slots, slots=slots, targets=slots // 2, pictures=slots // shapes.slots)


def learning_parameters(shapes: Shapes, setting: Setting) -> int:
    """How many numbers the optimizer moves."""
    joint = shapes.connector_parameters if "connector" in setting.learns else 0
    return joint + _language(shapes, setting, 4)[0]


def arranged(
    shapes: Shapes, rehearsal: Rehearsal, load: Load, setting: Setting, room_bytes: float, checkpointing: str = "auto"
) -> Setting:
    """The setting with what memory decides: the least recomputation that fits, "full" when nothing does, and then
    whether shards are roomy, which they are where what is left holds that too.

    Where only the connector learns there is nothing to recompute: frozen weights keep little, and computing all twice
    costs half as much again.
    """

    def fitting(**changes: Any) -> bool:
        return fits(memory(shapes, rehearsal, load, replace(setting, **changes)), room_bytes)

    if checkpointing == "auto":
        choices = CHECKPOINTING if "language" in setting.learns else ("off",)
        checkpointing = next((choice for choice in choices if fitting(checkpointing=choice)), choices[-1])
    setting = replace(setting, checkpointing=checkpointing, roomy=False)
    return replace(setting, roomy=setting.sharded and fitting(roomy=True))


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
