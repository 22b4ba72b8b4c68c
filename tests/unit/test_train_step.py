"""One step: accumulation is one big batch, what is not finite moves nothing, the schedule is the papers'."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from seetell.encode.sample import Sample, pack
from seetell.model.vlm import VLM
from seetell.train.loop import Learner, StepReport, train_step
from seetell.train.loss import supervised_loss
from seetell.train.optimizer import build_optimizer, choose_what_learns, lr_factor, set_lr
from seetell.train.pictures import MicroBatch
from seetell.train.ranks import Ranks
from seetell.train.recipe import Data, Stage
from tests.tiny_models import IMAGE_ID, SLOTS, tiny_pixels, tiny_vlm

STAGE = Stage(data=(Data("unused"),), lr={"connector": 1e-2, "language": 1e-3}, samples_per_step=6)


def samples(count: int, seed: int = 0) -> list[Sample]:
    """Documents of unlike lengths, with one picture, none, or two, and 1 to 9 supervised tokens at the end."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for i in range(count):
        images, words, supervised = (1, 0, 2)[i % 3], 12 + 3 * i, 1 + (4 * i) % 9
        text = torch.randint(3, 100, (words,), generator=generator)
        ids = torch.cat([text[:1], torch.full((images * SLOTS,), IMAGE_ID), text[1:]])
        mask = torch.zeros(len(ids), dtype=torch.bool)
        mask[-supervised:] = True
        made.append(Sample(f"s{i}", ids, mask, ("picture",) * images))  # type: ignore[arg-type]
    return made


def micro_batch(some: list[Sample]) -> MicroBatch:
    pixels = [tiny_pixels(1, seed=97 * int(sample.id[1:]) + j)[0] for sample in some for j in range(len(sample.images))]
    return MicroBatch(pack(some, pixels))


def learner(stage: Stage = STAGE) -> Learner:
    model = tiny_vlm()
    choose_what_learns(model, stage)
    return Learner(model, build_optimizer(model, stage), stage, torch.float32, Ranks(torch.device("cpu")))


def gradients(model: VLM, micro_batches: list[MicroBatch]) -> dict[str, torch.Tensor]:
    count = sum(len(micro.batch.targets) for micro in micro_batches)
    for micro in micro_batches:
        (supervised_loss(model, micro) / count).backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def test_accumulation_equals_one_big_batch() -> None:
    some = samples(6)
    model = learner().model
    whole = gradients(model, [micro_batch(some)])
    cut = gradients(model, [micro_batch(some[:1]), micro_batch(some[1:4]), micro_batch(some[4:])])
    assert whole.keys() == cut.keys()
    for name, gradient in whole.items():
        assert (gradient - cut[name]).abs().max() <= 1e-5 * gradient.abs().max(), name


def test_loss_is_the_mean_over_supervised_tokens_alone() -> None:
    some = samples(3)
    model = learner().model
    total, count = 0.0, 0
    for sample in some:
        micro = micro_batch([sample])
        batch = micro.batch
        with torch.no_grad():
            hidden = model(batch.ids, batch.positions, batch.lengths, batch.pixels)
            log_p = model.logits(hidden).log_softmax(-1)
        for t in sample.supervised.nonzero().flatten().tolist():
            total -= float(log_p[t - 1, sample.ids[t]])
            count += 1
    report = train_step(learner(), [micro_batch(some[:2]), micro_batch(some[2:])])
    assert report.supervised == count
    assert report.loss == pytest.approx(total / count, rel=1e-5)


def test_kept_features_give_the_same_step_as_pixels() -> None:
    some = samples(3)
    seen, kept = learner(), learner()
    micro = micro_batch(some)
    tower = kept.model.tower_features(micro.batch.pixels)
    one = train_step(seen, [micro])
    other = train_step(kept, [MicroBatch(pack(some, None), tower)])
    assert one == other
    for a, b in zip(seen.model.parameters(), kept.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_only_what_lr_names_learns() -> None:
    stage = replace(STAGE, lr={"connector": 1e-2})
    align = learner(stage)
    before = {name: p.clone() for name, p in align.model.named_parameters()}
    train_step(align, [micro_batch(samples(3))])
    moved = {name.split(".")[0] for name, p in align.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"connector"}


def test_a_step_that_is_not_finite_moves_nothing() -> None:
    broken = learner()
    with torch.no_grad():
        broken.model.connector.get_parameter("linear_1.bias")[0] = math.nan
    before = [p.clone() for p in broken.model.parameters()]
    report = train_step(broken, [micro_batch(samples(3))])
    assert not report.taken
    assert math.isnan(report.loss)
    assert all(torch.equal(a, b) or a.isnan().any() for a, b in zip(broken.model.parameters(), before, strict=True))
    assert not broken.optimizer.state
    assert all(p.grad is None for p in broken.model.parameters())


def test_a_step_without_labels_is_not_taken() -> None:
    """Adam would move by its momentum even without a gradient."""
    idle = learner()
    dead = Sample("", torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.bool))
    assert train_step(idle, [MicroBatch(pack([dead], []))]) == StepReport(0.0, 0.0, 0, taken=False)
    assert not idle.optimizer.state


def test_a_dead_micro_batch_changes_nothing() -> None:
    some = samples(3)
    dead = Sample("", torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.bool))
    one, other = learner(), learner()
    train_step(one, [micro_batch(some)])
    train_step(other, [micro_batch(some), MicroBatch(pack([dead], []))])
    for (name, a), b in zip(one.model.named_parameters(), other.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-7), name


def test_schedule() -> None:
    factors = [lr_factor(STAGE, step, 100) for step in range(100)]
    assert factors[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert factors[3] == 1.0
    assert factors[3:] == sorted(factors[3:], reverse=True)
    assert 0 < factors[-1] < 0.01
    assert [lr_factor(replace(STAGE, schedule="constant"), step, 100) for step in (0, 50, 99)] == [1 / 3, 1.0, 1.0]
    one = learner()
    assert set_lr(one.optimizer, STAGE, 0, 100) == pytest.approx({"connector": 1e-2 / 3, "language": 1e-3 / 3})


def test_weight_decay_spares_biases_and_norms() -> None:
    decaying = learner(replace(STAGE, weight_decay=0.1))
    for group in decaying.optimizer.param_groups:
        assert {p.ndim >= 2 for p in group["params"]} == {group["weight_decay"] > 0}
