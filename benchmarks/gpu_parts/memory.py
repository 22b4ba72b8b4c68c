"""The memory of a step, predicted and measured: LoRA, all weights, and shards that stay whole between passes.

Each way takes two steps of two full micro-batches, so that gradients add up and the optimizer's state is there.
Measured is the peak of what torch allocated; predicted is what `seetell plan` would say of the same micro-batch. Shards
of one rank are cut and gathered as those of many are, with everything on this device.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from benchmarks.gpu_parts.notes import Notes, Place
from benchmarks.systems.measure import forget_peak, peak_memory
from benchmarks.systems.ours import make_stage
from benchmarks.systems.sizes import SIZES, Size, as_vlm, build_llava
from seetell.encode.sample import Batch, Sample, pack
from seetell.model.vlm import VLM
from seetell.train.computing import arrange, choose_computing
from seetell.train.estimate import memory, rehearsal_of, setting_of
from seetell.train.loop import Learner, train_step
from seetell.train.optimizer import build_optimizer, set_lr
from seetell.train.pictures import MicroBatch
from seetell.train.ranks import Ranks
from seetell.train.recipe import Lora, Stage
from seetell.train.shapes import shapes_of
from seetell.train.sharding import Shards
from seetell.train.start import ready_model, stage_types
from seetell.train.work import Load

WITHIN = 0.1  # of what was measured
DOCUMENTS, TOKENS = 4, 2048  # of a micro-batch
WAYS = ("lora", "all weights", "shards kept whole")


def run(place: Place, notes: Notes) -> None:
    for way in WAYS:
        if way == "lora" and importlib.util.find_spec("peft") is None:
            notes.skip("lora: peft is not installed")
        elif way == "shards kept whole" and not distributed.is_available():
            notes.skip(f"{way}: this torch has no torch.distributed")
        else:
            notes.put(**{way: measured(way, place, notes)})
            if place.on_gpu:
                torch.cuda.empty_cache()


def measured(way: str, place: Place, notes: Notes) -> dict[str, Any]:
    size = SIZES["mini"] if place.tiny else SIZES["1.5b" if way == "lora" else "0.5b"]
    tokens = 160 if place.tiny else TOKENS
    stage = make_stage(2, compile="off", micro_tokens=DOCUMENTS * tokens, max_tokens=tokens)
    if way == "lora":
        stage = replace(stage, lora=Lora(rank=128, alpha=256, dropout=0.05))
    # Drawn on the device, which is quick, and then on the host, where a run loads its model and tries the last layer.
    drawn: Any = build_llava(size, place.device, torch.float32, 2)
    vlm = as_vlm(drawn.to("cpu"), size)
    del drawn
    sharded = way == "shards kept whole"
    chosen = choose_computing(stage, vlm, place.device)
    batch = full_batch(size, tokens)
    load = Load(tokens=len(batch.ids), slots=len(batch.ids), targets=len(batch.targets), pictures=len(batch.pixels))
    rehearsal = rehearsal_of(stage, vlm, chosen["precision"], place.on_gpu)
    setting = setting_of(stage, chosen["precision"], place.on_gpu, chosen["checkpointing"])
    predicted = memory(shapes_of(vlm), rehearsal, load, replace(setting, sharded=sharded, roomy=sharded))
    with group(place) if sharded else nothing():
        learner = learner_of(vlm, stage, chosen, place, sharded)
        forget_peak(place.device)
        for step in range(2):
            set_lr(learner.optimizer, stage, step, 2)
            train_step(learner, [MicroBatch(batch), MicroBatch(batch)])
    peak = peak_memory(place.device)
    figures = {
        "measured_gib": peak / 2**30,
        "predicted_gib": predicted.peak / 2**30,
        "predicted_by_measured": predicted.peak / peak if peak else 0.0,
        "checkpointing": chosen["checkpointing"],
        **{f"{name}_gib": value / 2**30 for name, value in predicted.parts().items()},
    }
    if place.on_gpu:  # a process on a host holds more than its tensors
        off = predicted.peak / peak - 1
        notes.check(abs(off) <= WITHIN, f"{way}: the estimate is {off:+.0%} off")
    return figures


def learner_of(vlm: VLM, stage: Stage, chosen: dict[str, str], place: Place, sharded: bool) -> Learner:
    """As a run makes it, of one rank."""
    ranks = Ranks(place.device)
    precision = torch.bfloat16 if chosen["precision"] == "bfloat16" else torch.float32
    arrange(vlm, chosen, place.device)
    vlm = ready_model(vlm, stage, precision, 0, place.device, sharded)
    shards = Shards(vlm, ranks, precision, stage_types(vlm, stage, precision), roomy=True) if sharded else None
    return Learner(vlm.train(), build_optimizer(vlm, stage), stage, precision, ranks, shards=shards)


def full_batch(size: Size, tokens: int) -> Batch:
    """Documents of `tokens`, each with a picture, half of each supervised."""
    chance = torch.Generator().manual_seed(0)
    samples: list[Sample] = []
    for number in range(DOCUMENTS):
        words = torch.randint(3, size.image_id, (tokens - size.slots,), generator=chance)
        ids = torch.cat([words[:3], torch.full((size.slots,), size.image_id), words[3:]])
        supervised = torch.zeros(tokens, dtype=torch.bool)
        supervised[tokens // 2 :] = True
        samples.append(Sample(str(number), ids, supervised, ("picture",)))  # type: ignore[arg-type]
    shape = (3, size.side_px, size.side_px)
    pictures = [torch.randint(0, 256, shape, dtype=torch.uint8, generator=chance) for _ in samples]
    return pack(samples, pictures, image_id=size.image_id)


@contextmanager
def group(place: Place) -> Iterator[None]:
    """One rank that is a group, by NCCL on a GPU."""
    backend = "nccl" if place.on_gpu else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{Path(folder) / 'meeting'}"
        distributed.init_process_group(backend, init_method=meeting, rank=0, world_size=1)
        try:
            yield
        finally:
            distributed.destroy_process_group()


@contextmanager
def nothing() -> Iterator[None]:
    yield
