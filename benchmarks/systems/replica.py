"""A replica of LLaVA's own training loop on today's torch: written anew after what it does, not its code.

What is replicated: rows are padded by the collator with one placeholder for the picture, then taken apart, spliced
with the picture's features one by one in Python, and padded again; a row without a picture has the tower look at a
black one; the tower runs whole; logits of all rows in float32; checkpointing in both stages; in stage 2 its sampler,
which groups by modality and length and then deals each large batch so that the parts' lengths are even, by which
each micro-batch holds long and short rows alike. What is not: the loss is the mean over a step's tokens, as in
today's Trainer, where LLaVA's of that time was a mean of micro-batches' means.

Source  Liu et al. 2023, arXiv:2310.03744, and the published code's behaviour.

Shapes  B rows, n their padded length, N pictures, P slots of one, D language width.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler
from transformers import LlavaForConditionalGeneration

from benchmarks.systems.huggingface import Loss
from benchmarks.systems.rows import IGNORED, Row, Rows
from benchmarks.systems.sizes import Size, same_weights
from benchmarks.systems.trainer import Flags, RowsOf, TimedTrainer, TrainerSystem

PLACEHOLDER = -200
MICRO_BATCH = 16


class Replica(nn.Module):
    """Tower, connector and language model with the splice between."""

    accepts_loss_kwargs = True

    def __init__(self, llava: LlavaForConditionalGeneration) -> None:
        super().__init__()
        parts = cast(Any, llava.model)
        self.tower, self.connector, self.language = (
            parts.vision_tower,
            parts.multi_modal_projector,
            parts.language_model,
        )
        self.head = llava.lm_head
        name = "activation_checkpointing_enable"  # what transformers 5.17 calls gradient_checkpointing_enable
        getattr(self.language, name, self.language.gradient_checkpointing_enable)()

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor,
        attention_mask: Tensor,
        images: Tensor,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Loss:
        """[B, n] three times, [B, 3, H, W]"""
        with torch.no_grad():
            seen = self.tower(images.to(self.head.weight.dtype), output_hidden_states=True).hidden_states[-2][:, 1:]
        embeddings, labels, mask, positions = self._splice(input_ids, labels, attention_mask, self.connector(seen))
        hidden = self.language(
            inputs_embeds=embeddings, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        logits = self.head(hidden).float()[:, :-1].flatten(0, 1)  # [B (n - 1), vocabulary]
        targets = labels[:, 1:].flatten()
        total = functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
        count = (targets != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return Loss(total / count)

    def _splice(
        self, ids: Tensor, labels: Tensor, attention_mask: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Row by row: the words' embeddings, the picture's features in the placeholder's place, padded once more."""
        table = self.language.get_input_embeddings()
        rows: list[tuple[Tensor, Tensor]] = []
        for words, learnt, real, feature in zip(ids, labels, attention_mask.bool(), features, strict=True):
            words, learnt = words[real], learnt[real]
            places = torch.where(words == PLACEHOLDER)[0].tolist()
            if not places:  # the black picture's features stay in the graph, with none of their rows
                rows.append((torch.cat([table(words), feature[:0].to(table.weight.dtype)]), learnt))
                continue
            (place,) = places
            before, after = table(words[:place]), table(words[place + 1 :])
            ignored = learnt.new_full((len(feature),), IGNORED)
            rows.append((
                torch.cat([before, feature.to(before.dtype), after]),
                torch.cat([learnt[:place], ignored, learnt[place + 1 :]]),
            ))  # fmt: skip
        lengths = [len(embedding) for embedding, _ in rows]
        mask = torch.arange(max(lengths), device=ids.device) < torch.tensor(lengths, device=ids.device)[:, None]
        return (
            pad_sequence([embedding for embedding, _ in rows], batch_first=True),
            pad_sequence([label for _, label in rows], batch_first=True, padding_value=IGNORED),
            mask,
            torch.arange(max(lengths), device=ids.device).expand_as(mask) * mask,
        )


class EvenParts(Sampler[int]):
    """LLaVA's order for stage 2. `lengths` are words, negative for rows without a picture.

    Pictured and plain rows are shuffled apart and cut into large batches of `parts` micro-batches. In each the rows
    are sorted and, the longest first, dealt to the part that holds the least. What is left over of both kinds ends
    up together in the last batch.
    """

    def __init__(self, lengths: Sequence[int], micro_batch: int, parts: int, seed: int = 0) -> None:
        self.lengths, self.micro_batch, self.parts = lengths, micro_batch, parts
        self.chance = random.Random(seed)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        pictured = [i for i, length in enumerate(self.lengths) if length > 0]
        plain = [i for i, length in enumerate(self.lengths) if length <= 0]
        if not pictured or not plain:
            return iter([i for batch in self._batches(pictured or plain) for i in batch])
        kinds = [self._batches(pictured), self._batches(plain)]
        rest = [i for batches in kinds for i in batches[-1]]
        whole = [batch for batches in kinds for batch in batches[:-1]]
        self.chance.shuffle(whole)
        return iter([i for batch in [*whole, sorted(rest)] for i in batch])

    def _batches(self, rows: list[int]) -> list[list[int]]:
        """Large batches, each in the order of its even parts."""
        rows = list(rows)
        self.chance.shuffle(rows)
        large = self.micro_batch * self.parts
        return [self._dealt(rows[start : start + large]) for start in range(0, len(rows), large)]

    def _dealt(self, rows: Sequence[int]) -> list[int]:
        longest_first = sorted(rows, key=lambda row: -abs(self.lengths[row]))
        if len(rows) % self.parts:
            return [row for part in range(self.parts) for row in longest_first[part :: self.parts]]
        room = len(rows) // self.parts
        hands: list[list[int]] = [[] for _ in range(self.parts)]
        held = [0] * self.parts
        for row in longest_first:
            part = min((p for p in range(self.parts) if len(hands[p]) < room), key=lambda p: held[p])
            hands[part].append(row)
            held[part] += abs(self.lengths[row])
        return [row for hand in hands for row in hand]


class ReplicaTrainer(TimedTrainer):
    """Stage 2 in LLaVA's order, stage 1 in a random one."""

    grouped = False

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if not self.grouped:
            return super()._get_train_sampler(train_dataset)
        rows = cast(RowsOf, train_dataset or self.train_dataset).rows
        lengths = [words_of(row) if row.picture >= 0 else -words_of(row) for row in rows]
        return EvenParts(lengths, self.args.train_batch_size, self.args.gradient_accumulation_steps)


class GroupedReplicaTrainer(ReplicaTrainer):
    grouped = True


def words_of(row: Row) -> int:
    """A row's tokens without its picture's slots, at least 1."""
    return max(1, len(_short(row)[0]) - 1)


def llava_replica(llava: LlavaForConditionalGeneration, size: Size, stage: int) -> TrainerSystem:
    own = same_weights(llava)
    model = Replica(own)
    flags = Flags(MICRO_BATCH, checkpointing=True, sampling="random")
    trainer = GroupedReplicaTrainer if stage == 2 else ReplicaTrainer

    def collate(rows: Rows) -> Callable[[list[dict[str, Any]]], dict[str, Tensor]]:
        return lambda some: _collate(rows, size, [one["row"] for one in some])

    return ReplicaSystem("llava-replica", model, model.connector, collate, flags, trainer)


class ReplicaSystem(TrainerSystem):
    """Checkpoints by itself: the Trainer's flag asks for a transformers model."""

    @property
    def told(self) -> str:
        order = "even parts" if self.trainer is GroupedReplicaTrainer else "random"
        return f"micro-batch {self.flags.micro_batch}, checkpointing on, {order} order"

    def _fit(self, *given: Any, **named: Any) -> Any:
        return super()._fit(*given, gradient_checkpointing=False, **named)


def _collate(rows: Rows, size: Size, some: Sequence[Row]) -> dict[str, Tensor]:
    """Padded ids with one placeholder for each picture, and a picture for each row, black where it has none."""
    short = [_short(row) for row in some]
    black = torch.zeros(3, size.side_px, size.side_px)
    return {
        "input_ids": pad_sequence([ids for ids, _ in short], batch_first=True),
        "labels": pad_sequence([labels for _, labels in short], batch_first=True, padding_value=IGNORED),
        "attention_mask": pad_sequence([torch.ones_like(ids) for ids, _ in short], batch_first=True),
        "images": torch.stack([black if row.picture < 0 else rows.normalized[row.picture] for row in some]),
    }


def _short(row: Row) -> tuple[Tensor, Tensor]:
    """A row's ids and labels with one placeholder for the picture's slots."""
    ids, labels = row.ids, row.labels
    if row.picture < 0:
        return ids, labels
    first = row.first_slot
    place = ids.new_full((1,), PLACEHOLDER)
    kept = torch.cat([ids[:first], place, ids[row.prefix :]])
    return kept, torch.cat([labels[:first], labels.new_full((1,), IGNORED), labels[row.prefix :]])
