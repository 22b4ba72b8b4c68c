"""A kernel is used where it was tried and right; any other gives way to the next, and `PerDocument` is the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from seetell.model import kernel_choice
from seetell.model.attention import NAME, Packed
from seetell.model.computing import set_computing
from seetell.model.kernel_choice import Candidate, Case, build_kernel
from seetell.model.pieces import Kernel, PerDocument, Pieces, Varlen, whole_documents
from tests.tiny_models import tiny_language
from tests.unit.test_model_pieces import reference_varlen

CPU = torch.device("cpu")
CASE = Case(CPU, torch.float32, 4, 2, 16, 16, None, dropout=False, gradients=True)
PIECES = whole_documents((3, 5))


class Fast(PerDocument):
    """A kernel of another name, right as it is."""


class Raises(Fast):
    def __call__(self, *_: Any) -> Tensor:
        raise RuntimeError("out of resource: shared memory\nRequired: 131072")


class Wrong(Fast):
    """It takes the scale of another width."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None, dropout: float, /) -> Tensor:
        return super().__call__(query, key, value, 0.6 * (scale or query.shape[3] ** -0.5), dropout)


class _NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, out: Tensor) -> Tensor:
        return out.clone()

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient * 1.2


class WrongBack(Fast):
    def __call__(self, *given: Any) -> Tensor:
        return _NoWayBack.apply(super().__call__(*given))  # pyright: ignore[reportReturnType]


class WrongRows(Fast):
    """Right for whole documents only."""

    def __call__(self, query: Tensor, *given: Any) -> Tensor:
        out = super().__call__(query, *given)
        return out if self.pieces.queries == self.pieces.lengths else out * 0.9


class NotANumber(Fast):
    def __call__(self, *given: Any) -> Tensor:
        return super().__call__(*given) * float("nan")


def candidate(kernel: Callable[..., Kernel], name: str = "a kernel") -> Candidate:
    return Candidate(name, lambda pieces, _device: kernel(pieces), lambda case: not case.dropout)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(kernel_choice, "say", said.append)
    return said


def chosen(monkeypatch: pytest.MonkeyPatch, *kernels: type[Fast], case: Case = CASE) -> type[Any]:
    candidates = [candidate(kernel, kernel.__name__) for kernel in kernels]
    monkeypatch.setattr(kernel_choice, "CANDIDATES", candidates)
    return type(build_kernel(PIECES, case))


@pytest.mark.parametrize("bad", [Raises, Wrong, WrongBack, WrongRows, NotANumber])
def test_what_fails_its_trial_gives_way_to_the_next(
    monkeypatch: pytest.MonkeyPatch, told: list[str], bad: type[Fast]
) -> None:
    assert chosen(monkeypatch, bad, Fast) is Fast
    (sentence,) = told
    assert sentence.startswith(f"Attention does not use {bad.__name__} for float32 heads of width 16 on cpu: ")
    assert "\n" not in sentence
    assert chosen(monkeypatch, bad) is PerDocument


def test_a_kernel_without_a_way_back_answers_where_no_gradient_is_wanted(
    monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    assert chosen(monkeypatch, WrongBack, case=CASE._replace(gradients=False)) is WrongBack
    assert not told


@pytest.mark.parametrize(
    "case",
    [
        CASE._replace(width=192, value_width=128, heads=2, groups=2, scale=0.07),  # DeepSeek's
        CASE._replace(width=100, value_width=100, dtype=torch.bfloat16),
        CASE._replace(width=256, value_width=256, heads=8, groups=1),
    ],
)
def test_the_last_resort_passes_every_trial(monkeypatch: pytest.MonkeyPatch, told: list[str], case: Case) -> None:
    assert chosen(monkeypatch, Fast, case=case) is Fast
    assert not told


def test_a_trial_is_held_once_for_each_case(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[int, ...]] = []

    def build(pieces: Pieces, _device: torch.device) -> Kernel:
        built.append(pieces.lengths)
        return Fast(pieces)

    monkeypatch.setattr(kernel_choice, "CANDIDATES", [Candidate("counted", build, lambda _case: True)])
    for _ in range(3):
        build_kernel(PIECES, CASE)
    assert len(built) == 3 + 3
    assert built[3:] == [PIECES.lengths] * 3
    build_kernel(PIECES, CASE._replace(dtype=torch.bfloat16))
    build_kernel(PIECES, CASE._replace(groups=4))
    assert len(built) == 3 + 3 + 2 * (3 + 1)


def test_dropout_is_left_to_the_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, Fast, case=CASE._replace(dropout=True)) is PerDocument


def test_a_pass_chooses_by_what_its_layers_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of one pass may differ in their widths: the kernel of the first is not everyone's."""
    cases: list[Case] = []

    def suits(case: Case) -> bool:
        cases.append(case)
        return False

    monkeypatch.setattr(kernel_choice, "CANDIDATES", [Candidate("noted", lambda pieces, _: Fast(pieces), suits)])
    attending = Packed([3, 5])
    for width in (16, 16, 32):
        tensors = [torch.randn(1, heads, 8, width) for heads in (4, 2, 2)]
        attending.attend(0, tensors[0], tensors[1], tensors[2], None, 0.0)
    assert [case.width for case in cases] == [16, 32]


@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_a_trial_leaves_the_pass_under_way_alone(monkeypatch: pytest.MonkeyPatch, checkpointing: str) -> None:
    """It is held in the middle of a forward pass, whose checkpointing must not record it."""
    gradients: list[Tensor] = []
    for candidates in ([], [candidate(WrongBack, f"wrong under {checkpointing}"), candidate(Fast)]):
        monkeypatch.setattr(kernel_choice, "CANDIDATES", candidates)
        kernel_choice.why_not_kernel.cache_clear()
        language: Any = tiny_language("llama").train()
        language.set_attn_implementation(NAME)
        set_computing(language, checkpointing)
        hidden = torch.linspace(-1, 1, 8 * 32).reshape(1, 8, 32).requires_grad_()
        attending = Packed([3, 5])
        positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4]])
        out = language.base_model(
            inputs_embeds=hidden, position_ids=positions, use_cache=False, attending=attending
        ).last_hidden_state
        gradients += torch.autograd.grad(out.square().sum(), hidden)
    torch.testing.assert_close(gradients[0], gradients[1])


def strict_varlen(query: Tensor, key: Tensor, value: Tensor, *spans: Any, **given: Any) -> Tensor:
    """As the CUDA kernel is: one width for all, a multiple of 8, up to 256."""
    assert query.shape[2] == key.shape[2] == value.shape[2] <= 256
    assert query.shape[2] % 8 == 0
    return reference_varlen(query, key, value, *spans, **given)


def scale_less(
    query: Tensor, key: Tensor, value: Tensor, a: Any, b: Any, c: int, d: int, *, window_size: Any
) -> Tensor:
    return strict_varlen(query, key, value, a, b, c, d, window_size=window_size)


@pytest.mark.parametrize("attention", [strict_varlen, scale_less])
@pytest.mark.parametrize(
    ("width", "value_width", "scale"), [(192, 128, None), (100, 100, None), (12, 20, 0.4), (16, 16, 0.2)]
)
def test_the_variable_length_kernel_takes_any_width(
    attention: Callable[..., Tensor], width: int, value_width: int, scale: float | None
) -> None:
    """Zeros fill what its widths lack."""
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, 2, 8, width, generator=generator) for _ in range(2))
    value = torch.randn(1, 2, 8, value_width, generator=generator)
    found = Varlen(PIECES, CPU, attention)(query, key, value, scale, 0.0)
    torch.testing.assert_close(found, PerDocument(PIECES)(query, key, value, scale, 0.0))


def test_a_gpu_tries_the_variable_length_kernel_in_16_bits_and_nothing_in_32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU: what one card lacks, its trial says. Nothing is tried that has to be compiled first."""
    tried: list[tuple[str, torch.dtype]] = []

    def fails(candidate: Candidate, case: Case) -> str:
        tried.append((candidate.name, case.dtype))
        return "no kernel image is available"

    monkeypatch.setattr(kernel_choice, "why_not_kernel", fails)
    for dtype in (torch.bfloat16, torch.float32):
        assert type(build_kernel(PIECES, CASE._replace(device=torch.device("cuda", 0), dtype=dtype))) is PerDocument
    assert tried == [("variable-length attention", torch.bfloat16)]
    assert [one.build for one in kernel_choice.CANDIDATES] == [Varlen]
