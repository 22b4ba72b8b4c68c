"""What a person reads while a verb works: sentences, progress, and commands that can be pasted as they are.

Everything here goes to standard error, so that standard output stays free for results.
"""

from __future__ import annotations

import importlib.metadata
import shlex
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.text import Text

PLAIN_LINE_EVERY_S = 10.0
LONG_BYTES = 2**30  # as much takes seconds to load


console = Console(stderr=True, highlight=False)


def say(sentence: str) -> None:
    """Tells the user a sentence; silent under --quiet."""
    console.print(sentence, markup=False, soft_wrap=True)


def command(*words: object) -> str:
    """A command of seetell that runs as printed, from the folder where the user stands."""
    return shlex.join([*_program("seetell"), *map(str, words)])


def installing(extra: str) -> str:
    """The command that installs an extra into the environment that is running.

    seetell is on no package index: an extra comes from its checkout. Without one the extra's packages are named.
    """
    checkout = Path(__file__).resolve().parents[1]
    pip = [*_program("pip"), "install"]
    if (checkout / "pyproject.toml").is_file():
        return f"{shlex.join(pip)} -e '{_from_here(checkout)}[{extra}]'"
    return shlex.join([*pip, *_packages_of(extra)])


def _program(name: str) -> list[str]:
    """How to call a program of the environment that is running: by name only where that calls this very one."""
    scripts = Path(sysconfig.get_path("scripts"))
    own, on_path = shutil.which(name, path=str(scripts)), shutil.which(name)
    if own is not None:
        return [name if on_path is not None and Path(on_path).samefile(own) else _from_here(Path(own))]
    return [_from_here(Path(sys.executable)), "-m", name]


def _from_here(path: Path) -> str:
    """The path as one types it: relative where it lies below the folder one stands in."""
    path, here = path.absolute(), Path.cwd()  # not resolved: an environment's python is a link
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _packages_of(extra: str) -> list[str]:
    marker = f'extra == "{extra}"'
    wanted = [need.split(";", 1) for need in importlib.metadata.requires("seetell") or ()]
    return [need.strip() for need, *markers in wanted if markers and marker in markers[0].replace("'", '"')]


def marked(pieces: Iterable[tuple[str, bool]], on: Console) -> Text:
    """Pieces of a prompt, the supervised ones in green and underlined; in a log or a pipe between ⟦ and ⟧.

    Underlining is kept where NO_COLOR takes the colour away.
    """
    text = Text()
    for piece, supervised in pieces:
        if on.is_terminal:
            text.append(piece, style="bold green underline" if supervised else "dim")
        else:
            text.append(f"⟦{piece}⟧" if supervised else piece)
    return text


@contextmanager
def waiting(sentence: str, *, is_long: bool = True) -> Generator[Callable[[float], None]]:
    """Says what is waited for: on a terminal while it lasts, elsewhere in a line if `is_long`.

    Call what it gives with the fraction that is done, where that is known.
    """
    if not console.is_terminal or console.quiet:
        if is_long:
            say(f"{sentence}.")
        yield lambda _: None
        return
    from rich.errors import LiveError  # here because waiting is rare

    status = console.status(f"{sentence} ...")
    try:
        status.start()
    except LiveError:  # a progress bar is shown already
        yield lambda _: None
        return
    try:
        yield lambda done: status.update(f"{sentence}: {done:.0%}")
    finally:
        status.stop()


class Bar(Protocol):
    """Counts finished pieces of work; `fields` are figures shown beside the count, such as `loss=0.31`."""

    def advance(self, n: int = 1, **fields: float | str) -> None: ...


@contextmanager
def progress(description: str, total: int | None, done: int = 0) -> Generator[Bar]:
    """A bar with rate and time left on a terminal, else a plain line about every ten seconds.

    `done` is what an earlier run had finished: it counts as done but not towards the rate.
    """
    count = _Count(total, done)
    if not console.is_terminal:
        lines = _PlainBar(description, count, say)
        yield lines
        lines.close()
        return
    from rich.progress import BarColumn, Progress, TextColumn  # here because drawing a bar is rare and its import slow

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[status]}"))
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(description, total=total, completed=done, status=count.status())

        def show() -> None:
            bars.update(task, completed=count.done, status=count.status())

        yield _TerminalBar(count, show)
        show()


class _Count:
    """How much is done, how fast, and what the last figures were."""

    def __init__(self, total: int | None, done: int) -> None:
        self.total, self.done, self.first = total, done, done
        self.started_s = time.monotonic()
        self.fields: dict[str, float | str] = {}

    def add(self, n: int, fields: dict[str, float | str]) -> None:
        self.done += n
        self.fields.update(fields)

    def status(self) -> str:
        """For example `120/1000 · 12.1/s · 1:13 left · loss 0.312`."""
        elapsed_s = time.monotonic() - self.started_s
        rate = (self.done - self.first) / elapsed_s if elapsed_s > 0 else 0.0
        parts = [f"{self.done}" if self.total is None else f"{self.done}/{self.total}"]
        if rate > 0:
            parts.append(f"{rate:.3g}/s" if rate < 100 else f"{rate:.0f}/s")
            if self.total is not None and self.done < self.total:
                parts.append(f"{duration((self.total - self.done) / rate)} left")
        parts += [
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in self.fields.items()
        ]
        return " · ".join(parts)


class _TerminalBar:
    def __init__(self, count: _Count, show: Callable[[], None]) -> None:
        self.count, self.show = count, show

    def advance(self, n: int = 1, **fields: float | str) -> None:
        self.count.add(n, fields)
        self.show()


class _PlainBar:
    def __init__(self, description: str, count: _Count, write: Callable[[str], None]) -> None:
        self.description, self.count, self.write = description, count, write
        self.told_s = time.monotonic()
        self.told = -1

    def advance(self, n: int = 1, **fields: float | str) -> None:
        self.count.add(n, fields)
        if time.monotonic() - self.told_s >= PLAIN_LINE_EVERY_S:
            self._tell()

    def close(self) -> None:
        if self.told != self.count.done:
            self._tell()

    def _tell(self) -> None:
        self.write(f"{self.description}: {self.count.status()}")
        self.told, self.told_s = self.count.done, time.monotonic()


def duration(seconds: float) -> str:
    """`0:07`, `1:13`, `2:05:00`."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
