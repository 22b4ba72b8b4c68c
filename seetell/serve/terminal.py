"""A chat at the prompt: what is typed is said, what begins with a slash is done.

Answers go to standard output, everything else to standard error. Ctrl-C stops an answer, which is then
forgotten with its question; at the prompt it ends the chat, as Ctrl-D does.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Sequence

from seetell.console import say
from seetell.errors import BadInput, SeetellError, UsageError
from seetell.infer.session import ChatSession
from seetell.types import Image, Rejected

HELP = """\
/image PATH …   show pictures with what you say next
/clear          begin a new conversation
/save FILE      save the conversation
/load FILE      load a saved conversation
/help           this
/quit           leave (or Ctrl-D)"""

CONTROL = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])


def converse(session: ChatSession, images: Sequence[Image] = ()) -> None:
    """Reads lines and answers them until the input ends; `images` go with the first."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # editing and history of the lines typed; Windows has none
    terminal = Terminal(session)
    terminal.show(images)
    if sys.stdin.isatty():
        say("Ask something, or type /help.")
    while (line := terminal.read()) is not None:
        try:
            if not terminal.take(line.strip()):
                return
        except SeetellError as error:
            say(str(error))


class Terminal:
    """The chat, and the pictures that wait for the next words."""

    def __init__(self, session: ChatSession) -> None:
        self.session = session
        self.waiting: list[Image] = []
        self.commands: dict[str, Callable[[list[str]], None]] = {
            "/image": self._image,
            "/clear": self._clear,
            "/save": self._save,
            "/load": self._load,
            "/help": lambda _: say(HELP),
        }

    def read(self) -> str | None:
        """A line, or None at the end of the input."""
        count = len(self.waiting)
        pictures = f"[{count} picture{'s' if count > 1 else ''}] " if count else ""
        try:
            return input(f"{pictures}> " if sys.stdin.isatty() else "")
        except (EOFError, KeyboardInterrupt):
            sys.stdout.write("\n" if sys.stdin.isatty() else "")
            return None

    def take(self, line: str) -> bool:
        """Answers a line or does what it says; false when that is to leave."""
        if not line:
            return True
        if not line.startswith("/"):
            self._say(line)
            return True
        try:
            name, *words = shlex.split(line)
        except ValueError:
            raise UsageError(f"A quotation mark is missing in {line!r}.") from None
        if name in ("/quit", "/exit"):
            return False
        if name not in self.commands:
            raise UsageError(f"There is no {name}: {', '.join(self.commands)} and /quit are all.")
        self.commands[name](words)
        return True

    def show(self, images: Sequence[Image]) -> None:
        """Opens pictures for the next words; a bad one is refused now, not with the question."""
        for image in images:
            picture = self.session.engine.pictures.open(image)
            if isinstance(picture, Rejected):
                raise BadInput(f"{picture.id}: {picture.reason}.")
            self.waiting.append(image)

    def _say(self, text: str) -> None:
        try:
            for piece in self.session.stream(text, self.waiting):
                write(piece)
            self.waiting.clear()
        except KeyboardInterrupt:
            say("\n(stopped and forgotten)")
        else:
            write("\n")
            if self.session.last is not None and self.session.last.finish_reason == "length":
                say("(cut off at the longest answer: --max-new-tokens allows more)")

    def _image(self, words: list[str]) -> None:
        if not words:
            raise UsageError("Which picture? Write /image PATH.")
        self.show([Image(path=word) for word in words])

    def _clear(self, _: list[str]) -> None:
        self.session.clear()
        self.waiting.clear()
        say("(a new conversation)")

    def _save(self, words: list[str]) -> None:
        path = _one_file("/save", words)
        try:
            self.session.save(path)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}.") from None
        say(f"(saved in {path})")

    def _load(self, words: list[str]) -> None:
        self.session.load(_one_file("/load", words))
        say(f"(loaded, {len(self.session.conversation.turns)} turns)")


def write(piece: str) -> None:
    """A piece of an answer, at once. No answer may steer somebody's terminal: control characters stay out of it."""
    sys.stdout.write(piece.translate(CONTROL) if sys.stdout.isatty() else piece)
    sys.stdout.flush()


def _one_file(name: str, words: Sequence[str]) -> str:
    if len(words) != 1:
        raise UsageError(f"Which file? Write {name} FILE.")
    return words[0]
