"""Is what was trained what runs? Logits while training against those of the saved and reloaded model.

Each way of training takes a few steps, is saved, and is read again. Its logits over one long document are compared with
those of the saved weights in float32 on the host. Two distances: of the model as it trains, and of the reloaded
model in bfloat16, which is what rounding alone costs. The first must not be far larger than the second: rotary
frequencies cast to bfloat16 made it many times larger at 2,000 positions. Attention is made sharp (queries and keys
are scaled up), or positions would hardly count in random weights.

Before that, in bfloat16 and float32: packed documents against one at a time, and prefill with decoding against one
forward.

Shapes  T tokens of the document, V vocabulary.
"""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_parts.notes import Notes, Place
from benchmarks.systems.ours import make_stage
from benchmarks.systems.sizes import SIZES, Size, as_vlm, build_llava
from seetell.encode.sample import Sample, pack
from seetell.model.adapter import load_any, save_adapter
from seetell.model.cache import KeyValueCache
from seetell.model.vlm import VLM
from seetell.model.weights import load_model, save_model
from seetell.train.computing import arrange, autocast, choose_computing
from seetell.train.loop import Learner, train_step
from seetell.train.optimizer import build_optimizer, set_lr
from seetell.train.pictures import MicroBatch
from seetell.train.ranks import Ranks
from seetell.train.recipe import Lora, Stage
from seetell.train.start import learned_weights, ready_model, type_of_learning, with_learned

WAYS = ("lora", "adamw-bf16", "adamw-8bit", "adamw")
TOKENS = 2000
SPREAD = 1.5  # of what softmax sees: then bfloat16 frequencies put late logits many times as far off as rounding does
LATE = slice(-500, None)
INITIAL = 0.02  # the standard deviation that transformers draws weights with
STEPS, RATE = 3, 1e-4
WORSE_AT_MOST = 2.0  # times what rounding costs
EXACT = 1e-3  # in float32, by the spread of the logits; products of a GPU's convolutions are TF32
REAL = Size("llama", 6, 1024, 8, 4, 2816, 4000, 3, 192, 3, 64, 8, (4, 4))


def run(place: Place, notes: Notes) -> None:
    size, tokens = SIZES["mini"] if place.tiny else REAL, TOKENS
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        vlm = fresh(size)
        save_model(vlm, base)
        for kind in (torch.bfloat16, torch.float32):
            name = str(kind).removeprefix("torch.")
            notes.put(**{name: alike(load_model(base, kind, place.device), vlm, size, tokens, kind, notes)})
        for way in WAYS:
            if way == "lora" and importlib.util.find_spec("peft") is None:
                notes.skip("lora: peft is not installed")
                continue
            notes.put(**{way: trained_and_reloaded(way, size, tokens, base, Path(folder) / way, place, notes)})


def fresh(size: Size) -> VLM:
    """Random weights in float32 on the host, whose attention looks at some places more than at others."""
    vlm = as_vlm(build_llava(size, torch.device("cpu"), torch.float32, 2), size)
    sharper = (SPREAD / (INITIAL**2 * size.width)) ** 0.5
    with torch.no_grad():
        for name, weight in vlm.language.named_parameters():
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                weight.mul_(sharper)
    return vlm.eval()


def stage_of(way: str) -> Stage:
    stage = replace(make_stage(2, compile="off", checkpointing="off", precision="bfloat16"), samples_per_step=1)
    stage = replace(stage, lr=dict.fromkeys(stage.lr, RATE))
    if way == "lora":
        return replace(stage, lora=Lora(rank=16, alpha=32, dropout=0.0))
    return replace(stage, optimizer=way)


def trained_and_reloaded(
    way: str, size: Size, tokens: int, base: Path, out: Path, place: Place, notes: Notes
) -> dict[str, object]:
    """Trains, saves, reads again; how far both are from the saved weights in float32 on the host."""
    stage = stage_of(way)
    vlm = load_model(base)
    arrange(vlm, choose_computing(stage, vlm, place.device), place.device)
    vlm = ready_model(vlm, stage, torch.bfloat16, 0, place.device)
    learner = Learner(
        vlm.train(), build_optimizer(vlm, stage), stage, torch.bfloat16, Ranks(place.device)
    )  # one process
    micro_batches = [MicroBatch(one) for one in batches(size, tokens)]
    for step in range(STEPS):
        set_lr(learner.optimizer, stage, step, STEPS)
        report = train_step(learner, micro_batches)
        notes.check(report.taken, f"{way}: step {step} was not taken, its loss is {report.loss}")
    document = a_document(size, tokens)
    training = logits(vlm, document, torch.bfloat16)
    kinds = {str(buffer.dtype).removeprefix("torch.") for name, buffer in vlm.named_buffers() if "inv_freq" in name}
    notes.check(kinds == {"float32"}, f"{way}: rotary frequencies are {', '.join(sorted(kinds))} while training")
    out.mkdir()
    if stage.lora is None:
        learned = learned_weights(vlm, learner.ranks)
        save_model(with_learned(load_model(base), learned, type_of_learning(stage)), out)
    else:
        save_adapter(vlm, out, base, stage.lora.bits)
    truth = logits(load_any(out, torch.float32), document, torch.float32)
    reloaded = logits(load_any(out, torch.bfloat16, place.device), document, torch.bfloat16)
    return compared(way, training, reloaded, truth, notes)


def compared(way: str, training: Tensor, reloaded: Tensor, truth: Tensor, notes: Notes) -> dict[str, object]:
    """Three times logits [T, V] -> figures; training may be as far from the truth as rounding puts the reloaded."""
    ours, rounding = mean_apart(training[LATE], truth[LATE]), mean_apart(reloaded[LATE], truth[LATE])
    sooner = slice(0, 64)
    notes.check(
        ours <= WORSE_AT_MOST * rounding,
        f"{way}: logits while training are {ours:.4f} from the saved weights', and rounding costs {rounding:.4f}",
    )
    return {
        "training_apart_late": ours,
        "rounding_apart_late": rounding,
        "training_apart_first_64": mean_apart(training[sooner], truth[sooner]),
        "rounding_apart_first_64": mean_apart(reloaded[sooner], truth[sooner]),
        "same_greedy_word": float((training.argmax(1) == reloaded.argmax(1)).float().mean()),
    }


def mean_apart(one: Tensor, other: Tensor) -> float:
    """The mean distance, by the spread of the logits."""
    return float((one - other).abs().mean() / other.std())


def a_document(size: Size, tokens: int, seed: int = 0) -> Sample:
    """Random words with one picture near the beginning; the last half is supervised."""
    chance = torch.Generator().manual_seed(seed)
    words = torch.randint(3, size.image_id, (tokens - size.slots,), generator=chance)
    ids = torch.cat([words[:3], torch.full((size.slots,), size.image_id), words[3:]])
    supervised = torch.zeros(tokens, dtype=torch.bool)
    supervised[tokens // 2 :] = True
    return Sample(f"document {seed}", ids, supervised, ("picture",))  # type: ignore[arg-type]


def pixels(size: Size, seed: int = 0) -> Tensor:
    """uint8 [3, H, W]"""
    chance = torch.Generator().manual_seed(1000 + seed)
    return torch.randint(0, 256, (3, size.side_px, size.side_px), dtype=torch.uint8, generator=chance)


def batches(size: Size, tokens: int) -> list[Any]:
    """Two micro-batches: a long document, and several short ones of unlike lengths."""
    short = [a_document(size, size.slots + 20 + 13 * i, seed=i + 1) for i in range(4)]
    return [
        pack(some, [pixels(size, i) for i in range(len(some))], image_id=size.image_id)
        for some in ([a_document(size, tokens, seed=9)], short)
    ]


@torch.no_grad()
def logits(vlm: VLM, document: Sample, precision: torch.dtype) -> Tensor:
    """[T, V] float32 on the host"""
    with autocast(vlm.device, precision):
        return vlm.logits(hidden(vlm, [document])).float().cpu()


def hidden(vlm: VLM, documents: list[Sample]) -> Tensor:
    """[T, D] of documents packed end to end; the picture of document i is number i."""
    ids, positions, lengths = ends(documents, vlm.device)
    pictures = torch.stack([torch.as_tensor(pixels_of(vlm, one)) for one in documents]).to(vlm.device)
    return vlm(ids, positions, lengths, pictures)


def pixels_of(vlm: VLM, document: Sample) -> Tensor:
    chance = torch.Generator().manual_seed(1000 + len(document))
    return torch.randint(0, 256, (3, vlm.side_px, vlm.side_px), dtype=torch.uint8, generator=chance)


def ends(documents: list[Sample], device: torch.device) -> tuple[Tensor, Tensor, list[int]]:
    """ids [T], positions [T] and lengths."""
    lengths = [len(one) for one in documents]
    ids = torch.cat([one.ids for one in documents]).to(device)
    return ids, torch.cat([torch.arange(length) for length in lengths]).to(device), lengths


@torch.no_grad()
def alike(vlm: VLM, on_host: VLM, size: Size, tokens: int, kind: torch.dtype, notes: Notes) -> dict[str, float]:
    """How far packed is from one at a time, decoding from one forward, and this device from the host in float32."""
    documents = [a_document(size, n, seed=n) for n in (tokens // 2, size.slots + 7, tokens // 3)]
    together = vlm.logits(hidden(vlm, documents)).float().cpu()
    alone = torch.cat([vlm.logits(hidden(vlm, [one])).float().cpu() for one in documents])
    host = on_host.logits(hidden(on_host, documents)).float()
    found = {
        "device_from_host": mean_apart(together, host),
        "packed_from_alone": mean_apart(together, alone),
        "decoded_from_forward": mean_apart(
            decoded(vlm, documents[0], 8), alone[len(documents[0]) - 9 : len(documents[0])]
        ),
    }
    bound = EXACT if kind == torch.float32 else WORSE_AT_MOST * found["device_from_host"]
    for name, distance in found.items():
        notes.check(distance <= bound, f"{kind}: {name.replace('_', ' ')} is {distance:.1e}, more than {bound:.1e}")
    return found


def decoded(vlm: VLM, document: Sample, count: int) -> Tensor:
    """[count + 1, V]: the prompt's last logits and those of `count` tokens given one by one."""
    cache = KeyValueCache(1, len(document))
    first, rest = document.ids[:-count].to(vlm.device), document.ids[-count:].to(vlm.device)
    features = vlm.see(pixels_of(vlm, document)[None].to(vlm.device))
    positions = torch.arange(len(first), device=vlm.device)
    rows = [vlm.prefill(first, positions, [len(first)], features, cache, [0])]
    rows += [vlm.decode(rest[i : i + 1], cache, [0]) for i in range(count)]
    return vlm.logits(torch.cat(rows)).float().cpu()
