"""The commands and Python blocks of README.md and docs/, as a reader would type them.

A fence without a language, or with `bash`, holds commands; one with `console` holds commands behind `$ ` and what they
print; `python` holds a block. Any other language (`text`, `json`) is not run. HTML comments directly above a fence say
how it is run:

    <!-- stand-in: WHAT -->     a hub, a GPU, a service or data is replaced by a small local one (`stand_ins.py`)
    <!-- slow -->               takes over 30 s: `benchmarks/docs.py` runs it, the tests do not
    <!-- not run: REASON -->    neither runs it
    <!-- output -->             what a command prints
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
MARKS = ("stand-in", "slow", "not run", "output")
WITH_REASON = ("stand-in", "not run")
COMMANDS, BLOCKS = ("", "bash", "console"), ("python",)

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
_MARKS_ABOVE = re.compile(r"(?:<!--(?:(?!-->).)*-->[ \t]*\n)+\Z", re.DOTALL)
_MARK = re.compile(r"<!--\s*([^:>]*?)\s*(?::\s*(.*?)\s*)?-->", re.DOTALL)
_HEREDOC = re.compile(r"<<-?\s*['\"]?(\w+)")


@dataclass(frozen=True)
class Step:
    """One command, or one block of Python, with where it stands and the marks of its fence."""

    page: str
    line: int
    text: str
    is_python: bool = False
    marks: dict[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text.strip()}"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def steps_of(page: Path) -> list[Step]:
    """What the page asks its reader to run, in order."""
    text = page.read_text()
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    steps: list[Step] = []
    for fence in _FENCE.finditer(text):
        above = _MARKS_ABOVE.search(text[: fence.start()])
        marks = dict(_marks(above[0], name) if above else ())
        first_line = text.count("\n", 0, fence.start()) + 2
        language, body = fence[1], fence[2]
        if "output" in marks or language not in COMMANDS + BLOCKS:
            continue
        if language in BLOCKS:
            steps.append(Step(name, first_line, body, is_python=True, marks=marks))
        else:
            lines = _typed(body) if language == "console" else body.splitlines()
            steps += [Step(name, first_line + at, command, marks=marks) for at, command in _commands(lines)]
    return steps


def _marks(comments: str, page: str) -> Iterator[tuple[str, str]]:
    for kind, reason in _MARK.findall(comments):
        if kind not in MARKS:
            continue  # a comment to the reader of the source
        if (kind in WITH_REASON) != bool(reason):
            raise ValueError(f"{page}: <!-- {kind} --> {'needs a' if kind in WITH_REASON else 'takes no'} reason")
        yield kind, reason


def _typed(body: str) -> list[str]:
    """The lines of a console that are typed: behind `$ `, or `> ` where one goes on."""
    return [line[2:] if line.startswith(("$ ", "> ")) else "" for line in body.splitlines()]


def _commands(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Whole commands with the number of their first line: continued lines and here-documents belong to one."""
    at = 0
    while at < len(lines):
        first = at
        command = lines[at]
        while command.endswith("\\") and at + 1 < len(lines):
            at += 1
            command = f"{command}\n{lines[at]}"
        if here := _HEREDOC.search(command):
            while at + 1 < len(lines) and lines[at].strip() != here[1]:
                at += 1
                command += f"\n{lines[at]}"
        at += 1
        if command.strip() and not command.lstrip().startswith("#"):
            yield first, command
