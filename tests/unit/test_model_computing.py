"""What a process asks of its machine before it trains."""

from __future__ import annotations

import subprocess
import sys

import pytest

from seetell.model.pieces import varlen_attention

ASK = """
import resource, sys, torch
from seetell.model.computing import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.empty(64 * 2**20, dtype=torch.uint8).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_memory_that_was_freed_is_taken_again() -> None:
    def faults(how: str) -> int:
        asked = subprocess.run([sys.executable, "-c", ASK, how], capture_output=True, text=True, check=True)
        return int(asked.stdout)

    assert faults("kept") < faults("given back") / 2


def test_selective_checkpointing_keeps_attention_that_is_registered_late() -> None:
    """In a process of its own, where nothing has used the variable-length kernel before the blocks run."""
    asked = """
import torch
from seetell.model.computing import _policy
from seetell.model.pieces import varlen_attention
if varlen_attention() is not None:
    print(_policy(None, torch.ops.torch_attn._varlen_attn.default).name)
print(_policy(None, torch.ops.aten.exp.default).name)
"""
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert told.split() == ([] if varlen_attention() is None else ["MUST_SAVE"]) + ["PREFER_RECOMPUTE"]
