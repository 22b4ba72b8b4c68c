"""Who sits where in the key-value cache, and what of a new prompt is already there.

A slot remembers the tokens whose keys and values it holds, also after its answer is finished. A new prompt
is compared with every slot; its longest beginning found anywhere is copied, or kept in place, and only
the rest is computed. One rule therefore serves three wants: the next turn of a chat, many questions about
one picture, and a common system prompt.

Tokens are compared as whole numbers. A picture's slot tokens all have one id, so each is replaced by a
negative number that belongs to that picture and place alone (`Pictures.marks`): equal numbers mean equal
keys and values. No torch here: this is bookkeeping.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Marks = NDArray[np.int64]
SHARE_AT_LEAST = 16  # a shorter beginning is not worth waiting for: it costs another pass through the model
EMPTY = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a prompt goes: the first `known` tokens come from slot `donor`; `wave` is when the rest may be computed.

    A donor that is itself computed in wave w can be copied after it, so its followers are in wave w + 1.
    """

    slot: int
    donor: int
    known: int
    wave: int


class SlotTable:
    """The slots' contents and their tenants; `seat` and `append` are all that changes them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._marks: Marks = np.full((count, 256), EMPTY, dtype=np.int64)
        self._held = np.zeros(count, dtype=np.int64)
        self._busy = np.zeros(count, dtype=bool)
        self._used_at = np.arange(count, dtype=np.int64)
        self._ready = np.zeros(count, dtype=np.int64)  # tokens that are computed, or will be before wave 0
        self._wave = np.zeros(count, dtype=np.int64)
        self._clock = count

    @property
    def free(self) -> int:
        return int((~self._busy).sum())

    def seat(self, marks: Marks, reusable: int) -> Seat:
        """A free slot for a prompt, and where its longest known beginning is: at most its first `reusable` tokens."""
        self._fit(len(marks))
        donor, known, wave = self._longest_beginning(marks, reusable)
        slot = donor if known and self._may_move_in(donor, known) else self._oldest_free()
        self._marks[slot, : len(marks)] = marks
        self._held[slot] = len(marks)
        self._busy[slot] = True
        self._ready[slot] = known if wave == 0 else 0
        self._wave[slot] = wave
        self._touch(slot)
        return Seat(slot, donor if known else slot, known, wave)

    def computed(self) -> None:
        """Every seated prompt has been through the model."""
        self._ready[:] = self._held
        self._wave[:] = 0

    def append(self, slot: int, mark: int) -> None:
        """One more token of this slot has been through the model."""
        held = int(self._held[slot])
        self._fit(held + 1)
        self._marks[slot, held] = mark
        self._held[slot] = self._ready[slot] = held + 1

    def leave(self, slot: int) -> None:
        """The tenant goes; what the slot holds stays until somebody needs the room."""
        self._busy[slot] = False
        self._touch(slot)

    def clear(self) -> None:
        """Every tenant goes and nothing that is held may be used again: the weights or the cache have changed."""
        self._busy[:] = False
        self._held[:] = self._ready[:] = 0
        self._wave[:] = 0

    def _longest_beginning(self, marks: Marks, reusable: int) -> tuple[int, int, int]:
        """(slot, length, wave) of the longest beginning of a prompt that some slot holds or will hold."""
        differs = self._marks[:, : len(marks)] != marks
        common = np.where(differs.any(axis=1), differs.argmax(axis=1), len(marks))
        common = np.minimum(np.minimum(common, self._held), reusable)
        wave = np.where(common <= self._ready, 0, self._wave + 1)
        common = np.where((wave > 0) & (common < SHARE_AT_LEAST), 0, common)
        best = int(np.lexsort((wave, -common))[0])
        known = int(common[best])
        return (best, known, int(wave[best])) if known else (best, 0, 0)

    def _may_move_in(self, donor: int, known: int) -> bool:
        """Take the donor's own slot unless that would lose more than it saves."""
        return not self._busy[donor] and 2 * known >= self._held[donor]

    def _oldest_free(self) -> int:
        free = np.flatnonzero(~self._busy)
        if not len(free):
            raise RuntimeError("every slot is taken; a prompt may be seated only when one is free")
        return int(free[self._used_at[free].argmin()])

    def _touch(self, slot: int) -> None:
        self._used_at[slot] = self._clock
        self._clock += 1

    def _fit(self, length: int) -> None:
        missing = length - self._marks.shape[1]
        if missing > 0:
            extra = np.full((len(self._marks), max(missing, self._marks.shape[1])), EMPTY, dtype=np.int64)
            self._marks = np.concatenate((self._marks, extra), axis=1)
