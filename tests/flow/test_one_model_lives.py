"""How much of a model lives, and how long: one at a time, and of what is frozen only the form that is multiplied."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from seetell.config import apply_sets
from seetell.errors import UsageError
from seetell.model.fp8 import can_multiply
from seetell.model.hub import hub_tensors
from seetell.model.llava import why_not_llava
from seetell.model.parts import load_parts
from seetell.model.vlm import VLM
from seetell.train import run
from seetell.train.ranks import Ranks
from seetell.train.recipe import Data, Stage
from seetell.train.run import train
from seetell.train.start import ready_model, start_model
from tests.tiny import tiny_recipe, tiny_world
from tests.tiny_models import tiny_vlm
from tests.tiny_ranks import on_ranks

MATRIX = (64, 32)  # the shape of the tiny decoder's gates, which nothing else has


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("world"), 16)


@pytest.fixture
def living(monkeypatch: pytest.MonkeyPatch) -> Iterator[WeakSet[VLM]]:
    """The models there are, while nobody looks for what only holds itself."""
    models: WeakSet[VLM] = WeakSet()
    begin = VLM.__init__

    def counted(self: VLM, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        models.add(self)

    monkeypatch.setattr(VLM, "__init__", counted)
    monkeypatch.setattr(VLM, "__hash__", object.__hash__, raising=False)
    gc.collect()
    gc.disable()
    monkeypatch.setattr(gc, "collect", lambda *_: 0)
    try:
        yield models
    finally:
        gc.enable()


@pytest.mark.parametrize("compiled", ["off", "on"])
@pytest.mark.parametrize("checkpointing", ["off", "selective", "full"])
@pytest.mark.filterwarnings("ignore")  # of torch.compile
def test_one_model_lives_at_a_time(
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    living: WeakSet[VLM],
    checkpointing: str,
    compiled: str,
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # as the others, but at once
    torch._dynamo.reset()
    counts: dict[str, list[int]] = {}

    def counting(name: str) -> None:
        work = getattr(run, name)

        def counted(*given: Any, **named: Any) -> Any:
            counts.setdefault(name, []).append(len(living))
            return work(*given, **named)

        monkeypatch.setattr(run, name, counted)

    def watch(*_: object) -> dict[str, float]:
        counts.setdefault("watch", []).append(len(living))
        return {}

    for name in ("start_model", "load_model", "save_model"):
        counting(name)
    sets = [f"tune.{name}={value}" for name, value in (("checkpointing", checkpointing), ("compile", compiled))]
    recipe = apply_sets(tiny_recipe(world), ["align.precision=bfloat16", *sets])
    train(recipe, tmp_path, device="cpu", observers=[watch], observe_every=1)
    assert counts == {"start_model": [0, 0], "load_model": [0, 0], "save_model": [1, 1], "watch": [1] * 6}
    assert len(living) == 0


def lived_in_shards(_ranks: Ranks, world: Path, out: Path) -> list[int]:
    """The models that there are on this rank, each time that another one is begun; outlines have no weights."""
    models: WeakSet[VLM] = WeakSet()
    counts: list[int] = []
    why_not_llava(start_model(tiny_recipe(world)))  # asked once a process: it builds a small model, to compare
    begin = VLM.__init__

    def counted(self: VLM, *given: Any, **named: Any) -> None:
        before = len(models)
        begin(self, *given, **named)
        if self.device.type != "meta":
            counts.append(before)
            models.add(self)

    VLM.__init__ = counted
    VLM.__hash__ = object.__hash__
    train(apply_sets(tiny_recipe(world), ["tune.checkpointing=full", "align.sharding=shard"]), out, device="cpu")
    return [*counts, len(models)]


def test_one_model_in_shards_lives_at_a_time(world: Path, tmp_path: Path) -> None:
    main, other = on_ranks(2, lived_in_shards, world, tmp_path / "out")
    assert set(main) == set(other) == {0}
    assert len(main) == len(other) + 2, "the main rank reads each stage's model again"


def wide_copies() -> int:
    """Float32 tensors of the shape of a frozen matrix that Python holds, weights of models included."""
    return sum(
        type(thing) in (Tensor, nn.Parameter) and thing.dtype == torch.float32 and tuple(thing.shape) == MATRIX
        for thing in gc.get_objects()
    )


def wide_copies_in_align(_ranks: Ranks, world: Path, out: Path, sets: list[str]) -> int:
    """How many more there are while a stage trains than before it."""
    counts: list[int] = []
    recipe = apply_sets(tiny_recipe(world), ["align.precision=bfloat16", *sets])

    def watch(*_: object) -> dict[str, float]:
        counts.append(wide_copies())
        return {}

    gc.collect()
    before = wide_copies()
    train(recipe, out, device="cpu", stages=("align",), observers=[watch], observe_every=1)
    return max(counts) - before


@pytest.mark.parametrize("sets", [[], ["align.fp8=true"]], ids=" ".join)
def test_no_wide_copy_of_a_frozen_matrix_is_kept_and_none_is_changed(
    world: Path, tmp_path: Path, sets: list[str]
) -> None:
    if sets and can_multiply(torch.device("cpu")):
        pytest.skip("no 8-bit products here")
    assert wide_copies_in_align(Ranks(torch.device("cpu")), world, tmp_path / "out", sets) == 0
    parts = load_parts(str(world / "vision"), str(world / "language"), image_id=261, vocabulary=262)
    saved = load_file(tmp_path / "out" / "aligned" / "model.safetensors")
    frozen = {name: weight for name, weight in saved.items() if not name.startswith("multi_modal_projector")}
    read = hub_tensors(parts)
    assert len(frozen) > 40
    assert all(torch.equal(weight, read[name]) for name, weight in frozen.items())


def test_a_part_that_changed_meanwhile_is_not_saved_with_what_learned_beside_it(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world, tmp_path / "world")
    weights = tmp_path / "world" / "language" / "model.safetensors"

    def change(*_: object) -> dict[str, float]:
        weights.write_bytes(weights.read_bytes()[:-1] + how.pop())
        return {}

    recipe = tiny_recipe(tmp_path / "world")
    watch: dict[str, Any] = {"device": "cpu", "stages": ("align",), "observers": [change], "observe_every": 2}
    how = [weights.read_bytes()[-1:]]
    assert train(recipe, tmp_path / "same", **watch).exists(), "written again as it was"
    how = [b"\x7f"]
    with pytest.raises(UsageError, match=r"a run that began otherwise.*parts\.language"):
        train(recipe, tmp_path / "other", **watch)
    assert not (tmp_path / "other" / "aligned").exists()


@pytest.mark.parametrize("learns", [("connector",), ("connector", "language")], ids="+".join)
def test_what_is_frozen_goes_to_the_card_in_the_type_it_is_multiplied_in(
    monkeypatch: pytest.MonkeyPatch, learns: tuple[str, ...]
) -> None:
    moved: dict[int, int] = {}
    move = Tensor.to

    def noted(self: Tensor, *given: Any, **named: Any) -> Tensor:
        """Where a device is named, these bytes go there; what lies there already stays."""
        if isinstance(next(iter(given), named.get("device")), str | torch.device):
            moved.setdefault(self.data_ptr(), self.nbytes)
        return move(self, *given, **named)

    stage = Stage(data=(Data("unused"),), lr=dict.fromkeys(learns, 1e-3), samples_per_step=4)
    vlm = tiny_vlm()
    monkeypatch.setattr(Tensor, "to", noted)
    ready_model(vlm, stage, torch.bfloat16, 0, torch.device("cpu"))
    monkeypatch.undo()
    assert {weight.dtype for weight in vlm.vision.parameters()} == {torch.float32, torch.bfloat16}
    assert sum(moved.values()) == sum(tensor.nbytes for tensor in (*vlm.parameters(), *vlm.buffers()))
