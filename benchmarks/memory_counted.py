"""Memory as `train/estimate.py` foretells it against bytes that are counted: storages alive in a real step.

    python benchmarks/memory_counted.py [--json OUT] [--only WORD]

Storages are counted as `train/storages.py` does it, in steps that really run: what FSDP takes and frees by itself is
seen too. What a step holds at its fullest is compared, in one process and in two that gloo joins,
for every way a stage can be computed. Nothing of the C library's or an allocator's behaviour is in it, so there is no
chance in the numbers: they are the same on every machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from seetell.encode.sample import Sample, pack
from seetell.model.connector import build_connector
from seetell.model.vlm import VLM
from seetell.train.computing import arrange
from seetell.train.estimate import Memory, memory, rehearsal_of, setting_of
from seetell.train.loop import Learner, train_step
from seetell.train.optimizer import build_optimizer
from seetell.train.pictures import MicroBatch
from seetell.train.ranks import Ranks
from seetell.train.recipe import Data, Lora, Stage
from seetell.train.shapes import shapes_of
from seetell.train.sharding import Shards, is_sharded
from seetell.train.start import ready_model, stage_types
from seetell.train.storages import Storages
from seetell.train.work import Load
from tests.tiny_ranks import on_ranks

IMAGE_ID, SIDE_PX, PATCH_PX, SLOTS = 4095, 112, 14, 64
WITHIN = 0.1  # of the counted bytes


@dataclass(frozen=True)
class Way:
    """A way to compute a stage, and how many documents of how many tokens a micro-batch has."""

    name: str
    stage: Stage
    ranks: int = 1
    roomy: bool = False
    checkpointing: str = "off"
    passes: int = 1


STAGE = Stage(data=(Data("unused"),), lr={"connector": 1e-4, "language": 1e-4}, samples_per_step=8, sharding="auto")
LORA = Lora(rank=16, alpha=32, dropout=0.05)


def ways() -> list[Way]:
    """All that is compared."""
    found: list[Way] = []
    for precision in ("float32", "bfloat16"):
        plain = replace(STAGE, precision=precision)
        align, lora = replace(plain, lr={"connector": 1e-3}), replace(plain, lora=LORA)
        still = replace(plain, lora=replace(LORA, dropout=0.0))
        found += [Way(f"align {precision}", align), Way(f"align {precision}", align, passes=2)]
        for checkpointing in ("off", "selective", "full"):
            found += [
                Way(f"full {precision}", plain, checkpointing=checkpointing),
                Way(f"full {precision}", plain, checkpointing=checkpointing, passes=2),
                Way(f"lora, dropout, {precision}", lora, checkpointing=checkpointing),
                Way(f"lora {precision}", still, checkpointing=checkpointing),
            ]
        for passes in (1, 2):
            found.append(Way(f"full {precision}", replace(plain, sharding="replicate"), 2, passes=passes))
            for roomy in (False, True):
                found.append(Way(f"full {precision}", plain, 2, roomy, passes=passes))
        found += [Way(f"full {precision}", plain, 2, roomy, "full", 2) for roomy in (False, True)]
        found += [Way(f"lora, dropout, {precision}", lora, 2)]
        found += [Way(f"align {precision}", replace(align, sharding="shard"), 2, roomy) for roomy in (False, True)]
    for optimizer in ("adamw-bf16", "adamw-8bit"):
        lean = replace(STAGE, optimizer=optimizer, precision="auto")
        found += [Way(f"{optimizer}", lean, checkpointing=choice) for choice in ("off", "full")]
        found += [Way(f"{optimizer}", lean, 2)]
        if optimizer == "adamw-bf16":
            found += [Way(f"{optimizer}", lean, 2, True, passes=2)]
    return found


def small_vlm(layers: int = 6) -> VLM:
    """A random tower, 192 wide, and a random decoder, 256 wide: small, and large beside what is not counted."""
    torch.manual_seed(0)
    tower = CLIPVisionModel(CLIPVisionConfig(
        hidden_size=192, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4,
        image_size=SIDE_PX, patch_size=PATCH_PX,
    ))  # fmt: skip
    decoder = LlamaForCausalLM(LlamaConfig(
        vocab_size=4096, hidden_size=256, intermediate_size=688, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    ))  # fmt: skip
    constants: dict[str, Any] = {"pixel_mean": (0.5, 0.5, 0.5), "pixel_std": (0.25, 0.25, 0.25)}
    return VLM(tower, build_connector("mlp2", 192, 256), decoder, image_id=IMAGE_ID, **constants).eval()


def micro_batch(documents: int, length: int, targets: int) -> tuple[MicroBatch, Load]:
    """Documents about one picture each, the last tokens of which are supervised."""
    samples: list[Sample] = []
    for number in range(documents):
        ids = torch.full((length,), 7)
        ids[1 : 1 + SLOTS] = IMAGE_ID
        supervised = torch.arange(length) >= length - targets
        samples.append(Sample(str(number), ids, supervised, ("picture",)))  # type: ignore[arg-type]
    pixels = list(torch.zeros(documents, 3, SIDE_PX, SIDE_PX, dtype=torch.uint8))
    batch = pack(samples, pixels, image_id=IMAGE_ID)
    load = Load(tokens=documents * length, slots=len(batch.ids), targets=documents * targets, pictures=documents)
    return MicroBatch(batch), replace(load, seen=documents)


def counted(ranks: Ranks, way: Way, layers: int = 6, documents: int = 8) -> tuple[dict[str, int], Memory]:
    """What a step of that way holds at its fullest on this rank, by part, and what was foretold."""
    vlm, stage = small_vlm(layers), way.stage
    half = stage.precision == "bfloat16" or stage.optimizer != "adamw"
    precision = torch.bfloat16 if half else torch.float32
    chosen = {"precision": "bfloat16" if half else "float32", "checkpointing": way.checkpointing, "compile": "off"}
    shapes = shapes_of(vlm)
    sharded = is_sharded(stage, ranks)
    arrange(vlm, chosen, ranks.device)
    ready_model(vlm, stage, precision, 0, ranks.device, sharded)
    types = stage_types(vlm, stage, precision)
    shards = Shards(vlm, ranks, precision, types, way.roomy) if sharded else None
    optimizer = build_optimizer(vlm, stage)
    learner = Learner(vlm, optimizer, stage, precision, ranks, shards=shards)
    vlm.train()
    micro, load = micro_batch(documents, 256, 96)
    train_step(learner, [micro] * way.passes)  # makes the optimizer's state
    gc.collect()
    storages = Storages(remembers=True)
    storages.add([list(vlm.parameters()), list(vlm.buffers()), list(optimizer.state.values()), micro.batch.pixels])
    gradients: list[Tensor] = []
    handle = optimizer.register_step_pre_hook(
        lambda *_: gradients.extend(p.grad for p in vlm.parameters() if p.grad is not None)
    )
    with storages:
        train_step(learner, [micro] * way.passes)
    handle.remove()
    parts = {"counted": storages.peak}
    parts["weights"] = storages.held([list(vlm.parameters()), list(vlm.buffers())])
    parts["optimizer"] = storages.held(list(optimizer.state.values()))
    parts["gradients"] = storages.held(gradients)
    parts["rest"] = storages.rest()
    setting = setting_of(stage, chosen["precision"], False, way.checkpointing)
    setting = replace(setting, ranks=ranks.count, sharded=sharded, roomy=way.roomy, accumulates=way.passes > 1)
    rehearsal = rehearsal_of(stage, vlm, chosen["precision"], False)
    return parts, memory(shapes, rehearsal, load, setting)


def compared(way: Way) -> dict[str, Any]:
    """A row of the table, in MiB."""
    if way.ranks == 1:
        parts, foretold = counted(Ranks(torch.device("cpu")), way)
    else:
        parts, foretold = on_ranks(way.ranks, counted, way)[0]
    cut = "roomy" if way.roomy else "shards" if way.ranks > 1 and way.stage.shardings[0] else "whole"
    about = {"stage": way.name, "ranks": way.ranks, "model": cut, "recomputed": way.checkpointing, "passes": way.passes}
    sizes = {"predicted": foretold.counted, **parts}
    return about | {what: round(size / 2**20, 1) for what, size in sizes.items()} | {
        "off": round(foretold.counted / parts["counted"] - 1, 4)
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="stages whose name begins so")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for way in ways():
        if way.name.startswith(options.only):
            rows.append(compared(way))
            if len(rows) == 1:
                print(" ".join(f"{what:>{_width(what)}}" for what in rows[0]))
            print(" ".join(f"{value:>{_width(what)}}" for what, value in rows[-1].items()), flush=True)
    beyond = [row for row in rows if abs(row["off"]) > WITHIN]
    print(f"{len(beyond)} of {len(rows)} are off by more than {WITHIN:.0%}.")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _width(what: str) -> int:
    return 26 if what == "stage" else 10


if __name__ == "__main__":
    main()
