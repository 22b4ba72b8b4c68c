"""The commonest mistakes at the command line: how long each takes to be answered, in a process of its own.

    python benchmarks/errors.py [--rounds 3] --json errors.json

Each command is run in a folder with little in it: ten drawn scenes as captions and boxes, a recipe of theirs, a
folder that is in use. CPU seconds are those of the whole process, user and system; wall seconds stand beside them
since a dead endpoint or a hub that does not answer is waited for. The hub here is an address that answers nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

SILENT = "http://127.0.0.1:9"  # nobody listens there
CAPTIONS = "--captions captions.json --instances instances.json --images images"
LINES = {
    "--version": "--version",
    "--help": "--help",
    "missing data file": "train drawn --set align.data=none.json",
    "missing data file (plan)": "plan drawn",
    "missing data file (show)": "show none.json",
    "missing data file (data check)": "data check none.json",
    "missing pictures folder": "train recipe.py --set tune.data.0.images=pictures",
    "missing pictures folder (generate)": (
        "generate --captions captions.json --instances instances.json --images pictures --teacher rules --out new"
    ),
    "wrong recipe name": "train llava_1_5_7",
    "wrong recipe name (plan)": "plan llava_1_5_7",
    "wrong --set key": "train recipe.py --set tune.epoch=2",
    "wrong --set value": "plan recipe.py --set tune.epochs=many",
    "wrong template": "train recipe.py --set tune.template=vicuna",
    "wrong template (show)": "show tune.json --template vicuna",
    "missing model folder (chat)": "chat runs/none/model picture.png",
    "missing model folder (eval)": "eval drawn --model runs/none/model --out new",
    "missing model folder (export)": "export runs/none/model --to hf --out new",
    "missing model folder (import)": "import runs/none/model --out new",
    "missing model folder (train)": "train finetune_yours --set tune.data=tune.json",
    "no model's folder": "chat images",
    "missing picture": "chat model none.png",
    "missing extra": "train recipe.py --set tune.lora.rank=4",
    "missing extra (plan)": "plan recipe.py --set tune.lora.rank=4",
    "output folder in use": "train recipe.py --out filled",
    "output folder in use (import)": "import model --out filled",
    "unknown task": "eval pop --model model --out new",
    "missing benchmark": "eval pope --model model --out new",
    "unknown judge": "eval llava_bench_wild --model model --data images --judge nobody --out new",
    "missing API key": f"generate {CAPTIONS} --model gpt-4o-mini --out new",
    "dead endpoint": f"generate {CAPTIONS} --base-url {SILENT}/v1 --model m --out new",
    "dead endpoint (eval)": f"eval drawn --limit 4 --model openai:m@{SILENT}/v1 --out new",
    "dead hub (plan)": "plan llava_1_5_7b --rows 1000",
    "dead hub (chat)": "chat nobody/nothing",
    "silent hub (plan)": "plan llava_1_5_7b --rows 1000",
}
RECIPE = """
from dataclasses import replace
from seetell.config import load_recipe
from seetell.train.recipe import Data

DRAWN = load_recipe("drawn")
STAGE = replace(DRAWN.tune, data=(Data("tune.json", images="images"),))
RECIPE = replace(DRAWN, align=replace(DRAWN.align, data=STAGE.data), tune=STAGE)
"""


def prepare(folder: Path) -> None:
    """What the commands find: captions, boxes and pictures, conversations, a recipe, a folder that is filled."""
    from seetell.sources.coco import read_coco, write_coco
    from seetell.sources.conversations import captions_as_pairs, write_conversations
    from seetell.sources.drawn.scenes import drawn_scenes

    write_coco(folder, (drawn.scene for drawn in drawn_scenes("train", 10)))
    scenes = list(read_coco(folder / "captions.json", folder / "instances.json", folder / "images"))
    write_conversations(folder / "tune.json", captions_as_pairs(scenes), folder / "images")
    (folder / "recipe.py").write_text(RECIPE, encoding="utf-8")
    (folder / "filled" / "model").mkdir(parents=True)
    (folder / "filled" / "model" / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text('{"model_type": "llava"}', encoding="utf-8")
    (folder / "picture.png").write_bytes(next((folder / "images").iterdir()).read_bytes())


@contextmanager
def silent_server() -> Iterator[str]:
    """An address that takes a connection and never answers."""
    with create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def run(name: str, line: str, folder: Path, hub: str) -> dict[str, Any]:
    """One command: its exit code, its last line, CPU and wall seconds."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "OPENAI", "SEETELL"))}
    environment |= {"HF_ENDPOINT": hub, "HF_HOME": str(folder / "cache"), "COLUMNS": "80", "NO_COLOR": "1"}
    if "extra" in name:
        (folder / "hidden").mkdir(exist_ok=True)
        (folder / "hidden" / "sitecustomize.py").write_text(HIDDEN, encoding="utf-8")
        environment["PYTHONPATH"] = str(folder / "hidden")
    words = [str(Path(sys.executable).with_name("seetell")), *line.split()]
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    wall_s, after = time.monotonic() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return {"code": done.returncode, "cpu_s": cpu_s, "wall_s": wall_s, "last_line": lines[-1] if lines else ""}


HIDDEN = """
import importlib.util
_find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "peft" else _find(name, *rest)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="only the mistakes whose name holds this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    print(f"{'mistake':36} {'code':>4} {'CPU s':>6} {'wall s':>6}")
    with TemporaryDirectory() as place, silent_server() as silent:
        prepare(Path(place))
        for name, line in LINES.items():
            if options.only not in name:
                continue
            hub = silent if "silent" in name else SILENT
            rounds = [run(name, line, Path(place), hub) for _ in range(options.rounds)]
            best = min(rounds, key=lambda one: one["cpu_s"])
            found[name] = best | {"line": line}
            print(f"{name:36} {best['code']:4} {best['cpu_s']:6.2f} {best['wall_s']:6.2f}  {best['last_line'][:140]}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
