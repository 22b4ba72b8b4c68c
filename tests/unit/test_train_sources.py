"""Losses told apart by source: the parts add up to the whole, and sources have the names one would give them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seetell.train.loop import Learner, train_step
from seetell.train.loss import sum_by_source
from seetell.train.optimizer import build_optimizer, choose_what_learns
from seetell.train.pictures import _micro_batch
from seetell.train.ranks import Ranks
from seetell.train.recipe import Data, Stage
from seetell.train.sources import FOLDERS_AT_MOST, SourceIndex
from seetell.types import Image
from tests.tiny_models import tiny_pixels, tiny_vlm
from tests.unit.test_train_step import samples

NAMES = ("coco", "gqa", "text only")


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 20, width=32)), max_size=60))
def test_what_sources_lose_is_what_is_lost(tokens: list[tuple[int, float]]) -> None:
    numbers = torch.tensor([loss for _, loss in tokens], dtype=torch.float64)
    sources = torch.tensor([source for source, _ in tokens], dtype=torch.int64)
    sums = sum_by_source(numbers, sources, 5)
    assert sums.tolist() == pytest.approx([sum(loss for one, loss in tokens if one == of) for of in range(5)])
    assert float(sums.sum()) == pytest.approx(float(numbers.sum()))
    assert sum_by_source(numbers, None, 5).tolist() == [float(numbers.sum())]


def test_a_source_that_is_not_finite_does_not_hide_the_others() -> None:
    sums = sum_by_source(torch.tensor([1.0, float("nan"), 2.0]), torch.tensor([0, 1, 0]), 2)
    assert sums[0] == 3.0
    assert sums[1].isnan()


@given(st.lists(st.integers(0, 2), min_size=5, max_size=5), st.integers(1, 4))
def test_a_step_tells_sources_apart_and_moves_as_if_it_did_not(of: list[int], cut: int) -> None:
    some = [replace(sample, source=source) for sample, source in zip(samples(5), of, strict=True)]
    pictures = [[tiny_pixels(1, seed=i)[0]] * len(sample.images) for i, sample in enumerate(some)]
    parts = [(some[:cut], pictures[:cut]), (some[cut:], pictures[cut:]), ([], [])]
    micro_batches = [_micro_batch(kept, [one for these in theirs for one in these], False) for kept, theirs in parts]
    stage = Stage(data=(Data("unused"),), lr={"connector": 1e-2}, samples_per_step=5)
    reports, weights = [], []
    for names in (NAMES, ("all",)):
        model = tiny_vlm()
        choose_what_learns(model, stage)
        ranks = Ranks(torch.device("cpu"))
        learner = Learner(model, build_optimizer(model, stage), stage, torch.float32, ranks, names)
        reports.append(train_step(learner, micro_batches))
        weights.append(model.connector.state_dict())
    told, whole = reports
    counts = {name: sum(int(s.supervised.sum()) for s in some if NAMES[s.source] == name) for name in NAMES}
    assert {name: count for name, (_, count) in told.by_source.items()} == {n: c for n, c in counts.items() if c}
    assert sum(loss * count for loss, count in told.by_source.values()) == pytest.approx(told.loss * told.supervised)
    assert (told.loss, told.supervised) == (pytest.approx(whole.loss), whole.supervised)
    assert whole.by_source == {}
    assert all(torch.equal(a, b) for a, b in zip(weights[0].values(), weights[1].values(), strict=True))


def named(rows: list[tuple[Data, str]]) -> list[str]:
    index = SourceIndex()
    for data, picture in rows:
        index.add(data, (Image(picture),) if picture else ())
    names, numbers = index.close()
    return [names[number] for number in numbers]


def test_files_and_a_few_folders_are_sources() -> None:
    mix, mine = Data("data/mix665k.json", images="pictures/"), Data("data/mine.json", images="mine")
    rows = [(mix, "pictures/coco/train2017/1.jpg"), (mix, "pictures/gqa/2.jpg"), (mix, ""), (mine, "mine/3.jpg")]
    assert named(rows) == ["mix665k/coco", "mix665k/gqa", "mix665k/text only", "mine"]


def test_many_folders_are_one_source() -> None:
    data = Data("blip_558k.json", images="pictures")
    assert set(named([(data, f"pictures/{i:05}/1.jpg") for i in range(FOLDERS_AT_MOST + 1)])) == {"blip_558k"}
    assert set(named([(data, f"pictures/{i:05}/1.jpg") for i in range(1)])) == {"blip_558k"}


def test_files_of_one_name_are_told_apart_and_one_named_twice_is_one() -> None:
    rows = [(Data("a/train.json"), "x.jpg"), (Data("b/train.json"), "x.jpg"), (Data("a/train.json", times=2), "y.jpg")]
    assert named(rows) == ["a/train.json", "b/train.json", "a/train.json"]
