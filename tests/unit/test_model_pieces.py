"""Who sees whom: every kernel gives what one dense mask over the whole row gives."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from seetell.model.pieces import PerDocument, Varlen, only_rows, varlen_attention, whole_documents

HEADS, GROUPS, WIDTH = 4, 2, 8


@st.composite
def rows_of_documents(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    """Lengths, parents and a choice of rows: any row of documents, some of which continue an earlier one."""
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=6))
    parents: list[int] = []
    for number in range(len(lengths)):
        roots = [i for i in range(number) if parents[i] == -1]
        parents.append(draw(st.sampled_from([-1, *roots])))
    chosen = draw(st.lists(st.booleans(), min_size=sum(lengths), max_size=sum(lengths)))
    return lengths, parents, [i for i, wanted in enumerate(chosen) if wanted]


def dense(lengths: list[int], parents: list[int]) -> Tensor:
    """[T, T]: whom a token may see, said in the plainest way."""
    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    own = (document[:, None] == document[None, :]) & torch.ones(sum(lengths), sum(lengths), dtype=torch.bool).tril()
    return own | (torch.tensor(parents)[document][:, None] == document[None, :])


def tensors(tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    shapes = ((HEADS, tokens), (GROUPS, tokens), (GROUPS, tokens))
    made = [torch.randn(1, *shape, WIDTH, dtype=torch.float64, generator=generator) for shape in shapes]
    return made[0].requires_grad_(), made[1].requires_grad_(), made[2].requires_grad_()


def reference_varlen(
    query: Tensor, key: Tensor, value: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int, **given: Any
) -> Tensor:
    """What the CUDA kernel promises: causal by run, the last query seeing the last key."""
    assert given.pop("window_size") == (-1, 0)
    assert max_q == int(cu_q.diff().max())
    assert max_k == int(cu_k.diff().max())
    out = []
    for i in range(len(cu_q) - 1):
        q = query[cu_q[i] : cu_q[i + 1]].transpose(0, 1)
        k, v = (one[cu_k[i] : cu_k[i + 1]].transpose(0, 1) for one in (key, value))
        mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(k.shape[1] - q.shape[1])
        out.append(functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, **given).transpose(0, 1))
    return torch.cat(out)


@settings(max_examples=60, deadline=None)
@given(rows_of_documents())
def test_every_kernel_sees_as_the_dense_mask(case: tuple[list[int], list[int], list[int]]) -> None:
    lengths, parents, rows = case
    query, key, value = tensors(sum(lengths))
    scale = 0.3
    expected = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=dense(lengths, parents), scale=scale, enable_gqa=True
    ).transpose(1, 2)
    whole = whole_documents(lengths, parents)
    some = only_rows(whole, torch.tensor(rows, dtype=torch.int64))
    assert sum(some.queries) == len(rows)
    for pieces, wanted in ((whole, list(range(sum(lengths)))), (some, rows)):
        asked = query[:, :, wanted]
        found = PerDocument(pieces)(asked, key, value, scale, 0.0)
        torch.testing.assert_close(found, expected[:, wanted])
        if wanted:
            gradients = torch.autograd.grad(found.square().sum(), (query, key, value), retain_graph=True)
            truth = torch.autograd.grad(expected[:, wanted].square().sum(), (query, key, value), retain_graph=True)
            for one, other in zip(gradients, truth, strict=True):
                torch.testing.assert_close(one, other)
            varlen = Varlen(pieces, torch.device("cpu"), reference_varlen)
            torch.testing.assert_close(varlen(asked, key, value, scale, 0.0), expected[:, wanted])


def test_this_torch_has_the_variable_length_kernel_and_takes_what_it_is_given() -> None:
    attention = varlen_attention()
    assert attention is not None
    inspect.signature(attention).bind(*[None] * 5, 1, 1, window_size=(-1, 0), scale=1.0)
