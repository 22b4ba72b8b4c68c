"""How fast this machine computes a stage, by trying: one step of the plan's own, with random weights.

A small model on a CPU is far from the rate of one large matrix product, and how far depends on its shapes; so
micro-batches of these shapes are timed, one after another as in a run. Where they would take long, there are fewer,
the model has fewer layers and the last micro-batch fewer documents: the rate is that of the operations which were
executed, and is taken to hold for the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from seetell.encode.sample import Sample, pack
from seetell.encode.tokenizer import Tokenizer
from seetell.model.vlm import VLM
from seetell.train.computing import arrange, autocast
from seetell.train.counts import Counted
from seetell.train.hardware import product_rate, typical_s
from seetell.train.loss import supervised_loss
from seetell.train.optimizer import build_optimizer
from seetell.train.outline import outline
from seetell.train.pictures import MicroBatch
from seetell.train.recipe import Model, Stage
from seetell.train.shapes import Shapes, shapes_of
from seetell.train.start import ready_model
from seetell.train.work import flops, load_of

SHORT_S = 5.0  # about what the passes that are timed may take; as many before them do not count
MOST_PASSES = 4
ROUNDS = 3  # of the optimizer


@dataclass(frozen=True, slots=True)
class Pace:
    """Operations a second in one large matrix product and in a step's passes; the optimizer's seconds a weight."""

    product_flops_per_s: float
    step_flops_per_s: float
    optimizer_s_per_weight: float

    def seconds(self, executed: int, steps: int, learning: int) -> float:
        """Of a whole stage."""
        return executed / self.step_flops_per_s + steps * learning * self.optimizer_s_per_weight


def measure_pace(
    model: Model, stage: Stage, tokenizer: Tokenizer, counted: Counted, device: torch.device, chosen: dict[str, str]
) -> Pace:
    """Times the middle step of the plan. LoRA is timed as if the language model were frozen."""
    if stage.lora is not None:
        stage = replace(stage, lora=None, lr={"connector": 1e-3})
    product = product_rate(device, chosen["precision"])
    plan = replace(counted.plan, groups=(), prefixes=())
    step = plan.micro_batches(plan.steps // 2)[0]
    batches = [[document[0] for document in micro_batch] for micro_batch in step[:MOST_PASSES]]
    layers: int | None = None
    while True:
        shapes = shapes_of(outline(model, tokenizer, layers=layers, tower_layers=layers))
        executed = 0
        for entries in batches:
            load = load_of(plan, [(entry,) for entry in entries], counted.targets, counted.pictures)
            parts = flops(shapes, load, stage.lr, chosen["checkpointing"])
            executed += sum(part.executed for part in parts.values())
        smallest = layers == 1 and len(batches) == len(batches[0]) == 1
        if executed <= SHORT_S * product / 2 or smallest:
            break
        layers, batches = _less(shapes, layers, batches)
    kind = torch.bfloat16 if chosen["precision"] == "bfloat16" else torch.float32
    vlm = outline(model, tokenizer, str(device), layers, layers)
    arrange(vlm, chosen, device)
    ready_model(vlm, stage, kind, 0, device)
    samples = [[counted.samples.sample(entry) for entry in entries] for entries in batches]
    seconds, optimizer_s = time_step(vlm, stage, chosen, samples)
    return Pace(product, executed / seconds, optimizer_s)


def _less(shapes: Shapes, layers: int | None, batches: list[list[int]]) -> tuple[int | None, list[list[int]]]:
    """Half the micro-batches, then half the layers while there are more than two, then half the documents."""
    if len(batches) > 1:
        return layers, batches[: len(batches) // 2]
    if layers is None or layers > 2:
        return max(2, (layers or shapes.layers) // 2), batches
    return (layers, [batches[0][: len(batches[0]) // 2]]) if len(batches[0]) > 1 else (1, batches)


def time_step(vlm: VLM, stage: Stage, chosen: dict[str, str], samples: list[list[Sample]]) -> tuple[float, float]:
    """Seconds of the micro-batches forward and back, and of the optimizer for each weight that learns."""
    device = vlm.device
    vlm.train()
    micros: list[MicroBatch] = []
    for batch in samples:
        shown = sum(len(sample.images) for sample in batch)
        pixels = list(torch.randint(0, 256, (shown, 3, vlm.side_px, vlm.side_px), dtype=torch.uint8))
        micros.append(MicroBatch(pack(batch, pixels, image_id=vlm.image_id)).to(device))
    kind = torch.bfloat16 if chosen["precision"] == "bfloat16" else torch.float32

    def run() -> None:
        for micro in micros:
            with autocast(device, kind):
                loss = supervised_loss(vlm, micro)
            loss.backward()

    seconds = typical_s(run, device, rounds=1)
    optimizer = build_optimizer(vlm, stage)
    learning = sum(weight.numel() for weight in vlm.parameters() if weight.requires_grad)
    optimizer.step()  # makes its state
    return seconds, typical_s(lambda: optimizer.step(), device, ROUNDS) / learning
