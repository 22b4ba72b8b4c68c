"""What enters a product of 8-bit matrices is quantized alike, compiled or not, in a block or in its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from seetell.model import fp8
from seetell.model.computing import _policy, can_compile
from seetell.model.fp8 import BACKWARD, FORWARD, FrozenLinear, can_multiply, quantized

CPU = torch.device("cpu")
pytestmark = [
    pytest.mark.skipif(not can_compile(CPU), reason="there is no compiler here"),
    pytest.mark.filterwarnings("ignore"),  # what the compiler imports
]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.dtype]]:
    """Quantization compiled, as on a GPU; the list names what was asked of it outside compiled blocks."""
    torch._dynamo.reset()
    asked: list[torch.dtype] = []
    function: Callable[..., tuple[Tensor, Tensor]] = torch.compile(quantized, dynamic=True)

    def counted(rows: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        asked.append(kind)
        return function(rows, kind)

    monkeypatch.setattr(fp8, "_quantizer", lambda _device: counted)
    yield asked
    torch._dynamo.reset()


def test_it_is_compiled_on_a_gpu_that_compiles_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda", 0)
    for why, is_compiled in ((None, True), ("no Triton", False)):
        fp8._quantizer.cache_clear()
        monkeypatch.setattr(fp8, "why_not_compile", lambda _device, why=why: why)
        assert (fp8._quantizer(cuda) is not quantized) is is_compiled
        assert fp8._quantizer(CPU) is quantized
    fp8._quantizer.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_gives_the_same_bits_and_one_program_for_all_sizes(
    compiled: list[torch.dtype], dtype: torch.dtype
) -> None:
    torch._dynamo.utils.counters.clear()
    for kind in (FORWARD, BACKWARD):
        for sides in ((7, 64), (64, 128), (200, 512)):
            rows = 3 * torch.randn(sides, generator=torch.Generator().manual_seed(0)).to(dtype)
            (eager, scale), (found, found_scale) = quantized(rows, kind), fp8.entering(rows, kind)
            assert torch.equal(eager.view(torch.uint8), found.view(torch.uint8))
            assert torch.equal(scale, found_scale)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    assert len(compiled) == 6


@pytest.mark.skipif(bool(can_multiply(CPU)), reason="no 8-bit products here")
def test_a_quantization_that_does_not_compile_is_found_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_rows: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        raise RuntimeError(f"type {kind} is not supported on this architecture\nand more")

    monkeypatch.setattr(fp8, "_quantizer", lambda _device: fails)
    assert can_multiply(CPU) == f"type {FORWARD} is not supported on this architecture"


@pytest.mark.skipif(bool(can_multiply(CPU)), reason="no 8-bit products here")
def test_blocks_compute_the_same_however_they_are_run(compiled: list[torch.dtype]) -> None:
    torch.manual_seed(0)
    block = nn.Sequential(FrozenLinear(nn.Linear(64, 128), CPU), nn.SiLU(), FrozenLinear(nn.Linear(128, 64), CPU))
    features = torch.randn(2, 10, 64, requires_grad=True)

    def passed(run: Callable[[Tensor], Tensor]) -> list[Tensor]:
        out = run(features)
        return [out.detach(), *torch.autograd.grad(out.square().sum(), features)]

    truth = passed(block)
    assert compiled == [FORWARD, FORWARD, BACKWARD, BACKWARD]
    contexts = partial(create_selective_checkpoint_contexts, _policy)
    for run in (
        partial(checkpoint, block, use_reentrant=False),
        partial(checkpoint, block, use_reentrant=False, context_fn=contexts),
    ):
        for found, wanted in zip(passed(run), truth, strict=True):
            assert torch.equal(found, wanted)
    del compiled[:]
    torch._dynamo.utils.counters.clear()
    whole = torch.compile(block, dynamic=True)
    for run in (whole, partial(checkpoint, whole, use_reentrant=False)):
        for found, wanted in zip(passed(run), truth, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert compiled == [], "in a compiled block it is a part of the block"
    assert not torch._dynamo.utils.counters["graph_break"]
