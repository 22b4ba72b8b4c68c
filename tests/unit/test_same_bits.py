"""A step on a GPU is taken with deterministic algorithms. None is needed here: torch has one switch for all devices."""

from __future__ import annotations

import os

import pytest
import torch
import torch.utils.deterministic

from seetell.train.loop import train_step
from seetell.train.ranks import Ranks
from seetell.train.same_bits import WORKSPACE, SameBits, fix_workspace
from tests.tiny_steps import Case, learner_of, made_up_samples, micro_batch

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def state() -> tuple[bool, bool, bool]:
    fills: bool = torch.utils.deterministic.fill_uninitialized_memory  # pyright: ignore[reportAttributeAccessIssue]
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), warns, fills


def test_a_gpu_is_asked_for_deterministic_algorithms_and_only_while_it_learns() -> None:
    before = state()
    with SameBits(CUDA):
        assert state() == (True, False, False)  # warn_only would leave flash attention's backward pass as it is
    assert state() == before
    with pytest.raises(ValueError, match="from within"), SameBits(CUDA):
        raise ValueError("from within")
    assert state() == before
    with SameBits(CPU):
        assert state() == before


@pytest.mark.parametrize(("given", "expected"), [(None, ":4096:8"), (":16:8", ":16:8"), (":8:1", ":4096:8")])
def test_cublas_keeps_its_workspace(monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str) -> None:
    monkeypatch.setenv(WORKSPACE, given or "")
    if given is None:
        monkeypatch.delenv(WORKSPACE)
    fix_workspace()
    assert os.environ[WORKSPACE] == expected


def test_what_cannot_be_deterministic_is_said_once_and_done_without(capsys: pytest.CaptureFixture[str]) -> None:
    steps = SameBits(CUDA)

    def work() -> list[float]:
        row = torch.zeros(2)
        row.put_(torch.tensor([1]), torch.tensor([5.0]))  # has no deterministic algorithm, on a CPU either
        return row.tolist()

    assert [steps.run(work) for _ in range(3)] == [[0.0, 5.0]] * 3
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("A resumed run may end in other last bits here: put_") == 1
    assert not torch.are_deterministic_algorithms_enabled()


def test_other_failures_stay_what_they_are() -> None:
    def work() -> None:
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        SameBits(CUDA).run(work)


def test_no_operation_of_a_step_lacks_a_deterministic_algorithm(capsys: pytest.CaptureFixture[str]) -> None:
    learner = learner_of(Case("replicate"), Ranks(CPU))
    report = SameBits(CUDA).run(lambda: train_step(learner, [micro_batch(made_up_samples(4))]))
    plain = train_step(learner_of(Case("replicate"), Ranks(CPU)), [micro_batch(made_up_samples(4))])
    assert report == plain
    assert not capsys.readouterr().err
