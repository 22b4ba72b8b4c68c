"""A wish to stop: Ctrl-C or SIGTERM, on any rank, which a run follows between two steps, saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from seetell.console import say
from seetell.train.ranks import Ranks


class Stop:
    """Remembers that the user or the system asked the run to end; the loop looks after each step."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def asked(self) -> bool:
        return self.signal is not None

    def note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None:  # asked twice: now
            raise KeyboardInterrupt
        self.signal = number
        say("Stopping after this step; the same command resumes from here.")

    def end_if_asked(self, ranks: Ranks) -> None:
        """Ends the process as the signal would have, now that everything is saved; one rank's signal ends all."""
        signals = [number for number in ranks.gather(self.signal) if number is not None]
        if signal.SIGINT in signals:
            raise KeyboardInterrupt
        if signals:
            raise SystemExit(128 + signals[0])


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Takes SIGINT and SIGTERM as a wish to stop between two steps, saved."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may take signals
        yield stop
        return
    before = {number: signal.signal(number, stop.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
