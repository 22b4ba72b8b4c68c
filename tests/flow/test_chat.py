"""Chat as a person has it: from Python, once from the command line, and line by line; on a tiny random model."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest
import torch

import seetell
from seetell import cli
from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor
from seetell.encode.templates import VICUNA_V1
from seetell.encode.tokenizer import load_tokenizer
from seetell.errors import SeetellError, UsageError
from seetell.infer.loading import Model
from seetell.model.parts import load_parts
from seetell.model.weights import save_model
from seetell.serve.terminal import converse, write
from tests.tiny import tiny_parts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as training writes it, and two pictures beside it."""
    home = tmp_path_factory.mktemp("chat")
    vision, language = tiny_parts(home)
    tokenizer = load_tokenizer(language)
    vlm = load_parts(
        vision, language, connector="mlp2", image_id=tokenizer.image_id, vocabulary=len(tokenizer), feature_layer=-2,
        keep_cls=False, dtype=torch.float32, device="cpu", seed=0,
    )  # fmt: skip
    processor = Processor(tokenizer, VICUNA_V1, ImageProcessor(vlm.side_px), vlm.slots_per_image)
    save_model(vlm, home / "model", sorted(processor.stop_ids))
    processor.save(home / "model")
    PIL.Image.new("RGB", (20, 14), "red").save(home / "cat.jpg")
    PIL.Image.new("RGB", (9, 30), "blue").save(home / "dog.png")
    (home / "page.jpg").write_text("<html>not found</html>")
    return home


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return seetell.load(folder / "model")


def run(*words: object) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    return int(end.value.code or 0)


def test_two_lines_of_python(folder: Path, model: Model) -> None:
    answer = model.ask(folder / "cat.jpg", "What is it?", max_new_tokens=12)
    assert isinstance(answer, str)
    data = (folder / "cat.jpg").read_bytes()
    picture = PIL.Image.open(folder / "cat.jpg")
    assert answer == model.ask(data, "What is it?", max_new_tokens=12)
    assert answer == model.ask(picture, "What is it?", max_new_tokens=12)
    assert isinstance(model.ask(None, "Who are you?", max_new_tokens=4), str)
    chat = model.chat(max_new_tokens=4)
    chat.say("What is this?", folder / "cat.jpg")
    chat.say("And this?", image=folder / "dog.png")
    assert len(chat.conversation.turns) == 4


def test_one_answer_is_one_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["chat", folder / "model", "--image", folder / "cat.jpg", "--prompt", "What is it?", "--json"]
    assert run(*command, "--max-new-tokens", 8) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {"text", "finish_reason", "tokens", "seconds"}
    assert found["tokens"].keys() == {"prompt", "image", "completion"}
    assert found["tokens"]["image"] == 4
    assert found["tokens"]["prompt"] > 100
    assert 0 < found["tokens"]["completion"] <= 8
    assert found["finish_reason"] in ("stop", "length")
    assert run(*command, "--max-new-tokens", 8) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["text"], again["tokens"]) == (found["text"], found["tokens"])


def test_one_answer_as_text(folder: Path, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "chat",
        folder / "model",
        folder / "cat.jpg",
        folder / "dog.png",
        "--prompt",
        "Which?",
        "--max-new-tokens",
        6,
    )
    assert run(*words) == 0
    expected = model.ask([folder / "cat.jpg", folder / "dog.png"], "Which?", max_new_tokens=6)
    assert capsys.readouterr().out == expected + "\n"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("nowhere", "--prompt", "?"), 2, "no model folder nowhere"),
        (("{model}", "--image", "{home}/fox.jpg", "--prompt", "?"), 3, "fox.jpg"),
        (("{model}", "--image", "{home}/page.jpg", "--prompt", "?"), 3, "not a picture"),
        (("{model}", "{home}/page.jpg"), 3, "not a picture"),
        (("{home}", "--prompt", "?"), 3, "config.json"),
        (("{model}", "--json"), 2, "--prompt"),
        (("{model}", "--prompt", "?", "--top-p", "0"), 2, "top_p"),
        (("{model}", "--prompt", ""), 3, "nothing to answer"),
        (("{model}", "--prompt", "word " * 2000), 3, "context"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(
    folder: Path, words: tuple[str, ...], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [word.format(model=folder / "model", home=folder) for word in words]
    assert run("chat", *filled) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert "Traceback" not in err


def test_a_conversation_line_by_line(
    folder: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        f"/image {folder}/cat.jpg",
        "What is it?",
        "Sure?",
        f"/save {tmp_path}/chat.json",
        "/clear",
        "Hello",
        f"/load {tmp_path}/chat.json",
        "/image",
        f"/image {folder}/page.jpg",
        f"/image '{folder}",
        "/dance",
        "/help",
        "",
        f"/save {tmp_path}/no/folder.json",
        "/quit",
        "never said",
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    chat = model.chat(max_new_tokens=5)
    converse(chat)
    out, err = capsys.readouterr()
    turns = chat.conversation.turns
    assert [turn.text for turn in turns if turn.role == "user"] == ["What is it?", "Sure?"]
    assert [image.path for image in chat.conversation.images] == [str(folder / "cat.jpg")]
    assert all(turn.text in out for turn in turns if turn.role == "assistant")
    for told in (
        "new conversation",
        "4 turns",
        "Which picture?",
        "not a picture",
        "quotation",
        "no /dance",
        "/save FILE",
    ):
        assert told in err
    assert "cannot be written" in err


def test_no_answer_steers_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal, expected in ((True, "a[2Jb\n\tc"), (False, "a\x1b[2Jb\n\tc")):
        out = io.StringIO()
        monkeypatch.setattr(out, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setattr("sys.stdout", out)
        write("a\x1b[2Jb\n\tc")
        assert out.getvalue() == expected


def test_a_folder_without_our_facts_uses_the_known_template(folder: Path, model: Model, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in (folder / "model").iterdir():
        if file.name not in ("seetell.json", "chat_template.jinja"):
            (bare / file.name).write_bytes(file.read_bytes())
    asked = (folder / "cat.jpg", "What is it?")
    assert seetell.load(bare).ask(*asked, max_new_tokens=6) == model.ask(*asked, max_new_tokens=6)


def test_parts_that_do_not_fit_together_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in (folder / "model").iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    facts = json.loads((other / "seetell.json").read_text())
    (other / "seetell.json").write_text(json.dumps({**facts, "slots_per_image": 9}))
    with pytest.raises(SeetellError, match="does not fit together"):
        seetell.load(other)
    with pytest.raises(UsageError, match="no dtype"):
        seetell.load(folder / "model", dtype="float8")


def test_importing_the_package_imports_no_torch() -> None:
    program = "import sys, seetell; seetell.__version__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
