"""Every command and Python block of README.md and docs/ runs as printed, page by page, in a fresh folder.

A command of seetell runs in this process, which is what makes it quick; any other in a shell. A service at port 8000 of
`localhost` or `balancer` is the mock teacher's, and `pip` looks up what it would install (there is no network).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from seetell import cli
from seetell.console import console
from tests.documents import ROOT, Step, pages, steps_of
from tests.mock_teacher import Behaviour, Messages, serving, well
from tests.stand_ins import StandIns

SERVED = {"localhost": 8000, "balancer": 8000}
MOST_NOT_RUN = 0.1
_SHELL = re.compile(r"[|&;<>$`*?~(){}]")


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> StandIns:
    return StandIns(tmp_path_factory.mktemp("stand_ins"))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of programs that goes first on PATH."""
    folder = tmp_path_factory.mktemp("programs")
    pip = folder / "pip"
    pip.write_text(
        f"#!{sys.executable}\nimport sys\nfrom tests.flow.test_documents import pip\nsys.exit(pip(sys.argv[1:]))\n"
    )
    pip.chmod(0o755)
    return folder


def pip(words: list[str]) -> str | None:
    """Whether pip could install that: the extras of the checkout one stands in. Nothing is installed."""
    command, *what = [word for word in words if word != "-q"]
    named = re.fullmatch(r"\.(?:\[([\w,]+)\])?", what[-1])
    if command != "install" or what[:-1] != ["-e"] or named is None:
        return f"pip is not known to take {shlex.join(words)}"
    extras = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    unknown = set(filter(None, (named[1] or "").split(","))) - set(extras)
    return f"no such extra: {', '.join(sorted(unknown))}" if unknown else None


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """A teacher and judge at the addresses that the pages name."""
    look_up, connect = socket.getaddrinfo, socket.socket.connect
    with serving(Behaviour(answer=replied)) as teacher:
        port = int(teacher.url.rsplit(":", 1)[1].split("/")[0])

        def looked_up(host: Any, *more: Any, **named: Any) -> Any:
            return look_up("127.0.0.1" if host in (*SERVED, *map(str.encode, SERVED)) else host, *more, **named)

        def connected(self: socket.socket, address: Any) -> None:
            there = isinstance(address, tuple) and address[1] in SERVED.values()
            connect(self, ("127.0.0.1", port) if there else address)

        monkeypatch.setattr(socket, "getaddrinfo", looked_up)
        monkeypatch.setattr(socket.socket, "connect", connected)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        yield


def replied(messages: Messages) -> str:
    """As a judge it gives two scores, as a teacher what was asked for."""
    text = messages[-1]["content"]
    return "8 7\nThe first answer says more." if "[System]" in text or "two scores" in text.lower() else well(messages)


class Reader:
    """Someone who follows a page, in a folder of their own."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
        self.names: dict[str, Any] = {"__name__": "__main__"}  # blocks of a page go on from one another

    def follow(self, step: Step) -> str | None:
        """Runs it; the reason when it failed."""
        os.chdir(self.folder)
        if step.is_python:
            return self._block(step.text)
        words = _plain(step.text)
        if words and words[0] == "cd":
            self.folder = self.folder / words[1]
            return None if self.folder.is_dir() else f"there is no folder {words[1]}"
        return self._seetell(words[1:]) if words and words[0] == "seetell" else self._shell(step.text)

    def _block(self, text: str) -> str | None:
        with _kept() as printed:
            try:
                exec(compile(text, "block", "exec"), self.names)
            except Exception:
                return printed.getvalue() + traceback.format_exc()
        return None

    def _seetell(self, words: list[str]) -> str | None:
        with _kept() as printed:
            try:
                cli.main(words)
            except SystemExit as ended:
                return None if ended.code == 0 else f"exit code {ended.code}\n{printed.getvalue()}"
        return "it never ended"

    def _shell(self, text: str) -> str | None:
        ran = subprocess.run(
            ["bash", "-c", text], cwd=self.folder, env=self.environment, capture_output=True, text=True, input=""
        )
        return None if ran.returncode == 0 else f"exit code {ran.returncode}\n{ran.stdout[-3000:]}{ran.stderr[-3000:]}"


def _plain(text: str) -> list[str]:
    """The words of a command that needs no shell, else nothing."""
    bare = re.sub(r"\\\n", " ", text)
    unquoted = re.sub(r"'[^']*'|\"[^\"$`]*\"", "", bare.split(" #")[0])
    return [] if _SHELL.search(unquoted) else shlex.split(bare, comments=True)


@contextlib.contextmanager
def _kept() -> Generator[io.StringIO]:
    """What is printed is kept, nobody types, and the process is left as it was."""
    printed, stdin = io.StringIO(), sys.stdin
    terminated, threads = signal.getsignal(signal.SIGTERM), torch.get_num_threads()
    sys.stdin = io.StringIO("")
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            yield printed
    finally:
        sys.stdin, console.quiet = stdin, False
        signal.signal(signal.SIGTERM, terminated)
        torch.set_num_threads(threads)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # what peft asks
@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_command_of_a_page_runs_as_printed(
    page: Path, stand_ins: StandIns, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [step for step in steps_of(page) if "not run" not in step.marks and "slow" not in step.marks]
    if not steps:
        pytest.skip("nothing to run")
    monkeypatch.chdir(tmp_path)
    folder = stand_ins.fresh(tmp_path / "fresh")
    reader = Reader(folder, programs)
    failed: list[str] = []
    for step in steps:
        with stand_ins.linked(folder) if "stand-in" in step.marks else contextlib.nullcontext():
            if reason := reader.follow(step):
                failed.append(f"{step}\n{reason}")
    assert not failed, "\n\n".join(failed)


def every_step() -> Iterable[Step]:
    return (step for page in pages() for step in steps_of(page))


def test_at_most_a_tenth_of_the_commands_is_not_run() -> None:
    steps = list(every_step())
    not_run = [str(step) for step in steps if "not run" in step.marks]
    assert len(steps) > 20
    assert len(not_run) <= MOST_NOT_RUN * len(steps), "\n".join(not_run)


INLINE = re.compile(r"(?<!`)`(seetell [^`]+)`(?!`)")


def test_inline_commands_name_verbs_and_options_that_there_are() -> None:
    """What stands in sentences and tables is seldom whole (`...`), so it is not run, but it must exist."""
    wrong: list[str] = []
    for page in pages():
        for command in INLINE.findall(page.read_text()):
            if why := _why_unknown(" ".join(command.split())):
                wrong.append(f"{page.name}: {command}: {why}")
    assert wrong == []


def _why_unknown(command: str) -> str | None:
    known: Any = typer.main.get_command(cli.app)
    for word in command.split()[1:]:
        name = word.strip(",").split("=")[0]
        if name.startswith("--"):
            options = {option for parameter in known.params for option in (*parameter.opts, *parameter.secondary_opts)}
            if name not in options | {"--help", *cli.GLOBAL_FLAGS}:
                return f"{known.name} has no option {name}"
        elif verbs := getattr(known, "commands", {}):
            if re.fullmatch(r"[a-z]+", name) and name not in verbs:
                return f"there is no verb {name}"
            known = verbs.get(name, known)
    return None
