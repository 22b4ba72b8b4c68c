"""How many threads compute, and those that prepare data beside the one that trains."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from seetell.cli import app
from seetell.model import threads
from seetell.model.threads import busy_cores, choose_threads, usable_cores
from seetell.train.record import open_record
from seetell.train.threads import threads_beside
from seetell.verbs import chatting, demo, eval, plan, training
from tests.tiny import tiny_recipe


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 8 cores and 8 threads, where nobody has said how many to use."""
    for wish in threads.WISHES:
        monkeypatch.delenv(wish, raising=False)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(threads.torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(threads.os, "getloadavg", lambda: (0.0, 0.0, 0.0))


def test_each_computes_alone_and_the_others_as_before() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_beside("test", 2) as pool:
            assert pool.submit(torch.get_num_threads).result() == 1
            assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "150000 100000"}, 2),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "300000 100000"}, 3),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, 8),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "10000 100000"}, 1),
        (
            {
                "proc/self/cgroup": "3:memory:/x\n4:cpu,cpuacct:/x",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "400000",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            4,
        ),
    ],
)
def test_a_control_groups_quota_bounds_the_cores(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert usable_cores(tmp_path) == expected


def stat(busy: dict[int, int], time: int) -> str:
    """/proc/stat after so many ticks, of which each core was busy for some."""
    lines = [f"cpu{core} {busy.get(core, 0)} 0 0 {time - busy.get(core, 0)} 0 0 0 0 0 0" for core in range(8)]
    return "\n".join(["cpu 0 0 0 0", *lines, "intr 0"])


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("load", "busy", "expected"),
    [
        (0.1, {0: 20, 1: 20}, 0.0),  # a moment's work
        (5.0, {}, 0.0),  # what ran before this
        (5.0, {0: 20, 1: 20, 2: 10}, 2.5),
        (1.5, {0: 20, 1: 20, 2: 10}, 1.5),
    ],
)
def test_busy_is_what_both_load_and_cores_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: float, busy: dict[int, int], expected: float
) -> None:
    monkeypatch.setattr(threads.os, "getloadavg", lambda: (load, 0.0, 0.0))
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(stat({}, 100))
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        (tmp_path / "proc/stat").write_text(stat(busy, 120))

    assert busy_cores(tmp_path, wait) == pytest.approx(expected)
    assert len(waited) == (load >= 0.5)


@pytest.mark.usefixtures("eight_cores")
def test_cores_of_others_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.os, "getloadavg", lambda: (6.0, 0.0, 0.0))
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _pid: {6, 7})
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(stat({}, 100))

    def wait(_seconds: float) -> None:
        (tmp_path / "proc/stat").write_text(stat({0: 20, 1: 20, 7: 20}, 120))

    assert busy_cores(tmp_path, wait) == pytest.approx(1.0)


@pytest.mark.usefixtures("eight_cores")
def test_as_many_threads_as_cores_are_free_and_a_word_when_that_is_not_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 8)
    for busy, expected in ((0.0, 8), (3.2, 5), (7.9, 1), (20.0, 1)):
        monkeypatch.setattr(threads, "busy_cores", lambda busy=busy: busy)
        capsys.readouterr()
        assert choose_threads() == expected
        said = capsys.readouterr().err
        assert ("To choose another number: --threads 8." in said) == (expected < 8)
        assert choose_threads(6) == 6
        assert not capsys.readouterr().err
    assert "Computing with 1 thread, not 8: 8 cores may be used, and others keep 20.0 of them busy." in said
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert choose_threads() == 8


def test_a_run_keeps_the_threads_it_began_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tiny_recipe(tmp_path)
    assert open_record(recipe, tmp_path, "cpu", 1, 3).threads == 3
    (tmp_path / "checkpoints" / "tune" / "step-00000001").mkdir(parents=True)
    assert open_record(recipe, tmp_path, "cpu", 1).threads == 3
    assert not capsys.readouterr().err
    assert open_record(recipe, tmp_path, "cpu", 1, 2).threads == 2
    assert "resumes with 2 threads, not 3: its last bits may differ" in capsys.readouterr().err
    assert open_record(recipe, tmp_path, "cpu", 1).threads == 2


def test_every_command_that_computes_takes_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, object] = {}

    def watch(module: object, name: str) -> None:
        def told(*_: object, **options: object) -> list[object]:
            asked[name] = options["threads"]
            return []

        monkeypatch.setattr(module, name, told)

    for module, name in ((demo, "demo"), (plan, "plan"), (training, "train"), (chatting, "chat"), (eval, "eval")):
        watch(module, name)
    out, number = str(tmp_path / "out"), ["--threads", "3"]
    for command in (
        ["demo", "--out", out],
        ["plan", "drawn"],
        ["train", "drawn", "--out", out],
        ["chat", "model"],
        ["eval", "drawn", "--model", "model", "--out", out],
    ):
        told = CliRunner().invoke(app, [*command, *number])
        assert told.exit_code == 0, told.output
    assert asked == dict.fromkeys(("demo", "plan", "train", "chat", "eval"), 3)
    assert CliRunner().invoke(app, ["plan", "drawn", "--threads", "0"]).exit_code == 2


def test_tests_say_how_many_themselves() -> None:
    """Runs are compared to the last bit, on machines that others use too."""
    assert os.environ["OMP_NUM_THREADS"]
