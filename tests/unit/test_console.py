"""What people read: exit codes, sentences on standard error, progress without a terminal."""

from __future__ import annotations

import ast
import io
import re
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from seetell import console as told
from seetell.console import command, duration, installing, marked, progress, say, waiting
from seetell.errors import BadInput, Failed, SeetellError, ServiceError, UsageError


def test_each_failure_has_its_exit_code() -> None:
    codes = {kind: kind.exit_code for kind in (SeetellError, Failed, UsageError, BadInput, ServiceError)}
    assert list(codes.values()) == [1, 1, 2, 3, 4]
    assert all(issubclass(kind, SeetellError) for kind in codes)


def test_sentences_go_to_standard_error_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    say("a [bold] word and a path/of/any/length/" + "x" * 200)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "a [bold] word and a path/of/any/length/" + "x" * 200 + "\n"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told.console, "quiet", True)
    say("a word")
    with progress("draw", 3) as bar:
        bar.advance(3)
    assert capsys.readouterr() == ("", "")


def test_progress_without_a_terminal_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(told.time, "monotonic", lambda: now_s)
    with progress("train", 100, done=20) as bar:
        for _ in range(80):
            now_s += 0.5
            bar.advance(loss=2.0 / now_s, stage="align")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "train: 40/100 · 2/s · 0:30 left · loss 0.01818 · stage align",
        "train: 60/100 · 2/s · 0:20 left · loss 0.01667 · stage align",
        "train: 80/100 · 2/s · 0:10 left · loss 0.01538 · stage align",
        "train: 100/100 · 2/s · loss 0.01429 · stage align",
    ]


def test_waiting_says_what_for_and_how_far(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with waiting("Loading a model, 13.1 GiB") as tell:
        tell(0.5)
    with waiting("Loading a small one", is_long=False):
        pass
    assert capsys.readouterr().err == "Loading a model, 13.1 GiB.\n"
    terminal = io.StringIO()
    monkeypatch.setattr(told, "console", Console(file=terminal, force_terminal=True, width=80))
    with waiting("Loading a small one", is_long=False) as tell:
        tell(0.5)
        with waiting("Loading beside it"):  # where only one can be shown, the first is
            pass
    assert "Loading a small one: 50%" in terminal.getvalue()


def test_progress_may_have_no_end_in_sight_and_may_fail(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("read", None) as bar:
        bar.advance(7)
    assert capsys.readouterr().err.startswith("read: 7")
    with pytest.raises(KeyError), progress("read", 2):
        raise KeyError


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(told, "console", told.Console(stderr=True, force_terminal=True, width=100))
    with progress("train", 4) as bar:
        bar.advance(4, loss=0.25)
    err = capsys.readouterr().err
    assert "4/4" in err
    assert "loss 0.25" in err


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (73.4, "1:13"), (7500, "2:05:00")])
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_supervised_pieces_are_marked() -> None:
    pieces = [("USER: hi ", False), ("hello", True)]
    text = marked(pieces, Console(force_terminal=True))
    assert text.plain == "USER: hi hello"
    assert [(text.plain[span.start : span.end], str(span.style)) for span in text.spans] == [
        ("USER: hi ", "dim"),
        ("hello", "bold green underline"),
    ]
    assert marked(pieces, Console(file=io.StringIO())).plain == "USER: hi ⟦hello⟧"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment `.venv` with seetell's and pip's scripts, in the folder that the user stands in; not on PATH."""
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    for name in ("seetell", "pip", "python"):
        (scripts / name).write_text("#!/bin/sh\necho called as $0 $*\n")
        (scripts / name).chmod(0o755)
    monkeypatch.setattr(told.sysconfig, "get_path", lambda _name: str(scripts))
    monkeypatch.setattr(told.sys, "executable", str(scripts / "python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return scripts


def test_a_printed_command_runs_from_where_the_user_stands(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command("chat", Path("runs/a b/model")) == ".venv/bin/seetell chat 'runs/a b/model'"
    run = subprocess.run(command("chat", "m"), shell=True, capture_output=True, text=True, check=True)
    assert run.stdout == "called as .venv/bin/seetell chat m\n"
    elsewhere = environment.parents[1] / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert command("chat", "m") == f"{environment / 'seetell'} chat m"


def test_on_path_a_printed_command_is_the_name_alone(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{environment}:/usr/bin:/bin")
    assert command("env") == "seetell env"
    other = environment.parents[1] / "other"
    other.mkdir()
    (other / "seetell").write_text("#!/bin/sh\n")
    (other / "seetell").chmod(0o755)
    monkeypatch.setenv("PATH", f"{other}:{environment}")  # another environment's seetell comes first
    assert command("env") == ".venv/bin/seetell env"


def test_without_a_script_the_interpreter_is_called(environment: Path) -> None:
    (environment / "seetell").unlink()
    assert command("env") == ".venv/bin/python -m seetell env"


def test_an_extra_is_installed_from_the_checkout(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = Path(told.__file__).resolve().parents[1]
    assert installing("lora") == f".venv/bin/pip install -e '{checkout}[lora]'"
    monkeypatch.chdir(checkout)
    assert installing("lora") == f"{environment / 'pip'} install -e '.[lora]'"
    monkeypatch.setenv("PATH", str(environment))
    assert installing("lora") == "pip install -e '.[lora]'"


def test_without_a_checkout_the_extras_packages_are_named(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "__file__", str(environment / "seetell" / "console.py"))
    assert installing("lora") == ".venv/bin/pip install 'peft>=0.21'"


def test_no_message_spells_a_command_that_may_not_run() -> None:
    """Lines to paste are made by `command` and `installing`: by name alone they run on a PATH that has them."""
    package = Path(told.__file__).parent
    spelled = re.compile(r"pip install|seetell (chat|train|import|export|generate|eval|plan|show) $")
    wrong: list[str] = []
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for joined in (node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)):
            texts = [part.value for part in joined.values if isinstance(part, ast.Constant)]
            wrong += [f"{path.name}: {text}" for text in texts if isinstance(text, str) and spelled.search(text)]
    assert wrong == []
