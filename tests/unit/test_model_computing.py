"""What a process asks of its machine before it trains."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import pytest
import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from seetell.model.computing import _policy, can_compile
from seetell.model.pieces import compiled_region, varlen_attention

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
"""
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert told.strip() in ("MUST_SAVE", "" if varlen_attention() is None else "MUST_SAVE")


@pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="there is no compiler here")
@pytest.mark.filterwarnings("ignore")  # what the compiler imports
def test_selective_checkpointing_does_not_run_compiled_attention_again() -> None:
    runs: list[int] = []

    @torch.library.custom_op("seetell_tests::attention", mutates_args={})
    def attention(query: torch.Tensor) -> torch.Tensor:
        runs.append(1)
        return query.clone()

    attention.register_fake(torch.empty_like)
    attention.register_autograd(lambda _, gradient: gradient)
    compiled = compiled_region(attention)
    query = torch.ones(4, requires_grad=True)
    contexts = partial(create_selective_checkpoint_contexts, _policy)
    checkpoint(lambda q: compiled(q * 2).exp(), query, use_reentrant=False, context_fn=contexts).sum().backward()
    assert runs == [1]
    assert _policy(None, torch.ops.aten.exp.default) == CheckpointPolicy.PREFER_RECOMPUTE
