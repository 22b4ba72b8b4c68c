"""Many processes learn what one learns: steps, whole runs, saves and failures, over gloo.

A process takes a second to start, so everything that two or four of them can show is shown in one start.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from seetell.files import read_jsonl
from seetell.model.vlm import VLM
from seetell.train.loop import StepReport
from seetell.train.ranks import Ranks
from seetell.train.recipe import Data, Model, Recipe, Stage
from seetell.train.run import train
from tests.tiny import tiny_data, tiny_parts
from tests.tiny_ranks import on_ranks
from tests.tiny_steps import Case, trained

CASES = {
    2: [
        Case("replicate"),
        Case("replicate", learns=("connector",)),
        Case("shard"),
        Case("shard", tied=True, checkpointing="full"),
        Case("shard", learns=("connector",)),
    ],
    4: [Case("replicate", tied=True), Case("shard"), Case("shard", nodes=2)],
}


def all_trained(ranks: Ranks, cases: list[Case], count: int) -> list[tuple[list[StepReport], dict[str, Tensor]]]:
    return [trained(ranks, case, count) for case in cases]


@pytest.mark.parametrize("count", [2, 4])
def test_many_ranks_move_the_weights_like_one(count: int) -> None:
    """Also when all ranks but one have only text, or nothing at all: nobody waits for a picture that never comes."""
    found = on_ranks(count, all_trained, CASES[count], count)[0]
    for case, (reports, weights) in zip(CASES[count], found, strict=True):
        expected_reports, expected = trained(Ranks(torch.device("cpu")), case, count)
        assert weights.keys() == expected.keys(), case
        for report, one in zip(reports, expected_reports, strict=True):
            assert report.supervised == one.supervised
            assert report.loss == pytest.approx(one.loss, rel=1e-5), case
            assert report.grad_norm == pytest.approx(one.grad_norm, rel=1e-5), case
        for name, weight in expected.items():
            error = (weights[name] - weight).abs().max()
            assert error <= 1e-5 * weight.abs().max(), (case, name, float(error / weight.abs().max()))


def recipe_of(world: Path) -> Recipe:
    align = Stage(
        data=(Data(str(world / "align.json"), images=str(world / "pictures")),),
        lr={"connector": 1e-3},
        samples_per_step=8,
        template="plain",
        image="square",
        micro_tokens=512,
        eps=1e-6,
    )
    tune = replace(
        align,
        data=(Data(str(world / "tune.json"), images=str(world / "pictures")),),
        lr={"connector": 1e-3, "language": 1e-3},
        epochs=2,
        template="vicuna-v1",
        image="pad",
    )
    return Recipe(Model(str(world / "vision"), str(world / "language")), align=align, tune=tune)


def numbers(row: Mapping[str, object]) -> dict[str, object]:
    """What a row of metrics says that neither the clock decides nor the rounding of micro-batches."""
    left_out = ("stage", "seconds", "data_wait_s", "tokens")
    return {name: value for name, value in row.items() if name not in left_out}


def run_until(ranks: Ranks, recipe: Recipe, out: Path, last_step: int = 0) -> int | None:
    """The run, or as much of it as `last_step` steps of one start; what it ended with."""
    first: list[int] = []

    def watch(step: int, model: VLM, *_: object) -> dict[str, float]:
        first.append(step)
        if len(first) == last_step:
            os.kill(os.getpid(), signal.SIGTERM)
        ids = torch.arange(3, 11)
        hidden = model(ids, torch.arange(8), [8])  # the main rank alone, while the others wait
        return {"norm": float(model.logits(hidden).norm())}

    del ranks
    try:
        train(recipe, out, device="cpu", observers=[watch], observe_every=1)
    except SystemExit as end:
        return int(end.code or 0)
    return None


def test_a_run_goes_on_on_other_numbers_of_ranks(tmp_path: Path) -> None:
    """4, 2, 4: plain checkpoints and shards are each read on another number; the same samples in the same steps."""
    tiny_parts(tmp_path)
    tiny_data(tmp_path, 24)
    (tmp_path / "pictures" / "0-10.png").write_bytes(b"no picture")
    recipe, out, alone = recipe_of(tmp_path), tmp_path / "out", tmp_path / "alone"
    checkpoints = out / "checkpoints"
    assert on_ranks(4, run_until, recipe, out, 2) == [143] * 4
    assert {path.name for path in (checkpoints / "align" / "step-00000002").iterdir()} >= {"weights.safetensors"}
    assert on_ranks(2, run_until, recipe, out, 4) == [143] * 2
    assert {path.name for path in (checkpoints / "tune" / "step-00000003").iterdir()} >= {"shards"}
    shutil.copytree(out, tmp_path / "copy")
    assert on_ranks(4, run_until, recipe, out) == [None] * 4
    run_until(Ranks(torch.device("cpu")), recipe, tmp_path / "copy")  # what two wrote, one reads
    run_until(Ranks(torch.device("cpu")), recipe, alone)
    expected = load_file(alone / "model" / "model.safetensors")
    told = list(read_jsonl(alone / "metrics.jsonl"))
    for other in (out, tmp_path / "copy"):
        for name, weight in load_file(other / "model" / "model.safetensors").items():
            assert (weight - expected[name]).abs().max() <= 1e-5 * expected[name].abs().max(), name
        rows = list(read_jsonl(other / "metrics.jsonl"))
        assert [numbers(row) for row in rows] == [pytest.approx(numbers(row), rel=1e-4) for row in told]
        assert [row["id"] for row in read_jsonl(other / "refused.jsonl")] == ["a10", "t10"]
        assert not (other / "checkpoints" / "tune").exists()
