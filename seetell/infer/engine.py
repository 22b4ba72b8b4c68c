"""A running batch of answers: rows join when there is a free slot and leave when they are done.

Each `step` lets waiting prompts in (those that enter together are prefilled together, packed up to a token
budget), then everybody who is running says one token. A row has its own position, generator, stop rules
and budget; nothing in it depends on who else is running. What a new prompt shares with something a slot
already holds is not computed again (`slots.py`), and no picture is seen twice (`pictures.py`).

The engine is driven by whoever wants words: iterating a `Stream`, or `generate`, steps it. One thread.

Shapes  T tokens of a prefill, K rows in it, R running rows, N pictures, P slots of a picture, D, V.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from seetell.errors import BadInput, Failed
from seetell.infer.cache import GrowingCache
from seetell.infer.pictures import Picture, Pictures
from seetell.infer.sampling import Sampling, choose, new_generator
from seetell.infer.slots import Marks, Seat, SlotTable
from seetell.infer.words import Words
from seetell.model.limits import longest_document
from seetell.model.vlm import VLM
from seetell.types import Image, Rejected

if TYPE_CHECKING:
    from seetell.encode.processor import Processor
    from seetell.encode.sample import Sample

FinishReason = Literal["stop", "length"]
GREEDY = Sampling()
PROMPTS_AHEAD_PER_SLOT = 16  # prompts read ahead, so that those about one picture can be asked together


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished answer. `prompt_tokens` counts the pictures' slots too; `tokens` leaves out the stop token."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    image_tokens: int
    tokens: int


@dataclass(slots=True, eq=False)
class Row:
    """One answer in the making."""

    ids: list[int]  # the prompt, then what was said; the last one is not in the cache yet
    marks: Marks
    pictures: tuple[Picture, ...]
    settings: Sampling
    generator: torch.Generator
    words: Words
    prompt_tokens: int
    room: int  # how many tokens may be said at most
    slot: int = -1
    finish_reason: FinishReason | None = None
    pieces: deque[str] = field(default_factory=deque)


class Stream:
    """An answer as it comes: iterate for its pieces, or take the whole with `result`."""

    def __init__(self, engine: Engine, row: Row) -> None:
        self._engine = engine
        self._row = row

    def __iter__(self) -> Iterator[str]:
        while True:
            while self._row.pieces:
                yield self._row.pieces.popleft()
            if self._row.finish_reason is not None:
                return
            self._step()

    def result(self) -> Completion:
        """Waits for the end of the answer."""
        while self._row.finish_reason is None:
            self._step()
        return self._engine.completion(self._row)

    def cancel(self) -> None:
        """Leaves the batch; what was said so far stands, as if the length had been reached."""
        self._engine.cancel(self._row)

    def _step(self) -> None:
        if not self._engine.step() and self._row.finish_reason is None:
            raise Failed("This answer was lost when an earlier one failed: ask again.")


class Engine:
    """Answers prompts with one model, `slots` of them at a time."""

    def __init__(self, vlm: VLM, processor: Processor, slots: int = 16, prefill_tokens: int = 4096) -> None:
        self.vlm = vlm
        self.processor = processor
        self.limit = longest_document(vlm.language.config)
        self.context_tokens = sys.maxsize if self.limit is None else self.limit.tokens
        self.pictures = Pictures(vlm, processor.image_processor)
        self._prefill_tokens = prefill_tokens
        self._table = SlotTable(slots)
        self._cache = GrowingCache(slots)
        self._waiting: deque[Row] = deque()
        self._running: list[Row] = []

    def submit(self, prompt: Sample, settings: Sampling = GREEDY) -> Stream:
        """Queues a prompt. Raises BadInput for a picture that cannot be opened or a prompt beyond the context."""
        row = self._row(prompt, settings)
        if isinstance(row, Rejected):
            raise BadInput(row.detail)
        self._waiting.append(row)
        return Stream(self, row)

    def generate(
        self, prompts: Iterable[Sample | Rejected], settings: Sampling = GREEDY
    ) -> list[Completion | Rejected]:
        """All answers, in the order of their prompts; a prompt that cannot be answered gives its reason instead."""
        found = dict(self.finished(prompts, settings))
        return [found[number] for number in range(len(found))]

    def finished(
        self, prompts: Iterable[Sample | Rejected], settings: Sampling = GREEDY
    ) -> Iterator[tuple[int, Completion | Rejected]]:
        """Each answer with its prompt's number as soon as it is done, reading the prompts block by block."""
        coming = by_picture(prompts, PROMPTS_AHEAD_PER_SLOT * self._table.count)
        rows: dict[Row, int] = {}
        more = True
        try:
            while more or rows:
                while more and len(self._waiting) < self._table.free:
                    number, prompt = next(coming, (-1, None))
                    if prompt is None:
                        more = False
                        break
                    row = self._row(prompt, settings)
                    if isinstance(row, Rejected):
                        yield number, row
                        continue
                    rows[row] = number
                    self._waiting.append(row)
                self.step()
                for row in [row for row in rows if row.finish_reason is not None]:
                    yield rows.pop(row), self.completion(row)
        finally:
            for row in rows:
                self.cancel(row)

    @torch.no_grad()  # not inference_mode: the model may be one that is still learning
    def step(self) -> bool:
        """Lets in who waits, then everybody running says one token; false when nobody is left."""
        try:
            self._join()
            self._decode()
        except BaseException:
            # Interrupted between layers, what the cache holds is not what the table says: nothing of it is kept.
            self._running.clear()
            self._table.clear()
            raise
        return bool(self._running or self._waiting)

    def cancel(self, row: Row) -> None:
        """Takes a row out, wherever it is."""
        if row.finish_reason is None:
            if row in self._waiting:
                self._waiting.remove(row)
            self._finish(row, "length")

    def forget(self) -> None:
        """Drops what was seen and computed: call it when the weights have changed. Nobody may be running."""
        if self._running or self._waiting:
            raise RuntimeError("an engine forgets only when no answer is under way")
        self._table.clear()
        self.pictures.clear()

    def completion(self, row: Row) -> Completion:
        """The result of a finished row."""
        assert row.finish_reason is not None
        said = row.ids[row.prompt_tokens :]
        stopped = bool(said) and said[-1] in self.processor.stop_ids
        images = int((row.marks < 0).sum())
        return Completion(row.words.text, row.finish_reason, row.prompt_tokens, images, len(said) - stopped)

    def _row(self, prompt: Sample | Rejected, settings: Sampling) -> Row | Rejected:
        if isinstance(prompt, Rejected):
            return prompt
        ids: list[int] = prompt.ids.tolist()
        if not ids:
            sentence = "The prompt has no token: a template without words is asked with a picture alone."
            return Rejected(prompt.id, "empty prompt", sentence)
        if len(ids) >= self.context_tokens:
            why = "" if self.limit is None else f" ({self.limit.why})"
            sentence = (
                f"The prompt has {len(ids)} tokens and this model's context is {self.context_tokens}{why}: "
                "shorten it, or clear the conversation and ask again."
            )
            return Rejected(prompt.id, "too long", sentence)
        pictures: list[Picture] = []
        for image in prompt.images:
            picture = self.pictures.open(image)
            if isinstance(picture, Rejected):
                detail = f" ({picture.detail})" if picture.detail else ""
                return Rejected(prompt.id, picture.reason, f"{picture.id}: {picture.reason}{detail}.")
            pictures.append(picture)
        return Row(
            ids=ids,
            marks=marks_of(ids, self.vlm.image_id, pictures),
            pictures=tuple(pictures),
            settings=settings,
            generator=new_generator(settings.seed),
            words=Words(
                self.processor.tokenizer.decode,
                [text for text in (*self.processor.stop_strings, *settings.stop) if text],
            ),
            prompt_tokens=len(ids),
            room=min(settings.max_new_tokens, self.context_tokens - len(ids)),
        )

    def _join(self) -> None:
        """Seats waiting rows while there are slots and the token budget lasts; then prefills them, wave by wave."""
        waves: dict[int, list[tuple[Row, Seat]]] = {}
        budget = self._prefill_tokens
        while self._waiting and self._table.free and budget > 0:
            row = self._waiting.popleft()
            seat = self._table.seat(row.marks, reusable(row.marks))
            row.slot = seat.slot
            budget -= len(row.ids) - seat.known
            if seat.wave == 0:
                # At once: a later row may be seated in the donor's slot and write over what is copied here.
                self._cache.copy(seat.donor, seat.slot, seat.known)
            waves.setdefault(seat.wave, []).append((row, seat))
        self.pictures.see(picture for wave in waves.values() for row, _ in wave for picture in row.pictures)
        for number in sorted(waves):
            if number > 0:
                for row, seat in waves[number]:
                    self._cache.copy(seat.donor, row.slot, seat.known)
            self._prefill(waves[number])
        self._table.computed()

    def _decode(self) -> None:
        """One token more for everybody who is running."""
        if self._running:
            last = torch.tensor([row.ids[-1] for row in self._running], device=self.vlm.device)
            hidden = self.vlm.decode(last, self._cache, [row.slot for row in self._running])
            for row in self._running:
                self._table.append(row.slot, row.ids[-1])
            self._say(self._running, hidden)

    def _prefill(self, wave: Sequence[tuple[Row, Seat]]) -> None:
        """Computes what the slots do not know of these prompts, and the first token of each answer."""
        device = self.vlm.device
        ids: list[int] = []
        positions: list[int] = []
        lengths: list[int] = []
        features: list[Tensor] = []
        for row, seat in wave:
            ids += row.ids[seat.known :]
            positions += range(seat.known, len(row.ids))
            lengths.append(len(row.ids) - seat.known)
            features += new_features(row, seat.known)
        hidden = self.vlm.prefill(
            torch.tensor(ids, device=device),
            torch.tensor(positions, device=device),
            lengths,
            torch.stack(features) if features else None,
            self._cache,
            [row.slot for row, _ in wave],
        )
        rows = [row for row, _ in wave]
        self._running += rows
        self._say(rows, hidden)

    def _say(self, rows: Sequence[Row], hidden: Tensor) -> None:
        """hidden [R, D]: the next token of each row."""
        logits = self.vlm.logits(hidden)
        chosen = choose(logits, [row.settings for row in rows], [row.generator for row in rows])
        for row, token_id in zip(tuple(rows), chosen, strict=True):
            row.ids.append(token_id)
            row.room -= 1
            if token_id in self.processor.stop_ids:
                self._finish(row, "stop")
                continue
            piece = row.words.push(token_id)
            if piece:
                row.pieces.append(piece)
            if row.words.stopped:
                self._finish(row, "stop")
            elif row.room == 0:
                self._finish(row, "length")

    def _finish(self, row: Row, reason: FinishReason) -> None:
        row.finish_reason = reason
        if row in self._running:
            self._running.remove(row)
            self._table.leave(row.slot)
        piece = row.words.finish()
        if piece:
            row.pieces.append(piece)


def by_picture(prompts: Iterable[Sample | Rejected], block: int) -> Iterator[tuple[int, Sample | Rejected]]:
    """The prompts with their numbers; within each block those about the same pictures follow one another."""
    numbered = enumerate(prompts)
    while group := list(islice(numbered, block)):
        together: dict[tuple[Image, ...], list[tuple[int, Sample | Rejected]]] = {}
        for number, prompt in group:
            images = () if isinstance(prompt, Rejected) else prompt.images
            together.setdefault(images, []).append((number, prompt))
        yield from chain.from_iterable(together.values())


def marks_of(ids: Sequence[int], image_id: int, pictures: Sequence[Picture]) -> Marks:
    """The ids, with a picture's slots replaced by negative numbers of that picture's own."""
    marks = np.array(ids, dtype=np.int64)
    places = np.flatnonzero(marks == image_id)
    if len(pictures):
        per_picture = len(places) // len(pictures)
        own = np.array([picture.number for picture in pictures], dtype=np.int64)[:, None] * per_picture
        marks[places] = -1 - (own + np.arange(per_picture)).ravel()
    return marks


def reusable(marks: Marks) -> int:
    """How many tokens of a prompt may be taken from the cache: not the last, and no part of a picture that ends it."""
    text = np.flatnonzero(marks >= 0)
    last_is_text = len(text) and text[-1] == len(marks) - 1
    return len(marks) - 1 if last_is_text else (int(text[-1]) + 1 if len(text) else 0)


def new_features(row: Row, known: int) -> list[Tensor]:
    """[P, D] of each picture that lies in the part of the prompt that is computed now."""
    already = int((row.marks[:known] < 0).sum())
    total = int((row.marks < 0).sum())
    if not total:
        return []
    skipped = already * len(row.pictures) // total
    return [picture.features for picture in row.pictures[skipped:] if picture.features is not None]
