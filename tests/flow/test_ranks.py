"""Many processes learn what one learns: steps, whole runs, saves and failures, over gloo.

A process takes a second to start, so everything that two or four of them can show is shown in one start.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch._C._distributed_c10d import HashStore
from torch.distributed.tensor import DTensor

from seetell import files
from seetell.config import apply_sets
from seetell.files import read_jsonl
from seetell.model.vlm import VLM
from seetell.train.checkpoint import Keeper, load_checkpoint
from seetell.train.log import Progress
from seetell.train.loop import Learner, StepReport, train_step
from seetell.train.ranks import Ranks, fresh_store
from seetell.train.recipe import Data, Model, Recipe, Stage
from seetell.train.run import train
from tests.tiny import tiny_data, tiny_parts
from tests.tiny_ranks import full_disk, on_ranks
from tests.tiny_steps import Case, learner_of, micro_batch, shared_steps, trained

CASES = {
    2: [
        Case("replicate"),
        Case("replicate", learns=("connector",)),
        Case("shard"),
        Case("shard", tied=True, checkpointing="full"),
        Case("shard", roomy=False),
        Case("shard", learns=("connector",)),
    ],
    4: [Case("replicate", tied=True), Case("shard"), Case("shard", nodes=2)],
}


Trained = tuple[list[StepReport], list[dict[str, Tensor]], dict[str, Tensor]]


def all_trained(ranks: Ranks, cases: list[Case], count: int) -> list[Trained]:
    return [trained(ranks, case, count) for case in cases]


@pytest.mark.parametrize("count", [2, 4])
def test_many_ranks_move_the_weights_like_one(count: int) -> None:
    """Also when all ranks but one have only text, or nothing at all: nobody waits for a picture that never comes.

    Sums over ranks round otherwise than sums in one process; a gradient's error is a share of its matrix's largest.
    """
    found = on_ranks(count, all_trained, CASES[count], count)[0]
    for case, (reports, gradients, weights) in zip(CASES[count], found, strict=True):
        expected_reports, expected_gradients, expected = trained(Ranks(torch.device("cpu")), case, count)
        for report, one in zip(reports, expected_reports, strict=True):
            assert report.supervised == one.supervised
            assert report.loss == pytest.approx(one.loss, rel=1e-5), case
            assert report.grad_norm == pytest.approx(one.grad_norm, rel=1e-5), case
        for step, one_step in zip([*gradients, weights], [*expected_gradients, expected], strict=True):
            assert step.keys() == one_step.keys(), case
            for name, tensor in one_step.items():
                error = (step[name] - tensor).abs().max()
                assert error <= 1e-5 * tensor.abs().max(), (case, name, float(error / tensor.abs().max()))


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


def test_two_ranks_learn_an_adapter_over_cached_features_as_one_does(tmp_path: Path) -> None:
    """Each sees its part of the pictures for the cache, and both learn the same low-rank matrices."""
    tiny_parts(tmp_path)
    tiny_data(tmp_path, 24)
    asked = [
        "align.cache_features=true",
        "tune.cache_features=true",
        "tune.lora.rank=4",
        "tune.lora.dropout=0",
        "tune.eps=1e-4",
    ]
    recipe, out, alone = apply_sets(recipe_of(tmp_path), asked), tmp_path / "out", tmp_path / "alone"
    assert on_ranks(2, run_until, recipe, out) == [None] * 2
    run_until(Ranks(torch.device("cpu")), recipe, alone)
    found, expected = (load_file(run / "model" / "adapter_model.safetensors") for run in (out, alone))
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert (found[name] - weight).abs().max() <= 1e-5 * weight.abs().max(), name
    caches = [{path.name for path in (run / "features").rglob("*.safetensors")} for run in (out, alone)]
    assert caches[0] == caches[1] != set()


def whole(learner: Learner) -> list[Tensor]:
    """Everything a checkpoint keeps, gathered."""
    held: list[Tensor] = []
    for weight in (weight for weight in learner.model.parameters() if weight.requires_grad):
        held += [weight.detach(), *(value for _, value in sorted(learner.optimizer.state[weight].items()))]
    return [value.full_tensor() if isinstance(value, DTensor) else value.clone() for value in held]


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


hashed = files.sha256_file


def saves_of_shards(ranks: Ranks, folder: Path) -> dict[str, object]:
    """What comes of saving shards: while the weights move on, on a full disk, and when a byte is flipped later."""
    learner = learner_of(Case("shard"), ranks)
    steps = [[micro_batch(micro) for micro in step[ranks.rank]] for step in shared_steps(ranks.count)]
    keeper = Keeper(folder, learner.model, learner.optimizer, ranks, sharded=True)
    train_step(learner, steps[0])
    first = whole(learner)
    read_again: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "sha256_file", lambda path: read_again.append(path.name) or hashed(path))
        keeper.save(Progress(step=1))
        train_step(learner, steps[1])  # meanwhile
        keeper.finish()
    with full_disk():
        keeper.save(Progress(step=2))
        keeper.finish()
    failed = keeper._failure
    ranks.barrier()  # the main rank tidies up
    left = sorted(path.name for path in folder.iterdir())
    second = whole(learner)
    keeper.save(Progress(step=3))
    keeper.finish()

    def loaded() -> tuple[Progress | None, list[Tensor]]:
        other = learner_of(Case("shard"), ranks)
        return load_checkpoint(folder, other.model, other.optimizer, ranks), whole(other)

    newest = loaded()
    ranks.barrier()
    if ranks.main:
        shard = next((folder / "step-00000003" / "shards").glob("*.safetensors"))
        shard.write_bytes(shard.read_bytes()[:-1] + b"\x7f")
    older = loaded()
    return {
        "read again": read_again,
        "failed": failed,
        "left": left,
        "newest": newest[0] == Progress(step=3) and same(newest[1], second),
        "older": older[0] == Progress(step=1) and same(older[1], first),
    }


def test_saves_of_shards_are_read_back_to_the_bit_and_a_full_disk_costs_one(tmp_path: Path) -> None:
    for found in on_ranks(2, saves_of_shards, tmp_path):
        assert "step-00000002 could not be written (File too large). step-00000001 is kept." in str(found["failed"])
        assert found["left"] == ["step-00000001"]
        assert found["read again"] in ([], ["progress.json"])  # the ranks hashed their shards as they wrote them
        assert found["newest"]
        assert found["older"]
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors", ".json"}


RESTARTED = """
import os, signal, sys
from seetell.train.run import train
from tests.flow.test_ranks import recipe_of
from pathlib import Path

def shoot(step, *_):
    if step == 4 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(int(Path(sys.argv[1], "victim").read_text()), signal.SIGKILL)
    return {"looked": 1.0}

if os.environ["RANK"] == "1":
    Path(sys.argv[1], "victim").write_text(str(os.getpid()))
train(recipe_of(Path(sys.argv[1])), sys.argv[2], device="cpu", observers=[shoot], observe_every=1, checkpoint_every_s=0)
"""


def test_torchrun_restarts_what_was_killed_and_it_ends_bit_equal(tmp_path: Path) -> None:
    tiny_parts(tmp_path)
    tiny_data(tmp_path, 24)
    program, root = tmp_path / "program.py", Path(__file__).parents[2]
    program.write_text(RESTARTED)
    given = {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "1", str(program), str(tmp_path), str(tmp_path / "killed")]
    with subprocess.Popen(command, env=os.environ | given, stderr=subprocess.PIPE, text=True) as started:
        try:
            _, told = started.communicate(timeout=120)
        finally:
            started.terminate()  # which ends its processes too, were they to hang
    assert started.returncode == 0, told[-3000:]
    assert re.search("resumes after step [1-3] of 6", told)
    assert on_ranks(2, run_until, recipe_of(tmp_path), tmp_path / "alone") == [None, None]
    one, other = (load_file(tmp_path / out / "model" / "model.safetensors") for out in ("alone", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_ranks_that_start_again_meet_where_the_dead_have_not_written() -> None:
    store = HashStore()
    for attempt in range(3):
        store.set("asks/2", "a rank that died before it was answered")
        with ThreadPoolExecutor(3) as pool:
            parts = list(pool.map(lambda rank: fresh_store(store, rank, 3), range(3)))
        assert not parts[1].check(["address"])
        parts[0].set("address", f"of {attempt}")
        assert [part.get("address").decode() for part in parts] == [f"of {attempt}"] * 3
