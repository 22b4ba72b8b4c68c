"""transformers' Trainer over the rows: what `hf-default`, `hf-plain`, `hf-tuned` and `llava-replica` share.

The Trainer itself runs, with its own sampler, accumulation, clipping and AdamW; what is added is a clock that starts
when it asks for its first batch and reads at the end of each optimizer step. Its loss is the mean over the supervised
tokens of a step (`num_items_in_batch`), as ours is.

Shapes  B rows of a micro-batch, n tokens of its longest.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from benchmarks.systems.measure import Gradients, Times, flat, synchronize
from benchmarks.systems.rows import IGNORED, Row, Rows

RATE = 1e-5


@dataclass(frozen=True)
class Flags:
    """How a system calls the Trainer. `sampling` is one of the Trainer's strategies."""

    micro_batch: int
    checkpointing: bool = False
    sampling: str = "random"
    optimizer: str = "adamw_torch_fused"


class RowsOf(Dataset[dict[str, object]]):
    """Rows as the Trainer's samplers want them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"input_ids": self.rows[index].ids, "row": self.rows[index]}


class TimedTrainer(Trainer):
    """The Trainer with a clock. `times` is filled while it trains."""

    times: Times
    began_s: float | None = None

    def get_batch_samples(self, *given: Any, **named: Any) -> Any:
        now_s = time.perf_counter()
        if self.began_s is None:
            self.began_s = now_s
        found = super().get_batch_samples(*given, **named)
        self.times.waited_s += time.perf_counter() - now_s
        return found


class Clock(TrainerCallback):
    """Reads the time at the end of each optimizer step."""

    def __init__(self, device: torch.device, times: Times) -> None:
        self.device, self.times = device, times
        self.trainer: TimedTrainer | None = None

    def on_step_end(self, *_: Any, **__: Any) -> None:
        synchronize(self.device)
        assert self.trainer is not None
        assert self.trainer.began_s is not None
        so_far_s = time.perf_counter() - self.trainer.began_s
        self.times.steps.append(so_far_s - self.times.seconds)
        self.times.seconds = so_far_s


class KeepGradients(TrainerCallback):
    """Keeps the connector's gradient before it is used."""

    def __init__(self, connector: nn.Module) -> None:
        self.connector = connector
        self.kept: Tensor | None = None

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.kept = flat(self.connector.parameters())


class TrainerSystem:
    """A model, how rows become its inputs, and the flags."""

    def __init__(
        self,
        name: str,
        model: nn.Module,
        connector: nn.Module,
        collate: Callable[[Rows], Callable[[list[dict[str, Any]]], dict[str, Tensor]]],
        flags: Flags,
        trainer: type[TimedTrainer] = TimedTrainer,
    ) -> None:
        self.name, self.model, self.connector = name, model, connector
        self.collate, self.flags, self.trainer = collate, flags, trainer
        self.weights = list(model.parameters())
        self.device, self.dtype = self.weights[0].device, self.weights[0].dtype

    @property
    def told(self) -> str:
        """The flags, for the table."""
        flags = self.flags
        parts = [f"micro-batch {flags.micro_batch}", f"checkpointing {'on' if flags.checkpointing else 'off'}"]
        return ", ".join([*parts, f"{flags.sampling} order"])

    def gradients(self, rows: Rows) -> Gradients:
        """One step over all rows, which moves nothing."""
        keep = KeepGradients(self.connector)
        trained = self._fit(rows, len(rows), [keep], learning_rate=0.0, max_grad_norm=0.0)
        assert keep.kept is not None
        return Gradients(float(trained.training_loss), keep.kept)

    def train(self, rows: Rows, samples_per_step: int) -> Times:
        """Steps over all rows, timed."""
        times = Times()
        self._fit(rows, samples_per_step, [Clock(self.device, times)], times)
        return times

    def _fit(
        self,
        rows: Rows,
        samples_per_step: int,
        callbacks: Sequence[TrainerCallback],
        times: Times | None = None,
        **changed: Any,
    ) -> Any:
        micro_batch = min(self.flags.micro_batch, samples_per_step)
        if samples_per_step % micro_batch:
            raise SystemExit(f"{self.name}: steps of {samples_per_step} are no whole micro-batches of {micro_batch}")
        named: dict[str, Any] = {
            "per_device_train_batch_size": micro_batch,
            "gradient_accumulation_steps": samples_per_step // micro_batch,
            "gradient_checkpointing": self.flags.checkpointing,
            "train_sampling_strategy": self.flags.sampling,
            "optim": self.flags.optimizer,
            "learning_rate": RATE,
            "lr_scheduler_type": "constant",
            "num_train_epochs": 1,
            "bf16": self.dtype == torch.bfloat16,
            "use_cpu": self.device.type == "cpu",
            "dataloader_num_workers": 0,  # the rows lie in memory already
            "dataloader_pin_memory": self.device.type == "cuda",
            "remove_unused_columns": False,
            "logging_strategy": "no",
            "save_strategy": "no",
            "disable_tqdm": True,
            "report_to": [],
            **changed,
        }
        with _quiet(), tempfile.TemporaryDirectory() as folder:
            trainer = self.trainer(
                self.model,
                TrainingArguments(folder, **named),
                data_collator=self.collate(rows),
                train_dataset=RowsOf(rows.rows),
                callbacks=list(callbacks),
            )
            trainer.remove_callback(PrinterCallback)
            trainer.times = Times() if times is None else times
            for clock in (one for one in callbacks if isinstance(one, Clock)):
                clock.trainer = trainer
            trained = trainer.train()
        self.forget_gradients()
        return trained

    def forget_gradients(self) -> None:
        for weight in self.weights:
            weight.grad = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the Trainer's advice on tokenizers and its closing lines."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.set_verbosity(before)


def padded(rows: Rows, with_mask: bool = True) -> Callable[[list[dict[str, Any]]], dict[str, Tensor]]:
    """Rows to the right-padded inputs of `LlavaForConditionalGeneration`."""

    def collate(some: list[dict[str, Any]]) -> dict[str, Tensor]:
        these: list[Row] = [one["row"] for one in some]
        inputs = {
            "input_ids": pad_sequence([row.ids for row in these], batch_first=True),  # [B, n]
            "labels": pad_sequence([row.labels for row in these], batch_first=True, padding_value=IGNORED),
        }
        if with_mask:
            inputs["attention_mask"] = pad_sequence([torch.ones_like(row.ids) for row in these], batch_first=True)
        pictures = [row.picture for row in these if row.picture >= 0]
        if pictures:
            inputs["pixel_values"] = rows.normalized[pictures]
        return inputs

    return collate
