"""The command: help at once, one sentence for a failure, the right exit code."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from seetell import cli
from seetell.console import console
from seetell.errors import BadInput, ConfigError, DamagedFile, Failed, ServiceError, UsageError
from seetell.verbs import env

VERBS = ("demo", "show", "recipes", "plan", "train", "chat", "import", "export", "env")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(console, "quiet", False)

    def command(*words: str) -> tuple[int, str, str]:
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main(words)
        finally:
            signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return command


@pytest.fixture
def failing(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs `seetell env` with a verb that raises."""

    def command(error: BaseException, *flags: str) -> tuple[int, str, str]:
        def fail() -> None:
            raise error

        monkeypatch.setattr(env, "env", fail)
        return run("env", *flags)

    return command


def test_help_lists_the_verbs_and_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom seetell.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted({'torch', 'transformers', 'numpy', 'PIL', 'openai'} & set(sys.modules)))\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
    for verb in VERBS:
        assert f" {verb} " in told.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(run: Run, verb: str) -> None:
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert f"seetell {verb}" in out


@pytest.mark.parametrize("verb", ["train", "plan"])
def test_help_says_where_the_recipes_are_listed(run: Run, verb: str) -> None:
    _, out, _ = run(verb, "--help")
    assert "seetell recipes" in re.sub(r"[\s│]+", " ", out)


def test_the_version_is_the_packages(run: Run) -> None:
    from seetell import __version__

    assert run("--version") == (0, f"seetell {__version__}\n", "")


def test_no_words_are_answered_with_help(run: Run) -> None:
    code, out, err = run()
    assert code == 2
    assert "Commands" in out + err


@pytest.mark.parametrize("words", [("sea",), ("train",), ("chat", "m", "--temperature", "-1"), ("--sea",)])
def test_a_wrong_usage_is_exit_2(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    assert "Error" in err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Failed("It broke."), 1, "It broke."),
        (UsageError("No."), 2, "No."),
        (ConfigError("there is no field"), 2, "there is no field"),
        (BadInput("Bad rows."), 3, "Bad rows."),
        (DamagedFile("a.json is not JSON."), 3, "a.json is not JSON."),
        (FileNotFoundError(2, "No such file or directory", "a.json"), 3, "a.json: No such file or directory."),
        (PermissionError(13, "Permission denied", "runs"), 1, "runs: Permission denied."),
        (ServiceError("The teacher is silent."), 4, "The teacher is silent."),
        (KeyError("x\ny"), 1, "it failed unexpectedly (KeyError: 'x\\ny'); run with --debug for the traceback."),
        (RuntimeError(), 1, "it failed unexpectedly (RuntimeError: no message); run with --debug for the traceback."),
    ],
)
def test_a_failure_is_one_sentence_and_its_code(failing: Any, error: Exception, code: int, said: str) -> None:
    assert failing(error) == (code, "", f"seetell: {said}\n")


def test_debug_shows_the_traceback_before_the_sentence(failing: Any) -> None:
    code, out, err = failing(BadInput("Bad rows."), "--debug")
    assert (code, out) == (3, "")
    assert err.startswith("Traceback")
    assert err.endswith("seetell: Bad rows.\n")


def test_an_interruption_is_130_and_a_termination_143(failing: Any) -> None:
    assert failing(KeyboardInterrupt())[0] == 130
    with pytest.raises(SystemExit) as ended:
        cli._end_on_signal(signal.SIGTERM, None)  # pyright: ignore[reportPrivateUsage]
    assert ended.value.code == 143


def test_quiet_may_stand_anywhere(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(env, "env", lambda: seen.append(console.quiet))
    assert [run(*words)[0] for words in (("--quiet", "env"), ("env", "--quiet"), ("env",))] == [0, 0, 0]
    assert seen == [True, True, False]


def test_env_tells_what_figures_depend_on(run: Run) -> None:
    code, out, _ = run("env")
    assert code == 0
    facts = dict(line.split(": ", 1) for line in out.splitlines())
    assert {"python", "torch", "transformers", "cores", "threads", "device"} <= set(facts)


def test_arguments_reach_the_verb_as_plain_values(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from seetell.verbs import chatting

    called: list[Any] = []
    monkeypatch.setattr(chatting, "chat", lambda *words, **named: called.append((words, named)))
    words = (
        "chat",
        "m",
        "a.jpg",
        "--image",
        "b.jpg",
        "--prompt",
        "What?",
        "--json",
        "--seed",
        "3",
        "--dtype",
        "bfloat16",
    )
    assert run(*words)[0] == 0
    (((model, images), named),) = called
    assert (model, [str(image) for image in images]) == ("m", ["a.jpg", "b.jpg"])
    assert (named["prompt"], named["as_json"], named["seed"], named["dtype"]) == ("What?", True, 3, "bfloat16")
    assert type(named["dtype"]) is str
    assert named["temperature"] == 0.0


def test_a_run_without_a_folder_is_named_by_its_recipe(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    outs: list[str] = []
    monkeypatch.setattr("seetell.verbs.training.train", lambda _recipe, out, **_: outs.append(str(out)))
    assert run("train", "finetune_yours", "--set", "tune.data=my.json")[0] == 0
    assert run("train", "mine/own.py", "--out", "there")[0] == 0
    assert outs == ["runs/finetune_yours", "there"]
