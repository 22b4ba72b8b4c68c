"""The command: arguments to verbs, and nothing else.

Nothing heavy is imported before a verb is chosen, so `seetell --help` answers at once. A failure is one
sentence on standard error and an exit code: 0 done, 1 failed, 2 usage or config, 3 bad input data, 4 an
outside service failed, 130 or 143 interrupted, 141 nobody reads on. `--debug` adds the traceback.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from seetell.cli import tensors, words
from seetell.console import console
from seetell.errors import DiskFull, SeetellError
from seetell.files import FULL

app = typer.Typer(
    name="seetell",
    help="Teaches a language model to see, and lets people talk to it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(tensors.commands)
app.add_typer(words.commands)

GLOBAL_FLAGS = ("--quiet", "--debug")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"seetell {version('seetell')}")
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print results and errors only, no progress and no remarks.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of a failure.")] = False,
) -> None:
    del version, debug
    console.quiet = quiet


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command and ends the process with its exit code; --quiet and --debug may stand anywhere."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    flags = [flag for flag in GLOBAL_FLAGS if flag in words]
    words = flags + [word for word in words if word not in GLOBAL_FLAGS]
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    signal.signal(signal.SIGTERM, _end_on_signal)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without some letters still shows the others
    try:
        _run(words)
    except BrokenPipeError:
        _end_unread()
    except Exception as error:
        if "--debug" in flags:
            import traceback

            traceback.print_exc()
        sentence, code = _sentence(error)
        print(f"seetell: {sentence}", file=sys.stderr)  # noqa: T201
        sys.exit(code)
    sys.exit(0)


def _run(words: list[str]) -> None:
    """The command, its results handed over to the last letter."""
    try:
        typer.main.get_command(app).main(words, prog_name="seetell")
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # which typer tells nobody of
            raise ended.__context__ from None
        if not ended.code:
            sys.stdout.flush()
        raise


def _end_unread() -> NoReturn:
    """Who reads the results has enough of them (`| head`): ends as a shell expects, without another word."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())  # what is left in them has a place to go to
    sys.exit(128 + signal.SIGPIPE)


def _sentence(error: Exception) -> tuple[str, int]:
    """What to say about a failure, and the exit code it ends with."""
    if isinstance(error, SeetellError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.errno in FULL:
        place = error.filename or "what was being written, or for what standard output is led to"
        return str(DiskFull(error.errno, error.strerror, place)), DiskFull.exit_code
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}.", 3 if isinstance(error, FileNotFoundError) else 1
    first_line = (str(error).strip() or "no message").splitlines()[0]
    return f"it failed unexpectedly ({type(error).__name__}: {first_line}); run with --debug for the traceback.", 1


def _end_on_signal(number: int, frame: Any) -> NoReturn:
    """Lets what is open close, then ends as a shell expects of a signal: 143 for SIGTERM."""
    del frame
    sys.exit(128 + number)
