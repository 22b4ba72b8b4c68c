"""The cross-entropy that keeps one tensor of logits: torch's numbers, and no silent second use."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from seetell.train import loss
from seetell.train.loss import CrossEntropy


def rows(count: int, vocabulary: int, kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states whose head gives the logits, targets, and a weight for each loss."""
    generator = torch.Generator().manual_seed(count * 1000 + vocabulary)
    hidden = torch.randn(count, 8, generator=generator, dtype=torch.float64).to(kind).requires_grad_()
    targets = torch.randint(0, vocabulary, (count,), generator=generator)
    return hidden, targets, torch.rand(count, generator=generator, dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 100), st.sampled_from([1.0, 1e4]))
def test_loss_and_gradients_are_torchs(count: int, vocabulary: int, chunk: int, scale: float) -> None:
    hidden, targets, weight = rows(count, vocabulary, torch.float64)
    head = (torch.randn(vocabulary, 8, dtype=torch.float64) * scale).requires_grad_()
    expected = functional.cross_entropy(hidden @ head.T, targets, reduction="none")
    truth = torch.autograd.grad((expected * weight).sum(), (hidden, head))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "CHUNK_CPU", chunk)
        found = CrossEntropy.apply(hidden @ head.T, targets)
        gradients = torch.autograd.grad((found * weight).sum(), (hidden, head))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients, truth)


def test_in_bfloat16_losses_are_in_float32_and_gradients_are_rounded_once() -> None:
    hidden, targets, _ = rows(6, 50, torch.bfloat16)
    head = torch.randn(50, 8, dtype=torch.bfloat16)
    logits = hidden @ head.T
    expected = functional.cross_entropy(logits.float(), targets, reduction="none")
    (truth,) = torch.autograd.grad(expected.sum(), logits, retain_graph=True)
    found = CrossEntropy.apply(logits, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert torch.equal(gradient, truth)


def test_a_second_backward_is_refused() -> None:
    hidden, targets, _ = rows(3, 5, torch.float32)
    total = CrossEntropy.apply(hidden @ torch.ones(8, 5), targets).sum()
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()
