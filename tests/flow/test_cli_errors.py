"""Bad input to every verb: one clear sentence, the right exit code, no traceback, nothing half written."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from seetell import cli
from seetell.console import console
from tests.tiny import tiny_data, tiny_parts

WITHOUT_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
RECIPE = """
from seetell.train.recipe import Data, Model, Recipe, Stage

RECIPE = Recipe(
    model=Model(vision={vision!r}, language={language!r}),
    align=Stage(data=(Data({align!r}, images={pictures!r}),), lr={{"connector": 1e-3}}, samples_per_step=4,
                template="plain", image="square"),
    tune=Stage(data=(Data({tune!r}, images={pictures!r}),), lr={{"connector": 1e-3, "language": 1e-3}},
               samples_per_step=4, image="square"),
)
"""


@dataclass(frozen=True)
class World:
    """Tiny parts, a data set, a recipe over them, and a finished model."""

    folder: Path
    recipe: str
    model: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    vision, language = tiny_parts(folder / "parts")
    align, tune = tiny_data(folder, 8)
    recipe = folder / "recipe.py"
    pictures = str(folder / "pictures")
    recipe.write_text(RECIPE.format(vision=vision, language=language, align=align, tune=tune, pictures=pictures))
    from seetell.verbs.training import train

    train(str(recipe), folder / "run", stages=("align",), device="cpu")
    (folder / "broken.json").write_text('[{"id": 1, "conversations": [')
    (folder / "page.json").write_text("<html>not found</html>")
    (folder / "faulty.json").write_text(json.dumps([{"id": "a"}, {"id": "b", "conversations": []}]))
    (folder / "late.jpg").write_text("<html>not found</html>")
    (folder / "empty").mkdir()
    (folder / "damaged").mkdir()
    (folder / "damaged" / "config.json").write_text("[]")
    (folder / "broken.py").write_text("RECIPE = 1 / 0")
    (folder / "other.py").write_text("RECIPES = 1")
    return World(folder, str(recipe), str(folder / "run" / "aligned"))


@pytest.fixture
def seetell(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[int, str, str]]:
    """Runs a command line, where FOLDER, RECIPE, MODEL and NEW stand for the world's and a folder not yet there."""
    monkeypatch.setattr(console, "quiet", False)

    def run(line: str) -> tuple[int, str, str]:
        names = {
            "FOLDER": str(world.folder),
            "RECIPE": world.recipe,
            "MODEL": world.model,
            "NEW": str(tmp_path / "new"),
        }
        words = line.split()
        for name, value in names.items():
            words = [word.replace(name, value) for word in words]
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main(words)
        finally:
            signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("plan llava_1_5_7", 2, 'did you mean "llava_1_5_7b"?'),
        ("plan FOLDER/none.py", 2, "there is no recipe"),
        ("plan FOLDER/broken.py", 2, "ZeroDivisionError"),
        ("plan FOLDER/other.py", 2, "holds no RECIPE"),
        ("plan RECIPE --set tune.lr.langage=1", 2, "langage"),
        ("plan RECIPE --set tune.epoch=2", 2, 'did you mean "epochs"?'),
        ("plan RECIPE --set tune.epochs=many", 2, "a whole number"),
        ("plan RECIPE --set tune.template=vicuna", 2, 'did you mean "vicuna-v1"?'),
        ("plan RECIPE --set model.vision=nobody/nothing", 4, "There is no vision tower folder nobody/nothing"),
        ("plan RECIPE --set model.vision=FOLDER/nowhere", 2, "There is no vision tower folder FOLDER/nowhere"),
        ("plan RECIPE --set model.language=nobody/nothing", 4, "There is no language model folder nobody/nothing"),
        ("plan RECIPE --set model.language=FOLDER/empty", 3, "FOLDER/empty holds no tokenizer"),
        ("train RECIPE --out NEW --set model.vision=nobody/nothing", 4, "vision tower folder nobody/nothing"),
        ("train RECIPE --out NEW --set model.vision=FOLDER/damaged", 3, "vision tower FOLDER/damaged cannot"),
        (
            "train RECIPE --out NEW --set model.language=FOLDER/nowhere",
            2,
            "There is no language model folder FOLDER/nowhere",
        ),
        ("plan RECIPE --set align.data=FOLDER/none.json", 3, "no data file"),
        ("plan RECIPE --set align.data=FOLDER/broken.json", 3, "not a whole JSON list"),
        ("plan RECIPE --set align.data=FOLDER/page.json", 3, "not a conversation file"),
        ("plan RECIPE --set align.data=FOLDER/faulty.json", 3, "2 × no conversation"),
        ("plan RECIPE --set tune.max_tokens=5", 3, "too long"),
        ("train RECIPE --out NEW --set model.connector=mlp", 2, "There is no connector 'mlp'"),
        ("train RECIPE --out NEW --set tune.data=FOLDER/page.json", 3, "not a conversation file"),
        ("train RECIPE --out FOLDER/recipe.py", 2, "recipe.py is a file, not a folder"),
        pytest.param("train RECIPE --out NEW --device cuda", 2, "CUDA", marks=WITHOUT_CUDA),
        ("plan RECIPE --set tune.template=math:pi", 2, "math:pi is no chat template"),
        ("train RECIPE --out NEW --set tune.template=pathlib:Path", 2, "pathlib:Path is no chat template"),
        ("plan finetune_yours --set model.start=FOLDER/none", 2, "There is no model folder FOLDER/none"),
        ("train finetune_yours --out NEW --set model.start=FOLDER/none", 2, "There is no model folder FOLDER/none"),
        ("chat MODEL --prompt Hi --seed -1", 2, "The seed is -1"),
        ("show FOLDER/none.json", 3, "no data file"),
        ("show FOLDER/page.json --model MODEL", 3, "not a conversation file"),
        ("show FOLDER/faulty.json --model MODEL", 3, "2 rows would be rejected"),
        ("show FOLDER/faulty.json --model MODEL --id b", 3, "no conversation"),
        ("show FOLDER/tune.json --model MODEL --id none", 2, "There is no 'none'"),
        ("show FOLDER/tune.json --model MODEL --template vicunia", 2, 'did you mean "vicuna-v1"?'),
        ("show FOLDER/tune.json --model FOLDER/empty", 3, "empty"),
        ("show FOLDER/tune.json --model FOLDER/none", 2, "There is no model folder FOLDER/none"),
        ("show RECIPE --images FOLDER", 2, "leave --images out"),
        ("chat FOLDER/none --prompt Hi", None, "none"),
        ("chat FOLDER/empty --prompt Hi", 3, "empty"),
        ("chat MODEL --json", 2, "--prompt"),
        ("chat MODEL --image FOLDER/none.jpg --prompt Hi", 3, "none.jpg"),
        (
            "chat MODEL --image https://example.org/a.png --prompt Hi",
            3,
            "on the web, where nothing is fetched from",
        ),
        ("chat MODEL --image FOLDER/late.jpg --prompt Hi", 3, "late.jpg"),
        pytest.param("chat MODEL --prompt Hi --device cuda", 2, "CUDA", marks=WITHOUT_CUDA),
        ("import FOLDER/none --out NEW", None, "none"),
        ("import FOLDER/empty --out NEW", 3, "config.json"),
        ("import MODEL --out FOLDER", 2, "not empty"),
        ("export FOLDER/none --to hf --out NEW", 2, "no model folder"),
        ("export FOLDER/empty --to hf --out NEW", 3, "config.json"),
        ("export MODEL --to hf --out FOLDER", 2, "not empty"),
    ],
)
def test_bad_input_is_one_sentence_and_its_code(
    seetell: Callable[[str], tuple[int, str, str]],
    world: World,
    tmp_path: Path,
    line: str,
    code: int | None,
    said: str,
) -> None:
    ended, out, err = seetell(line)
    lines = err.replace(world.folder.as_posix(), "FOLDER").splitlines()
    assert ended in ((2, 3) if code is None else (code,)), err
    assert lines[-1].startswith("seetell: ")
    assert said in lines[-1]
    assert "unexpectedly" not in err
    assert "Traceback" not in err
    assert sum(line.startswith("seetell: ") for line in lines) == 1
    assert out == ""
    assert not (tmp_path / "new" / "model").exists()
