"""The commonest mistakes are answered before torch is imported: they are tried in a process that cannot import it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import tiny_data

ROOT = Path(__file__).parents[2]
SCRIPT = """
import contextlib, importlib.util, io, json, sys
heavy = ("torch", "transformers", "tokenizers", "safetensors")
sys.modules.update(dict.fromkeys(heavy))  # importing one of them fails now
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "peft" else find(name, *rest)
from seetell import cli
found = {}
for line in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    cli.console.file = err
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main(line.split())
        except SystemExit as ended:
            code = ended.code
    found[line] = (code, out.getvalue(), err.getvalue())
print(json.dumps(found))
"""
RECIPE = """
from dataclasses import replace
from seetell.config import load_recipe
from seetell.train.recipe import Data

DRAWN = load_recipe("drawn")
STAGE = replace(DRAWN.tune, data=(Data("tune.json", images="pictures"),))
RECIPE = replace(DRAWN, align=STAGE, tune=STAGE)
"""
LINES = {
    "train drawn --set align.data=none.json": (3, "There is no data file none.json."),
    "plan drawn": (3, "There is no data file runs/demo/data/align.json"),
    "show none.json": (3, "There is no data file none.json."),
    "show drawn": (3, "There is no data file runs/demo/data/align.json"),
    "train recipe.py --set tune.data.0.images=photos": (3, "There is no folder of pictures photos"),
    "plan recipe.py --set align.data.0.images=photos": (3, "correct --set align.data.0.images"),
    "show tune.json --images photos": (3, "There is no folder of pictures photos: correct --images"),
    "train llava_1_5_7": (2, 'did you mean "llava_1_5_7b"?'),
    "plan llava_1_5_7": (2, 'did you mean "llava_1_5_7b"?'),
    "show llava_1_5_7": (2, 'did you mean "llava_1_5_7b"?'),
    "train recipe.py --set tune.epoch=2": (2, 'did you mean "epochs"?'),
    "plan recipe.py --set tune.epoch=2": (2, 'did you mean "epochs"?'),
    "plan recipe.py --set tune.epochs=many": (2, "a whole number"),
    "plan recipe.py --price H101=2": (2, "prices no known GPU"),
    "train recipe.py --set tune.template=vicuna": (2, 'did you mean "vicuna-v1"?'),
    "plan recipe.py --set tune.template=vicuna": (2, 'did you mean "vicuna-v1"?'),
    "show tune.json --template vicuna": (2, 'did you mean "vicuna-v1"?'),
    "import model --template vicuna --out new": (2, 'did you mean "vicuna-v1"?'),
    "chat runs/none": (2, "There is no model folder runs/none"),
    "eval drawn --model runs/none --out new": (2, "There is no model folder runs/none"),
    "eval drawn --model openai:m@ftp:x --out new": (2, "should be NAME@URL"),
    "eval drawn --model answers:none.jsonl --out new": (3, "There is no file of answers none.jsonl"),
    "export runs/none --to hf --out new": (2, "There is no model folder runs/none"),
    "import runs/none --out new": (2, "There is no model folder runs/none"),
    "import model --base runs/none --out new": (2, "leave --base out"),
    "show tune.json --model runs/none": (2, "There is no model folder runs/none"),
    "train finetune_yours --set tune.data=tune.json": (2, "There is no model folder runs/llava-1.5-7b/model"),
    "plan recipe.py --set model.vision=nobody/nothing": (4, "HF_HUB_OFFLINE is set"),
    "chat nobody/nothing": (4, "HF_HUB_OFFLINE is set"),
    "eval drawn --model nobody/nothing --out new": (4, "HF_HUB_OFFLINE is set"),
    "show tune.json --model nobody/nothing": (4, "HF_HUB_OFFLINE is set"),
    "chat pictures": (3, "has no config.json"),
    "chat model none.png": (3, "There is no picture none.png"),
    "train recipe.py --set tune.lora.rank=4": (2, "tune: LoRA needs peft, which is not installed"),
    "plan recipe.py --set tune.lora.rank=4": (2, "LoRA needs peft, which is not installed"),
    "train recipe.py --out filled": (2, "filled holds model of no run recorded there"),
    "train recipe.py --out begun": (2, "begun holds a run that began otherwise"),
    "train recipe.py --out tune.json": (2, "tune.json is a file, not a folder"),
    "import model --out filled": (2, "not empty"),
    "export model --to hf --out filled": (2, "not empty"),
    "demo --out tune.json": (2, "tune.json is a file, not a folder"),
    "eval pop --model model --out new": (2, 'did you mean "pope"?'),
    "eval pope --model model --out new": (3, "data/pope is absent"),
    "eval llava_bench_wild --data pictures --model model --judge nobody --out new": (2, "--judge should be"),
    "train recipe.py --observe-every 5 --observe pope": (3, "data/pope is absent"),
    "train recipe.py --observe-every 5 --observe-picture none.png": (3, "There is no picture none.png"),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """What each line said and ended with, all in one process without torch."""
    folder = tmp_path_factory.mktemp("mistakes")
    tiny_data(folder, 4)
    (folder / "recipe.py").write_text(RECIPE)
    for name in ("model", "filled/model", "begun/model"):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text('{"model_type": "llava"}')
    (folder / "begun" / "model" / "manifest.json").write_text("{}")
    (folder / "begun" / "recipe.json").write_text('{"seed": 7}')
    (folder / "begun" / "run.json").write_text("{}")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-W", "error", "-c", SCRIPT, json.dumps(list(LINES))]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("line", LINES)
def test_a_mistake_is_answered_without_torch(told: dict[str, tuple[int, str, str]], line: str) -> None:
    code, out, err = told[line]
    assert (code, out) == (LINES[line][0], ""), err
    assert LINES[line][1] in err.splitlines()[-1]


def test_help_and_version_import_nothing_heavy() -> None:
    script = SCRIPT.replace("heavy = (", 'heavy = ("numpy", "PIL", "scipy", "openai", ')
    words = [sys.executable, "-c", script, json.dumps(["--help", "--version", "train --help", "generate --help"])]
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert [code for code, _, _ in json.loads(done.stdout).values()] == [0, 0, 0, 0]
