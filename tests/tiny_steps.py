"""Steps of training on samples made up from numbers, the same for one process and for many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from seetell.encode.sample import Sample, pack
from seetell.model.computing import set_computing
from seetell.model.last_layer import prune
from seetell.train.bins import share_out
from seetell.train.loop import Learner, StepReport, train_step
from seetell.train.optimizer import build_optimizer, choose_what_learns
from seetell.train.pictures import MicroBatch
from seetell.train.ranks import Ranks
from seetell.train.recipe import Data, Stage
from seetell.train.sharding import Shards, is_sharded
from seetell.train.start import learned_weights
from tests.tiny_models import IMAGE_ID, SLOTS, tiny_pixels, tiny_vlm

# AdamW divides a gradient by its own size plus eps. With the default of 1e-8, a weight whose gradient is itself near
# rounding (1e-6 of its matrix's largest) moves by as much as any other, in a direction that rounding decides.
EPS = 1e-3
STAGE = Stage(data=(Data("unused"),), lr={"connector": 1e-2, "language": 1e-3}, samples_per_step=6, eps=EPS)
DEAD = Sample("", torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.bool))


def made_up_samples(count: int, seed: int = 0, images: tuple[int, ...] = (1, 0, 2)) -> list[Sample]:
    """Documents of unlike lengths, with one picture, none, or two, and 1 to 9 supervised tokens at the end."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for i in range(count):
        shown, words, supervised = images[i % len(images)], 12 + 3 * i, 1 + (4 * i) % 9
        text = torch.randint(3, 100, (words,), generator=generator)
        ids = torch.cat([text[:1], torch.full((shown * SLOTS,), IMAGE_ID), text[1:]])
        mask = torch.zeros(len(ids), dtype=torch.bool)
        mask[-supervised:] = True
        made.append(Sample(f"s{i}", ids, mask, ("picture",) * shown))  # type: ignore[arg-type]
    return made


def micro_batch(some: list[Sample]) -> MicroBatch:
    pixels = [tiny_pixels(1, seed=97 * int(sample.id[1:]) + j)[0] for sample in some for j in range(len(sample.images))]
    return MicroBatch(pack(some or [DEAD], pixels))


@dataclass(frozen=True)
class Case:
    """How a model is trained for a few steps."""

    sharding: Literal["replicate", "shard"]
    tied: bool = False
    learns: tuple[str, ...] = ("connector", "language")
    nodes: int = 1
    checkpointing: Literal["off", "full"] = "off"
    roomy: bool = True

    @property
    def stage(self) -> Stage:
        return replace(STAGE, lr={name: STAGE.lr[name] for name in self.learns}, sharding=self.sharding)


def learner_of(case: Case, ranks: Ranks) -> Learner:
    model = tiny_vlm(tied=case.tied)
    choose_what_learns(model, case.stage)
    prune(model.language)
    set_computing(model.language, case.checkpointing)
    shards = Shards(model, ranks, torch.float32, roomy=case.roomy) if is_sharded(case.stage, ranks) else None
    return Learner(model, build_optimizer(model, case.stage), case.stage, torch.float32, ranks, shards=shards)


def shared_steps(count: int) -> list[list[list[list[Sample]]]]:
    """[step][rank][micro-batch][sample]: balanced; all but one rank have only text; all but one have nothing."""
    mixed, text = made_up_samples(7), made_up_samples(2 * count, seed=1, images=(0,))
    shares = share_out([len(sample) for sample in mixed], count, 160)
    balanced = [[[mixed[i] for i in micro] for micro in rank] for rank in shares]
    seeing = made_up_samples(4, seed=2, images=(1, 2))
    only_text = [[seeing[:2], seeing[2:]], *([[text[2 * r]], [text[2 * r + 1]]] for r in range(1, count))]
    one = [[seeing[1:3]], *([[]] for _ in range(1, count))]
    return [balanced, only_text, one]


def trained(
    ranks: Ranks, case: Case, count: int
) -> tuple[list[StepReport], list[dict[str, Tensor]], dict[str, Tensor]]:
    """Trains on those steps of `count` ranks, or on all their samples in one process: the reports, the gradients of
    each step, and the main rank's weights at the end."""
    ranks = replace(ranks, nodes=case.nodes)
    learner = learner_of(case, ranks)
    reports, gradients = [], list[dict[str, Tensor]]()

    def keep_gradients(*_: object) -> None:
        named = ((name, weight.grad) for name, weight in learner.model.named_parameters() if weight.grad is not None)
        whole = ((name, grad.full_tensor() if isinstance(grad, DTensor) else grad) for name, grad in named)
        gradients.append({name: grad.clone() for name, grad in whole})

    learner.optimizer.register_step_pre_hook(keep_gradients)
    for step in shared_steps(count):
        mine = step[ranks.rank] if ranks.count > 1 else [micro for rank in step for micro in rank if micro]
        reports.append(train_step(learner, [micro_batch(micro) for micro in mine]))
    if learner.shards:
        assert any(isinstance(weight, DTensor) for weight in learner.model.parameters())
    else:
        total = float(torch.cat([weight.detach().flatten() for weight in learner.model.parameters()]).double().sum())
        assert len(set(ranks.gather(total))) == 1, "the replicas drift apart"
    return reports, gradients, learned_weights(learner.model, ranks)
