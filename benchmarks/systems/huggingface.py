"""transformers' LLaVA under its Trainer, three times: as LLaVA's scripts call it, as its documentation does, and as
well as it can be called.

- `hf-default`  checkpointing on, random order, micro-batch 16, fused AdamW, logits of all rows, sdpa attention: the
                flags of LLaVA's published scripts.
- `hf-plain`    the documentation's fine-tuning example: checkpointing off, micro-batches of 4.
- `hf-tuned`    the best that flags and known tricks give: lengths grouped; checkpointing off; the tower under no_grad;
                logits of supervised rows alone, as TRL's chunked loss has them; no mask where padding stands on the
                right, so that attention takes its causal kernel; blocks compiled or not; and the micro-batch that was
                fastest of several in a trial of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlavaForConditionalGeneration

from benchmarks.systems.rows import IGNORED, Rows
from benchmarks.systems.sizes import same_weights
from benchmarks.systems.trainer import Flags, TrainerSystem, padded
from seetell.model.adapter import import_peft, lora_parameters

MICRO_BATCHES = (4, 8, 16, 32)


@dataclass
class Loss:
    """What the Trainer reads of a model's output."""

    loss: Tensor

    def __getitem__(self, key: object) -> Tensor:
        return self.loss


class SelectedRows(nn.Module):
    """LLaVA whose tower keeps no graph and whose head multiplies supervised rows alone."""

    accepts_loss_kwargs = True  # the Trainer then gives `num_items_in_batch`

    def __init__(self, llava: LlavaForConditionalGeneration) -> None:
        super().__init__()
        self.llava = llava
        tower = cast(Any, llava.model).vision_tower
        tower.forward = torch.no_grad()(tower.forward)

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor,
        pixel_values: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Loss:
        """[B, n], [B, n], [N, 3, H, W] -> the sum over supervised tokens, over the count of the whole step"""
        hidden = self.llava.model(input_ids=input_ids, pixel_values=pixel_values, use_cache=False).last_hidden_state
        targets = labels[:, 1:]  # [B, n - 1]
        learnt = targets != IGNORED
        logits = self.llava.lm_head(hidden[:, :-1][learnt]).float()  # [S, vocabulary]
        total = functional.cross_entropy(logits, targets[learnt], reduction="sum")
        return Loss(total / (learnt.sum() if num_items_in_batch is None else num_items_in_batch))


def hf_default(llava: LlavaForConditionalGeneration, rank: int = 0) -> TrainerSystem:
    return _system("hf-default", llava, Flags(16, checkpointing=True), rank)


def padded_system(llava: LlavaForConditionalGeneration, checkpointing: bool) -> TrainerSystem:
    """`hf-default` with or without its checkpointing."""
    return _system("padded", llava, Flags(16, checkpointing=checkpointing))


def hf_plain(llava: LlavaForConditionalGeneration, rank: int = 0) -> TrainerSystem:
    return _system("hf-plain", llava, Flags(4), rank)


def hf_tuned(
    llava: LlavaForConditionalGeneration,
    rows: Rows,
    samples_per_step: int,
    micro_batches: Sequence[int] = MICRO_BATCHES,
    compiling: Sequence[bool] = (False, True),
    rank: int = 0,
) -> TrainerSystem:
    """Tries every micro-batch, and compiled blocks with the best of them; keeps what was fastest."""
    best, best_s = None, float("inf")
    for compiled in compiling:
        for micro_batch in micro_batches if best is None else (best.flags.micro_batch,):
            tried = _tuned(llava, micro_batch, compiled, rank)
            try:
                if compiled or best is None:  # compiling, and the first call's own beginnings, are not timed
                    tried.train(rows.first(2 * samples_per_step), samples_per_step)
                began_s = time.perf_counter()
                tried.train(rows, samples_per_step)
                taken_s = time.perf_counter() - began_s
            except torch.OutOfMemoryError:
                taken_s = float("inf")
                tried.forget_gradients()
            if taken_s < best_s:
                best, best_s = tried, taken_s
    if best is None:
        raise SystemExit(f"hf-tuned: no micro-batch of {', '.join(map(str, micro_batches))} fits into the memory here.")
    for name, matrix in lora_parameters(best.model).items():
        if ".lora_B." in name:  # trials moved them, and every system begins from the same numbers
            matrix.data.zero_()
    return best


class Tuned(TrainerSystem):
    """Says what else than flags it has."""

    compiled = False

    @property
    def told(self) -> str:
        return f"{super().told}, tower under no_grad, supervised rows, blocks {'' if self.compiled else 'not '}compiled"


def _tuned(llava: LlavaForConditionalGeneration, micro_batch: int, compiled: bool, rank: int) -> Tuned:
    own = with_lora(same_weights(llava), rank)
    model = cast(Any, own.model)
    if compiled:
        for block in model.language_model.layers:
            block.compile(dynamic=True)
    flags = Flags(micro_batch, sampling="group_by_length")
    made = Tuned(
        "hf-tuned",
        SelectedRows(own),
        model.multi_modal_projector,
        lambda rows: padded(rows, with_mask=False),
        flags,
    )
    made.compiled = compiled
    return made


def with_lora(llava: LlavaForConditionalGeneration, rank: int) -> LlavaForConditionalGeneration:
    """peft's matrices beside every linear layer of the decoder, in float32, as peft puts them; none for rank 0."""
    if rank:
        peft = import_peft()
        decoder = cast(Any, llava.model).language_model
        linear = [name for name, part in decoder.named_modules() if isinstance(part, nn.Linear)]
        peft.inject_adapter_in_model(peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear), decoder)
        for matrix in lora_parameters(decoder).values():
            matrix.data = matrix.data.float()
    return llava


def _system(name: str, llava: LlavaForConditionalGeneration, flags: Flags, rank: int = 0) -> TrainerSystem:
    own = with_lora(same_weights(llava), rank)
    return TrainerSystem(name, own, cast(Any, own.model).multi_modal_projector, padded, flags)
