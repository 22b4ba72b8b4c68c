"""Threads beside the trainer compute alone, and nobody else notices."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

from seetell.train.threads import threads_beside


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
