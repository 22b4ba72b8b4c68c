"""Where every verb writes to: a full disk, a folder in place of a file, a file in place of a folder, a missing
parent; and where nobody reads on, or the terminal has no letters for what is said."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seetell import cli
from tests.tiny import tiny_data
from tests.tiny_folders import write_whole
from tests.tiny_ranks import full_disk

Command = Callable[[str], tuple[int, str, str]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, conversations with pictures, captions and a benchmark."""
    world = tmp_path_factory.mktemp("world")
    write_whole(world / "model", world)
    tiny_data(world, 40)
    rows = [{"id": str(i), "image": f"{i}.png", "caption": f"a red square beside a dog {i}"} for i in range(2000)]
    (world / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    questions = [{"question_id": i, "image": f"0-{i}.png", "text": "Is it red?", "label": "yes"} for i in range(8)]
    (world / "problems.json").write_text("{}")
    (world / "pope").mkdir()
    for category in ("random", "popular", "adversarial"):
        text = "".join(json.dumps(row) + "\n" for row in questions)
        (world / "pope" / f"coco_pope_{category}.json").write_text(text)
    return world


@pytest.fixture
def seetell(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line, where WORLD and HERE stand for those folders."""

    def run(line: str) -> tuple[int, str, str]:
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main(line.replace("WORLD", str(world)).replace("HERE", str(tmp_path)).split())
        finally:
            signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


WRITE_FOLDERS = {
    "export": "export WORLD/model --to hf --out HERE/out",
    "import": "import WORLD/model --out HERE/out",
    "eval": "eval drawn --model WORLD/model --limit 4 --out HERE/out",
    "generate": "generate --scenes drawn:8 --teacher rules --out HERE/out",
    "select": "select WORLD/captions.jsonl --least 1 --out HERE/out",
}
WRITE_FILES = {
    "convert": "data convert WORLD/tune.json --to openai --out HERE/out.json",
    "browse": "data browse WORLD/tune.json --images WORLD/pictures --out HERE/out",
    "stats": "data stats WORLD/tune.json --out HERE/out",
    "check": "data check WORLD/tune.json --images WORLD/pictures --out HERE/out",
    "scienceqa": "scienceqa convert WORLD/problems.json --out HERE/out",
}
RESUMES = ("eval", "generate", "select")


@pytest.mark.parametrize("verb", [*WRITE_FOLDERS, "convert", "browse"])
def test_a_full_disk_is_a_sentence_with_the_place_and_nothing_half_is_left(
    seetell: Command, tmp_path: Path, verb: str
) -> None:
    line = {**WRITE_FOLDERS, **WRITE_FILES}[verb]
    old = tmp_path / ("out.json" if verb == "convert" else "out")
    if verb in WRITE_FILES:
        old.write_text("old")
    with full_disk(2000):
        code, _, err = seetell(line)
    told = [each for each in err.splitlines() if each.startswith("seetell: ")]
    assert (code, len(told)) == (1, 1), err
    assert f"no room left for {tmp_path}/out" in told[0]
    assert "make room there, and run the same command again" in told[0]
    if verb in WRITE_FILES:
        assert old.read_text() == "old"
    if verb not in RESUMES:
        assert names(tmp_path) == ([old.name] if verb in WRITE_FILES else [])
    if verb in WRITE_FOLDERS:
        assert seetell(line)[0] == 0


@pytest.mark.parametrize("verb", WRITE_FOLDERS)
def test_a_file_in_place_of_a_folder(seetell: Command, tmp_path: Path, verb: str) -> None:
    (tmp_path / "out").write_text("mine")
    code, _, err = seetell(WRITE_FOLDERS[verb])
    assert (code, (tmp_path / "out").read_text()) == (2, "mine")
    assert f"{tmp_path}/out is a file, not a folder to write in: give another --out." in err


@pytest.mark.parametrize("verb", WRITE_FILES)
def test_a_folder_in_place_of_a_file_and_a_missing_parent(seetell: Command, tmp_path: Path, verb: str) -> None:
    out = tmp_path / ("out.json" if verb == "convert" else "out")
    out.mkdir()
    code, _, err = seetell(WRITE_FILES[verb])
    assert code == 2
    assert f"{out} is a folder: name the file to write" in err
    code, _, err = seetell(WRITE_FILES[verb].replace(f"HERE/{out.name}", "HERE/new/deep/file.json"))
    assert code == 0, err
    assert (tmp_path / "new" / "deep" / "file.json").is_file()


@pytest.mark.parametrize("verb", ["export", "import"])
def test_results_go_into_an_empty_folder_that_is_there(
    seetell: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    assert seetell(WRITE_FOLDERS[verb])[0] == 0
    assert (tmp_path / "disk" / "model.safetensors").is_file()
    shutil.rmtree(tmp_path / "disk")
    (tmp_path / "disk").mkdir()
    monkeypatch.chdir(tmp_path / "disk")
    assert seetell(WRITE_FOLDERS[verb].replace("HERE/out", "."))[0] == 0
    assert "model.safetensors" in names(tmp_path / "disk")
    assert seetell(WRITE_FOLDERS[verb].replace("HERE/out", "~/mine"))[0] == 0
    assert names(tmp_path) == ["disk", "mine", "out"]


def command(*words: str, stdout: Any = subprocess.PIPE, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "seetell", *words]
    return subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, env=env)


@pytest.mark.parametrize("words", [["--help"], ["data", "stats", "WORLD/tune.json"]])
def test_who_stops_reading_ends_the_command_without_a_word(world: Path, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with command(*(word.replace("WORLD", str(world)) for word in words), stdout=writer) as running:
        os.close(writer)
        _, err = running.communicate()
    assert err == b""
    assert running.returncode == 128 + signal.SIGPIPE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_results_led_to_a_full_disk_are_told(world: Path) -> None:
    with Path("/dev/full").open("wb") as full, command("data", "stats", f"{world}/tune.json", stdout=full) as running:
        _, err = running.communicate()
    assert b"There is no room left for" in err
    assert b"Traceback" not in err
    assert running.returncode == 1


def test_a_terminal_without_letters_shows_what_it_can(world: Path, tmp_path: Path) -> None:
    row = {"id": "é", "conversations": [{"from": "human", "value": "猫?"}, {"from": "gpt", "value": "où"}]}
    (tmp_path / "data.json").write_text(json.dumps([row]))
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    words = ["show", str(tmp_path / "data.json"), "--model", str(world / "model")]
    with command(*words, env=environment) as running:
        out, err = running.communicate()
    assert running.returncode == 0, err
    assert b"\\u732b?" in out
    assert b"o\\xf9" in out
