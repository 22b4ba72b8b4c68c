"""Token ids in, words out, as they come: what has been handed out is never taken back.

Held back until more is known: bytes that do not make a whole character yet, the beginning of what may
become a stop string, and space at either end of an answer. So the pieces joined are exactly the text of
the finished answer, no piece holds broken UTF-8, and none holds a part of a stop string.

Only the last few ids are decoded again for each new one, together with their neighbours on the left,
because a tokenizer may write a token differently at the start of a text than inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

BROKEN = "\N{REPLACEMENT CHARACTER}"


class Words:
    """One answer's text as it grows. `stopped` turns true when a stop string is met; nothing after it counts."""

    def __init__(self, decode: Callable[[list[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._window_start = 0  # ids decoded again as the left neighbours of what is new
        self._window_known = 0  # ids whose text is already in `_tail` or handed out
        self._tail = ""  # decoded, held back
        self._said = False
        self.text = ""
        self.stopped = False

    def push(self, token_id: int) -> str:
        """One more id; returns the words that are certain now and were not before."""
        self._ids.append(token_id)
        before = self._decode(self._ids[self._window_start : self._window_known])
        after = self._decode(self._ids[self._window_start :])
        if after.endswith(BROKEN):
            return ""
        self._window_start, self._window_known = self._window_known, len(self._ids)
        return self._take(after[len(before) :])

    def finish(self) -> str:
        """No more ids will come: what was held back and belongs to the answer."""
        before = self._decode(self._ids[self._window_start : self._window_known])
        after = self._decode(self._ids[self._window_start :])
        self._window_known = len(self._ids)
        piece = self._take(after[len(before) :].rstrip(BROKEN))
        rest, self._tail = self._tail.rstrip(), ""
        return piece + self._hand_out(rest)

    def _take(self, fresh: str) -> str:
        if self.stopped:
            return ""
        self._tail += fresh
        cut = min((at for at in (self._tail.find(stop) for stop in self._stop) if at >= 0), default=-1)
        if cut >= 0:
            piece, self._tail, self.stopped = self._tail[:cut].rstrip(), "", True
            return self._hand_out(piece)
        sure = len(self._tail) - self._maybe_stop()
        sure = len(self._tail[:sure].rstrip())
        piece, self._tail = self._tail[:sure], self._tail[sure:]
        return self._hand_out(piece)

    def _maybe_stop(self) -> int:
        """How many of the last characters may yet turn out to be the beginning of a stop string."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(self._tail)), longest, -1):
                if self._tail.endswith(stop[:length]):
                    longest = length
                    break
        return longest

    def _hand_out(self, piece: str) -> str:
        if not self._said:
            piece = piece.lstrip()
        self._said = self._said or bool(piece)
        self.text += piece
        return piece
