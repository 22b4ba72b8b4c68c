"""`seetell show`: the sample's own ids read back, what is learnt marked."""

from __future__ import annotations

from pathlib import Path

import pytest

from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor, template_named
from seetell.encode.sample import Sample
from seetell.encode.tokenizer import Tokenizer
from seetell.errors import BadInput
from seetell.train.show import sample_pieces
from seetell.types import Conversation, Image, Turn
from seetell.verbs.data import check
from seetell.verbs.show import show
from tests.tiny import tiny_data, tiny_tokenizer
from tests.tiny_folders import write_whole


@pytest.fixture
def processor() -> Processor:
    tokenizer = Tokenizer(tiny_tokenizer())
    return Processor(tokenizer, template_named("vicuna-v1", tokenizer), ImageProcessor(16), slots_per_image=4)


def test_pieces_spell_the_whole_sample_and_mark_the_answers(processor: Processor) -> None:
    turns = (Turn("user", (Image("a.png"), "Wie heißt 猫?")), Turn("assistant", ("Katze 🐱.",)))
    sample = processor.encode(Conversation("x", turns))
    assert isinstance(sample, Sample)
    pieces = list(sample_pieces(sample, processor))
    assert [text for text, learnt in pieces if learnt] == [" Katze 🐱.</s>"]
    assert ("<image × 4>", False) in pieces
    assert "".join(text for text, _ in pieces).endswith("USER: <image × 4>\nWie heißt 猫? ASSISTANT: Katze 🐱.</s>")


def test_pictures_are_found_beside_the_file_and_in_images_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, tune = tiny_data(tmp_path, 2)
    show(tune, id="t1")
    told = capsys.readouterr()
    assert "rejected: missing picture" in told.out
    assert f"looked for in {tmp_path} and {tmp_path / 'images'}: if they lie elsewhere, add --images FOLDER" in told.err
    (tmp_path / "pictures").rename(tmp_path / "images")
    show(tune, id="t1")
    told = capsys.readouterr()
    assert "1.png · 20 × 18" in told.out
    assert "looked for" not in told.err
    check(Path(tune))
    assert Path(tune).parent.joinpath("images", "0-1.png").rename(tmp_path / "0-1.png")
    check(Path(tune))  # some beside the file, some in images/
    with pytest.raises(BadInput):
        check(Path(tune), tmp_path / "elsewhere")


def test_a_finished_model_shows_data_in_its_own_template(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, tune = tiny_data(tmp_path, 2)
    write_whole(tmp_path / "model", tmp_path)
    show(tune, id="t1", model=str(tmp_path / "model"))
    out = capsys.readouterr().out
    assert out.startswith(f"{tune} · t1 · vicuna-v1 · ")
    assert "1 × 4 image tokens" in out
    assert "rejected: missing picture" in out  # tiny_data keeps its pictures in a folder of their own
    assert out.count("⟦ ") == 2
    show(tune, id="t1", model=str(tmp_path / "model"), images=tmp_path / "pictures")
    assert "1.png · 20 × 18" in capsys.readouterr().out
