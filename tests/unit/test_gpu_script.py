"""The command for the day a GPU is there: its table, what becomes of a part that dies, and that its checks can fail."""

from __future__ import annotations

import copy
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_parts import kernels, memory, parity, rates
from benchmarks.gpu_parts.notes import Notes, Place
from benchmarks.systems.sizes import SIZES
from seetell.model import kernel_choice
from seetell.model.pieces import PerDocument, Pieces

HERE = Place(torch.device("cpu"), tiny=True, seconds=3600.0)
MINI = SIZES["mini"]


def notes_of(path: Path) -> Notes:
    return Notes(path / "notes.json")


def test_every_part_of_the_table_is_there() -> None:
    for part in gpu.PARTS:
        name, _, function = part.module.partition(":")
        assert callable(getattr(importlib.import_module(f"benchmarks.gpu_parts.{name}"), function or "run"))
    assert sum(part.weight for part in gpu.PARTS) == 540  # seconds of the nine minutes


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("", "ok", ""),
        ("raise SystemExit(3)", "failed", "code 3"),
        ("import os; os.kill(os.getpid(), 11)", "failed", "SIGSEGV"),
        ("import time; time.sleep(60)", "timeout", "stopped after"),
    ],
)
def test_a_part_that_dies_or_hangs_leaves_its_figures_and_the_others(
    code: str, status: str, error: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def command_of(part: gpu.Part, device: str, tiny: bool, limit_s: float, notes: Path) -> list[str]:
        del part, device, tiny, limit_s
        told = json.dumps({"figures": {"rate": 2.5}})
        return [sys.executable, "-c", f"open({str(notes)!r}, 'w').write({told!r})\n{code}"]

    monkeypatch.setattr(gpu, "command_of", command_of)
    monkeypatch.setattr(gpu, "ALLOWANCE_S", 0.5)
    monkeypatch.setattr(gpu, "PARTS", gpu.PARTS[:2])
    monkeypatch.setattr(gpu, "device_named", lambda name: (name, ""))
    options = gpu.parse(["--device", "cpu", "--minutes", "0.05", "--json", str(tmp_path / "out.json")])
    parts = gpu.measure(options)["parts"]
    assert [one["status"] for one in parts.values()] == [status] * 2
    assert all(one["figures"] == {"rate": 2.5} for one in parts.values())
    assert all(error in one.get("error", "") for one in parts.values())
    assert json.loads((tmp_path / "out.json").read_text())["parts"] == parts


def test_a_part_that_is_stopped_says_where_it_was_and_no_crash_hides_that_its_time_was_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dumps = "import faulthandler, signal, time\nfaulthandler.register(signal.SIGUSR1, all_threads=False)\n"
    crashes = "import os, signal, time\nsignal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), 11))\n"
    waits = "def innermost():\n    time.sleep(60)\nprint('said before', flush=True)\ninnermost()"
    monkeypatch.setattr(gpu, "ALLOWANCE_S", 0.5)
    for code, line in ((dumps, "in innermost"), (crashes, "")):
        monkeypatch.setattr(gpu, "command_of", lambda *_, code=code: [sys.executable, "-c", code + waits])
        found = gpu.run_part(gpu.PARTS[0], "cpu", tiny=True, limit_s=0.5, folder=tmp_path)
        assert found["status"] == "timeout"
        assert line in "\n".join(found["log"][:3])
        assert ("said before" in found["log"]) is not bool(line)  # the dump alone, where there is one


def test_what_is_missing_is_said_and_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gpu.REQUIRED, "a_module_that_is_not_there", "some-package")
    monkeypatch.setitem(gpu.OLDEST, "torch", (99, 0))
    found = gpu.measure(gpu.parse(["--device", "cpu"]))
    assert found["parts"] == {}
    assert "torch 99.0 or later" in found["error"]
    assert "some-package" in found["error"]


def test_a_part_that_raises_says_so_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("CUDA error: out of luck\nand more")

    monkeypatch.setattr(rates, "fp8", broken)
    monkeypatch.setattr(gpu, "own_packages", lambda: None)
    options = gpu.parse(["--child", "fp8", "--device", "cpu", "--notes", str(tmp_path / "n.json"), "--seconds", "60"])
    assert gpu.child(options) == 1
    assert gpu.read_notes(tmp_path / "n.json")["error"] == "RuntimeError: CUDA error: out of luck"


@torch.no_grad()
def test_rotary_frequencies_in_bfloat16_are_found_by_the_logits_at_2000_positions(tmp_path: Path) -> None:
    vlm = parity.fresh(MINI)
    document = parity.a_document(MINI, parity.TOKENS)
    truth = parity.logits(vlm, document, torch.float32)
    half = copy.deepcopy(vlm)
    for weight in half.parameters():
        weight.data = weight.data.bfloat16()
    reloaded = parity.logits(half, document, torch.bfloat16)
    right, wrong = notes_of(tmp_path), notes_of(tmp_path)
    parity.compared("as it is", reloaded, reloaded, truth, right)
    rotary: Any = half.language.base_model.get_submodule("rotary_emb")
    rotary.inv_freq = rotary.inv_freq.bfloat16()
    parity.compared("cast", parity.logits(half, document, torch.bfloat16), reloaded, truth, wrong)
    assert not right.wrong
    assert len(wrong.wrong) == 1


def test_packing_and_decoding_are_the_forward_in_both_types(tmp_path: Path) -> None:
    vlm = parity.fresh(MINI)
    for kind in (torch.float32, torch.bfloat16):
        other = copy.deepcopy(vlm)
        for weight in other.parameters():
            weight.data = weight.data.to(kind)
        notes = notes_of(tmp_path)
        parity.alike(other, vlm, MINI, 240, kind, notes)
        assert not notes.wrong


def test_a_kernel_that_computes_something_else_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Late(PerDocument):
        def __call__(self, query: Any, key: Any, value: Any, scale: Any, dropout: float, /) -> Any:
            return super().__call__(query, key * 1.02, value, scale, dropout)

    def build(pieces: Pieces, device: torch.device) -> PerDocument:
        del device
        return Late(pieces)

    late = kernel_choice.Candidate("late", build, lambda case: True)  # noqa: ARG005
    case = kernel_choice.Case(torch.device("cpu"), torch.float32, 4, 2, 8, 8, None, False, True)
    notes = notes_of(tmp_path)
    monkeypatch.setattr(kernels, "CANDIDATES", (late,))
    monkeypatch.setattr(kernels, "why_not_kernel", lambda candidate, case: None)  # noqa: ARG005
    found = kernels.of_case(case, 40, HERE, notes)
    assert found["chosen"] == "PerDocument"
    assert found["PerDocument"]["apart"] == 0.0
    assert found["PerDocument"]["same_bits_backward"]
    assert len(notes.wrong) == 1
    assert "build" in notes.wrong[0]


def test_the_other_parts_run_at_tiny_sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rates, "why_not_compile", lambda _device: "compiling takes long")
    notes = notes_of(tmp_path)
    rates.fp8(HERE, notes)
    rates.decode(HERE, notes)
    notes.put(lora=memory.measured("lora", HERE, notes))
    assert not notes.wrong
    assert notes.figures["lora"]["predicted_gib"] > 0
    assert notes.figures["4 rows"]["tokens_per_s"] > 0
    assert notes.figures["gain_eager"] > 0
    assert notes.skipped == ["fp8 in a compiled block: compiling takes long"]
    assert json.loads(notes.path.read_text())["figures"] == notes.figures
    assert len(gpu.figures_lines(notes.figures)) >= 8
