"""A token more costs what its numbers cost: little beside attention is done at each layer, one wait a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from seetell.infer.sampling import Sampling, choose, new_generator
from seetell.model.cache import Decode, KeyValueCache, Prefill

CPU = torch.device("cpu")
HEADS, GROUPS, WIDTH = 8, 2, 16
LENGTHS = (5, 9, 7)


class Counted(TorchDispatchMode):
    """Counts the operations that reach a device."""

    def __init__(self) -> None:
        super().__init__()
        self.ops: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        self.ops[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def tensors(rows: int, tokens: int, seed: int) -> list[Tensor]:
    """Queries, keys and values as layers hand them on: [rows, heads, tokens, E], a view of [rows, tokens, heads, E]."""
    chance = torch.Generator().manual_seed(seed)
    sides = (HEADS, GROUPS, GROUPS)
    return [torch.randn(rows, tokens, heads, WIDTH, generator=chance).transpose(1, 2) for heads in sides]


def filled(slots: Sequence[int], count: int) -> KeyValueCache:
    cache = KeyValueCache(count, 32)
    prefill = Prefill(LENGTHS[: len(slots)], cache, slots)
    query, key, value = tensors(1, sum(LENGTHS[: len(slots)]), 0)
    prefill.attend(0, query, key, value, None, 0.0)
    prefill.finish()
    return cache


def decoded(slots: Sequence[int], count: int) -> tuple[Tensor, Counter[str]]:
    """Three tokens a row, and the operations of the last one's second layer of equal shape."""
    cache, out, ops = filled(slots, count), [], Counter[str]()
    for step in range(3):
        decode = Decode(cache, slots, CPU)
        query, key, value = tensors(len(slots), 1, step + 1)
        decode.attend(0, query, key, value, None, 0.0)
        with Counted() as counted:
            out.append(decode.attend(0, query, key, value, None, 0.0))
        decode.finish()
        ops = counted.ops
    return torch.stack(out), ops


def test_rows_in_order_are_attended_where_they_lie() -> None:
    _, ops = decoded((0, 1, 2), 3)
    views = ("select", "view", "slice")
    assert {name: count for name, count in ops.items() if name not in views} == {
        "index_put_": 2,  # keys and values
        "_scaled_dot_product_flash_attention_for_cpu": 1,
    }
    assert sum(ops.values()) <= 9


@pytest.mark.parametrize(("slots", "count"), [((0, 1, 2), 5), ((2, 0, 1), 3), ((4, 1, 3), 6)])
def test_where_rows_lie_changes_no_bit(slots: tuple[int, ...], count: int) -> None:
    assert torch.equal(decoded(slots, count)[0], decoded((0, 1, 2), 3)[0])


def test_the_mask_is_made_once_and_begins_each_row_at_a_multiple_of_eight() -> None:
    decode = Decode(filled((0, 1, 2), 3), (0, 1, 2), CPU)
    mask = decode._mask(torch.bfloat16, 4)
    assert decode._mask(torch.bfloat16, 4) is mask
    assert mask.shape == (3, 1, 4, 10)
    assert [stride % 8 for stride in mask.stride()[:3]] == [0, 0, 0]
    assert mask.isfinite().sum(dim=3).tolist() == [[[6] * 4], [[10] * 4], [[8] * 4]]


def test_a_gpu_builds_no_plan_for_every_length() -> None:
    """cuDNN's attention, which torch prefers on some cards, would build one for each token more."""
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_rows_that_draw_come_to_the_host_together() -> None:
    logits = torch.randn(6, 50, generator=new_generator(9))
    wishes = [Sampling(temperature=float(seed % 3), seed=seed) for seed in range(6)]
    with Counted() as counted:
        choose(logits, wishes, [new_generator(wish.seed) for wish in wishes])
    assert counted.ops["_to_copy"] == 1
