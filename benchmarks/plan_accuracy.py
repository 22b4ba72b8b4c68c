"""What `seetell plan` foretells against what the run then does, on this machine: tokens, memory, seconds.

    python benchmarks/plan_accuracy.py [--rows 384] [--rounds 3] --json plan_accuracy.json

A random model of a few layers and drawn squares in place of photos, with text as long as real text is
(`lengths.py`). Both are asked as a user would: `plan` in one process, `train` in another, whose peak of resident
memory is taken above what it held when everything was imported. Seconds are those of the steps.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from seetell.forecast.lengths import lengths

SIDE_PX, PATCH_PX, SLOTS = 112, 14, 64
LIMITS = {"tokens": 0.05, "memory_bytes": 0.15, "seconds": 0.15}
RECIPE = """
from seetell.train.recipe import Data, Model, Recipe, Stage

def stage(data, lr, template):
    return Stage(data=(Data(data, images={images!r}),), lr=lr, samples_per_step=32, template=template,
                 micro_tokens=4096)

RECIPE = Recipe(
    model=Model(vision={vision!r}, language={language!r}),
    align=stage({align!r}, {{"connector": 1e-3}}, "plain"),
    tune=stage({tune!r}, {{"connector": 2e-5, "language": 2e-5}}, "vicuna-v1"),
)
"""


def write_world(folder: Path, rows: int) -> Path:
    """Parts, pictures, data and a recipe for them; returns the recipe."""
    from PIL import Image

    pictures = folder / "pictures"
    pictures.mkdir()
    chance = random.Random(0)
    for number in range(rows):
        colour = tuple(chance.randrange(256) for _ in range(3))
        Image.new("RGB", (SIDE_PX, SIDE_PX), colour).save(pictures / f"{number}.png")
    vision, language = write_parts(folder)
    files = {}
    for name, number in (("align", 1), ("tune", 2)):
        drawn = lengths(number, rows, slots=SLOTS)
        texts = [tokens - SLOTS * (picture >= 0) for tokens, picture in zip(drawn.tokens, drawn.pictures, strict=True)]
        data = [
            conversation(i, text, learnt, shows=picture >= 0)
            for i, (text, learnt, picture) in enumerate(zip(texts, drawn.supervised, drawn.pictures, strict=True))
        ]
        files[name] = str(folder / f"{name}.json")
        Path(files[name]).write_text(json.dumps(data), encoding="utf-8")
    recipe = folder / "recipe.py"
    recipe.write_text(RECIPE.format(images=str(pictures), vision=vision, language=language, **files), encoding="utf-8")
    return recipe


def conversation(number: int, text: int, learnt: int, shows: bool) -> dict[str, Any]:
    """A row about as long in bytes, which are the tokens here, as a real one is in tokens."""
    asked = "q" * max(1, text - learnt - 160)  # the system prompt and the roles' names take the rest
    turns = [
        {"from": "human", "value": ("<image>\n" if shows else "") + asked},
        {"from": "gpt", "value": "a" * max(1, learnt)},
    ]
    return {"id": str(number), "conversations": turns} | ({"image": f"{number}.png"} if shows else {})


def write_parts(folder: Path) -> tuple[str, str]:
    """A random tower of 4 layers, 192 wide, and a random decoder of 6, 256 wide, in folders."""
    from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

    from tests.tiny import tiny_parts, tiny_tokenizer

    small, _ = tiny_parts(folder / "small")
    vision, language = folder / "vision", folder / "language"
    tower = CLIPVisionConfig(
        hidden_size=192, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4,
        image_size=SIDE_PX, patch_size=PATCH_PX,
    )  # fmt: skip
    CLIPVisionModel(tower).save_pretrained(vision)
    facts = json.loads((Path(small) / "preprocessor_config.json").read_text(encoding="utf-8"))
    facts |= {"size": {"shortest_edge": SIDE_PX}, "crop_size": {"height": SIDE_PX, "width": SIDE_PX}}
    (vision / "preprocessor_config.json").write_text(json.dumps(facts), encoding="utf-8")
    tiny_tokenizer().save_pretrained(language)
    decoder = LlamaConfig(
        vocab_size=8192, hidden_size=256, intermediate_size=688, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=4096, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(decoder).save_pretrained(language)
    return str(vision), str(language)


def run_stage(recipe: str, out: str, stage: str) -> None:
    """The child: trains one stage and prints its tokens, its seconds and by how much memory grew."""
    import torch

    from seetell.config import load_recipe
    from seetell.train import run

    torch.matmul(torch.ones(8, 8), torch.ones(8, 8))  # loads the kernels
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run.train(load_recipe(recipe), out, stages=[stage])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    report = json.loads((Path(out) / "report.json").read_text(encoding="utf-8"))["stages"][stage]
    print(json.dumps({"tokens": report["tokens"], "seconds": report["seconds"], "memory_bytes": grown}))


def ask(*command: str) -> Any:
    """The last line that a Python process of this repository prints, read as JSON."""
    told = subprocess.run([sys.executable, *command], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    if told.returncode:
        raise SystemExit(told.stderr)
    return json.loads(told.stdout.splitlines()[-1])


def measure(recipe: Path, out: Path) -> dict[str, dict[str, dict[str, float]]]:
    """For each stage and each figure: predicted, measured, and by what fraction the prediction is off."""
    found = {}
    for stage in ask("-m", "seetell", "plan", str(recipe), "--json"):
        name = stage["name"]
        measured = ask(__file__, "--child", str(recipe), str(out), name)
        foretold = {
            "tokens": stage["counts"]["slots"],
            "memory_bytes": stage["peak_bytes"],
            "seconds": stage["hours"] * 3600,
        }
        found[name] = {
            what: {"predicted": value, "measured": measured[what], "off": value / measured[what] - 1}
            for what, value in foretold.items()
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return run_stage(*options.child)
    with tempfile.TemporaryDirectory() as folder:
        recipe = write_world(Path(folder), options.rows)
        rounds = [measure(recipe, Path(folder) / f"run-{number}") for number in range(options.rounds)]
    print("stage  figure          predicted       measured      off  allowed")
    for stage, what in ((stage, what) for stage in rounds[0] for what in LIMITS):
        of_rounds = [one[stage][what] for one in rounds]
        predicted, measured, off = (statistics.median(one[key] for one in of_rounds) for key in of_rounds[0])
        print(f"{stage:6} {what:12} {predicted:14,.1f} {measured:14,.1f} {off:+8.1%} {LIMITS[what]:8.0%}")
    if options.json:
        options.json.write_text(json.dumps({"limits": LIMITS, "rounds": rounds}, indent=1), encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
