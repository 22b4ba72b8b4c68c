"""How fast this machine computes a stage, by trying: one micro-batch of the plan's own, with random weights.

A small model on a CPU is far from the rate of one large matrix product, and how far depends on its shapes; so a
step of these shapes is timed. Where one would take long, the model has fewer layers and the micro-batch fewer
documents: the rate is that of the operations which were executed, and is taken to hold for the whole.
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
from seetell.train.optimizer import build_optimizer, choose_what_learns
from seetell.train.outline import outline
from seetell.train.pictures import MicroBatch
from seetell.train.recipe import Model, Stage
from seetell.train.shapes import Shapes, shapes_of
from seetell.train.start import ready_model
from seetell.train.work import flops, load_of

SHORT_S = 2.0  # about what one timed pass may take
ROUNDS = 3


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
    """Times a micro-batch out of the middle of the plan. LoRA is timed as if the language model were frozen."""
    if stage.lora is not None:
        stage = replace(stage, lora=None, lr={"connector": 1e-3})
    product = product_rate(device, chosen["precision"])
    plan = replace(counted.plan, groups=(), prefixes=())
    middle = plan.micro_batches(plan.steps // 2)[0][0]
    entries = [document[0] for document in middle]
    layers: int | None = None
    while True:
        shapes = shapes_of(outline(model, tokenizer, layers=layers, tower_layers=layers))
        load = load_of(plan, [(entry,) for entry in entries], counted.targets, counted.pictures)
        executed = sum(part.executed for part in flops(shapes, load, stage.lr, chosen["checkpointing"]).values())
        if executed <= SHORT_S * product / 2 or (layers == 1 and len(entries) == 1):
            break
        layers, entries = _less(shapes, layers, entries)
    kind = torch.bfloat16 if chosen["precision"] == "bfloat16" else torch.float32
    vlm = ready_model(outline(model, tokenizer, str(device), layers, layers), stage, kind, 0, device)
    samples = [counted.samples.sample(entry) for entry in entries]
    seconds, optimizer_s = time_step(vlm, stage, chosen, samples)
    return Pace(product, executed / seconds, optimizer_s)


def _less(shapes: Shapes, layers: int | None, entries: list[int]) -> tuple[int, list[int]]:
    """Half the layers while there are more than two, then half the documents."""
    if layers is None or layers > 2:
        return max(2, (layers or shapes.layers) // 2), entries
    return (layers, entries[: len(entries) // 2]) if len(entries) > 1 else (1, entries)


def time_step(vlm: VLM, stage: Stage, chosen: dict[str, str], samples: list[Sample]) -> tuple[float, float]:
    """Seconds of one micro-batch forward and back, and of the optimizer for each weight that learns."""
    device = vlm.device
    choose_what_learns(vlm, stage)
    arrange(vlm, stage, chosen)
    vlm.train()
    shown = sum(len(sample.images) for sample in samples)
    pixels = list(torch.randint(0, 256, (shown, 3, vlm.side_px, vlm.side_px), dtype=torch.uint8))
    micro = MicroBatch(pack(samples, pixels)).to(device)
    kind = torch.bfloat16 if chosen["precision"] == "bfloat16" else torch.float32

    def run() -> None:
        with autocast(device, kind):
            loss = supervised_loss(vlm, micro)
        loss.backward()

    seconds = typical_s(run, device, ROUNDS)
    optimizer = build_optimizer(vlm, stage)
    learning = sum(weight.numel() for weight in vlm.parameters() if weight.requires_grad)
    optimizer.step()  # makes its state
    return seconds, typical_s(lambda: optimizer.step(), device, ROUNDS) / learning
