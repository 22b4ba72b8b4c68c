"""What a GPU would make the host wait for, shown without one: a tensor on the meta device has no value to ask for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from seetell.encode.image import ImageProcessor
from seetell.encode.sample import pack
from seetell.model.computing import set_computing
from seetell.model.last_layer import prune
from seetell.model.vlm import VLM
from seetell.train.checkpoint import Keeper, load_checkpoint
from seetell.train.log import Progress
from seetell.train.loop import train_step
from seetell.train.loss import supervised_loss, token_losses
from seetell.train.optimizer import build_optimizer, choose_what_learns
from seetell.train.pictures import MicroBatch, feed
from seetell.train.ranks import Ranks
from seetell.train.recipe import Stage
from tests.tiny_models import IMAGE_ID, tiny_vlm
from tests.tiny_steps import DEAD, STAGE, Case, learner_of, made_up_samples, micro_batch
from tests.unit.test_train_pictures import plan_of, samples_of

META = torch.device("meta")


def carrying(count: int) -> MicroBatch:
    """As `feed` packs it: with the places of the image tokens."""
    plain = micro_batch(made_up_samples(count))
    image_rows = (plain.batch.ids == IMAGE_ID).nonzero().flatten()
    return replace(plain, batch=replace(plain.batch, image_rows=image_rows))


def ready(stage: Stage = STAGE) -> VLM:
    model = tiny_vlm()
    choose_what_learns(model, stage)
    assert prune(model.language) == ""
    return model


@pytest.mark.parametrize("checkpointing", ["off", "selective", "full"])
def test_a_pass_asks_the_device_for_nothing(checkpointing: str) -> None:
    model = ready().train()
    set_computing(model.language, checkpointing)
    model.to(META)
    supervised_loss(model, carrying(5).to(META)).backward()
    assert all(p.grad is not None for p in model.connector.parameters())


def test_a_pass_without_a_label_asks_for_nothing_either() -> None:
    model = ready().to(META)
    dead = pack([DEAD], [], image_id=IMAGE_ID)
    token_losses(model, MicroBatch(dead).to(META)).sum().backward()


def test_what_packing_carries_changes_no_number() -> None:
    model = ready()
    torch.testing.assert_close(
        token_losses(model, carrying(5)), token_losses(model, micro_batch(made_up_samples(5))), rtol=0, atol=0
    )


def test_batches_come_with_the_places_of_their_image_tokens() -> None:
    samples = replace(samples_of(4), image_id=7)  # sample i holds the ids 5 i to 5 i + 4
    batches = [
        micro.batch for step in feed(plan_of(4), samples, ImageProcessor(8), None, 0) for micro in step.micro_batches
    ]
    for batch in batches:
        assert batch.image_rows is not None
        assert batch.image_rows.tolist() == (batch.ids == 7).nonzero().flatten().tolist()
    assert any(len(batch.image_rows) for batch in batches if batch.image_rows is not None)


def test_embeddings_that_do_not_fill_the_places_are_still_refused() -> None:
    model, micro = ready(), carrying(3)
    broken = replace(micro.batch, pixels=micro.batch.pixels[:1])
    with pytest.raises(Exception, match="image tokens"):
        token_losses(model, MicroBatch(broken))


class _Asked(TorchDispatchMode):
    """Counts what needs a value on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "equal"):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def test_a_step_asks_as_often_whatever_the_number_of_its_passes() -> None:
    found = []
    for passes in (1, 4):
        learner = learner_of(Case("replicate"), Ranks(torch.device("cpu")))
        micros = [carrying(3) for _ in range(passes)]
        with _Asked() as asked:
            assert train_step(learner, micros).taken
        found.append(asked.counts)
    assert found[0] == found[1]
    assert not found[0]["nonzero"]


def test_a_resumed_lean_optimizer_counts_its_steps_on_the_host(tmp_path: Any) -> None:
    stage = replace(STAGE, optimizer="adamw-bf16")
    model = ready(stage).to(torch.bfloat16)
    optimizer = build_optimizer(model, stage)
    for p in model.parameters():
        p.grad = torch.ones_like(p) if p.requires_grad else None
    optimizer.step()
    ranks = Ranks(torch.device("cpu"))
    keeper = Keeper(tmp_path, model, optimizer, ranks)
    keeper.save(Progress(step=1))
    keeper.finish()
    resumed = ready(stage).to(torch.bfloat16).to(META)  # as good as another device: a number there cannot be read
    other = build_optimizer(resumed, stage)
    with torch.no_grad():
        assert load_checkpoint(tmp_path, resumed, other, ranks) is not None
    steps = [state["step"] for state in other.state.values()]
    assert steps
    assert all(step.device.type == "cpu" and int(step) == 1 for step in steps)
    assert all(state["exp_avg"].device.type == "meta" for state in other.state.values())
