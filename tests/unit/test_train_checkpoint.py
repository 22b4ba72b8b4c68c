"""Checkpoints: read back to the bit, whole or passed over, and two are kept."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from seetell.errors import BadInput, Failed
from seetell.train import checkpoint
from seetell.train.checkpoint import Keeper, full_disk_told, load_checkpoint
from seetell.train.log import Progress
from seetell.train.optimizer import build_optimizer, choose_what_learns
from seetell.train.ranks import Ranks
from seetell.train.recipe import Data, Stage
from tests.tiny_models import tiny_vlm
from tests.tiny_ranks import full_disk

ALONE = Ranks(torch.device("cpu"))
STAGE = Stage(data=(Data("unused"),), lr={"connector": 1e-2}, samples_per_step=1)


def fresh(seed: int = 0, stage: Stage = STAGE):
    model = tiny_vlm(seed=seed)
    choose_what_learns(model, stage)
    return model, build_optimizer(model, stage)


def moved(model, optimizer) -> None:
    """A step with any gradient, so that there are moments."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, 0.5)
    optimizer.step()


def save(folder: Path, model, optimizer, progress: Progress) -> Path:
    keeper = Keeper(folder, model, optimizer, ALONE)
    keeper.save(progress)
    keeper.finish()
    return folder / f"step-{progress.step:08}"


def test_it_reads_back_to_the_bit(tmp_path: Path) -> None:
    model, optimizer = fresh()
    moved(model, optimizer)
    state = Progress(step=3, samples=24, seconds=1.5, first_loss=2.0, last_loss=1.0)
    save(tmp_path, model, optimizer, state)
    other, other_optimizer = fresh(seed=7)
    assert load_checkpoint(tmp_path, other, other_optimizer, ALONE) == state
    moved(model, optimizer)
    moved(other, other_optimizer)
    for a, b in zip(model.connector.parameters(), other.connector.parameters(), strict=True):
        assert torch.equal(a, b)


def test_there_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "nowhere", *fresh(), ALONE) is None


@pytest.mark.parametrize("damage", ["cut", "flip", "no manifest", "missing"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, damage: str) -> None:
    model, optimizer = fresh()
    moved(model, optimizer)
    save(tmp_path, model, optimizer, Progress(step=1))
    newest = save(tmp_path, model, optimizer, Progress(step=2))
    weights = newest / "weights.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-5])
    elif damage == "flip":
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    elif damage == "missing":
        weights.unlink()
    else:
        (newest / "manifest.json").unlink()
    found = load_checkpoint(tmp_path, *fresh(), ALONE)
    assert found is not None
    assert found.step == 1


def test_training_does_not_wait_for_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is filled is hashed beside the steps, and is a checkpoint only then."""
    hashed_by: list[threading.Thread] = []
    hashed = checkpoint.write_manifest

    def slow(*given: Any) -> None:
        hashed_by.append(threading.current_thread())
        goes_on.wait(60)
        hashed(*given)

    goes_on = threading.Event()
    monkeypatch.setattr(checkpoint, "write_manifest", slow)
    model, optimizer = fresh()
    moved(model, optimizer)
    keeper = Keeper(tmp_path, model, optimizer, ALONE)
    keeper.save(Progress(step=1))
    before = {name: weight.clone() for name, weight in model.connector.named_parameters()}
    moved(model, optimizer)  # training goes on
    assert not list(tmp_path.glob("step-*"))
    goes_on.set()
    keeper.finish()
    assert threading.main_thread() not in hashed_by
    other, other_optimizer = fresh(seed=7)
    assert load_checkpoint(tmp_path, other, other_optimizer, ALONE) == Progress(step=1)
    assert all(torch.equal(weight, before[name]) for name, weight in other.connector.named_parameters())


def test_two_are_kept_and_unfinished_ones_are_swept(tmp_path: Path) -> None:
    model, optimizer = fresh()
    for step in (1, 2, 3, 12):
        save(tmp_path, model, optimizer, Progress(step=step))
    (tmp_path / ".writing-step-00000013").mkdir()
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000003", "step-00000012"]
    load_checkpoint(tmp_path, model, optimizer, ALONE)
    assert not list(tmp_path.glob(".writing-*"))


def test_no_pickle_is_written(tmp_path: Path) -> None:
    model, optimizer = fresh()
    moved(model, optimizer)
    folder = save(tmp_path, model, optimizer, Progress(step=1))
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}


def test_another_models_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    model, optimizer = fresh()
    save(tmp_path, model, optimizer, Progress(step=1))
    both = Stage(data=(Data("unused"),), lr={"connector": 1e-2, "language": 1e-2}, samples_per_step=1)
    with pytest.raises(BadInput, match="does not belong to this model"):
        load_checkpoint(tmp_path, *fresh(stage=both), ALONE)


def test_a_full_disk_costs_that_checkpoint_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, optimizer = fresh()
    moved(model, optimizer)
    keeper = Keeper(tmp_path, model, optimizer, ALONE)
    keeper.save(Progress(step=1))
    keeper.finish()
    with full_disk():
        keeper.save(Progress(step=2))
        keeper.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert "step-00000002 could not be written (" in capsys.readouterr().err
    with pytest.raises(Failed, match=r"File too large.*step-00000001 is kept.*Make room"):
        keeper.check()
    keeper.save(Progress(step=3))
    keeper.finish()
    keeper.check()
    found = load_checkpoint(tmp_path, *fresh(), ALONE)
    assert found == Progress(step=3)


def test_a_run_without_room_for_its_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"no room left in .* \(File too large\)"), full_disk_told(tmp_path), full_disk():
        (tmp_path / "file").write_bytes(b"x" * 100_000)
    with pytest.raises(Failed, match="no room left"), full_disk_told(tmp_path), full_disk():
        save_file({"weight": torch.zeros(100_000)}, tmp_path / "model.safetensors")
    with pytest.raises(FileNotFoundError), full_disk_told(tmp_path):
        (tmp_path / "nowhere").read_bytes()
