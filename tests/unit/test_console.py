"""What people read: exit codes, sentences on standard error, progress without a terminal."""

from __future__ import annotations

import pytest

from seetell import console as told
from seetell.console import duration, marked, progress, say
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
    text = marked([("USER: hi ", False), ("hello", True)])
    assert text.plain == "USER: hi hello"
    assert [(text.plain[span.start : span.end], str(span.style)) for span in text.spans] == [
        ("USER: hi ", "dim"),
        ("hello", "bold green underline"),
    ]
