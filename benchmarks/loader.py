"""Pictures a CPU second: transformers' processors, ours "exact", ours "fast"; and how far the latter two differ.

    python benchmarks/loader.py [--pictures FOLDER] [--side 336] [--rounds 5] [--train] --json loader.json

Each reads a file, decodes it and makes it square: transformers into normalized float32, ours into bytes, as training
takes them (they are normalized on the device); "fast, normalized" ends where transformers does. One thread, whose own
CPU time is counted; the systems take turns, round by round, so that a busy machine is busy for all of them. Without a
folder of photographs, JPEGs of COCO's sizes are drawn. Before any timing, "exact" must equal transformers.

`--train` then trains both stages of a tiny model (4 + 6 layers, 384 wide, 64 slots a picture) on the pictures, on all
threads, and tells which part of the steps was spent waiting for data. The first step of a stage is told apart: nothing
can have been decoded before it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import PIL.Image
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

sys.path.insert(0, str(Path(__file__).parents[1]))

from seetell.encode.image import DECODINGS, Decoding, ImageProcessor
from seetell.model.tower import normalized
from seetell.train.recipe import Data, Model, Recipe, Stage
from seetell.train.run import train
from seetell.types import Image, Rejected
from tests.tiny import tiny_tokenizer

ROOT = Path(__file__).parents[1]
MODES = ("pad", "square")
SIZES = ((640, 480), (640, 427), (500, 375), (480, 640), (640, 480), (427, 640), (612, 612), (640, 360))
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")

System = Callable[[Path], torch.Tensor]


def draw_pictures(folder: Path, count: int = 48, seed: int = 0) -> None:
    """Smooth colours with some grain: JPEGs that cost about as much to decode as photographs of their size."""
    lots = np.random.default_rng(seed)
    for number in range(count):
        size = SIZES[number % len(SIZES)]
        coarse = PIL.Image.fromarray(lots.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize(size)
        grain = PIL.Image.fromarray(lots.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        PIL.Image.blend(coarse, grain, 0.12).save(folder / f"{number:03}.jpg", quality=90)


def systems(mode: str, side_px: int) -> dict[str, System]:
    """The three by name, for pictures made square in one way."""
    square = {"height": side_px, "width": side_px}
    make = LlavaImageProcessorPil if mode == "pad" else CLIPImageProcessorPil
    theirs = make(size={"shortest_edge": side_px}, crop_size=square, do_pad=mode == "pad")

    def transformers(path: Path) -> torch.Tensor:
        with PIL.Image.open(path) as picture:
            return theirs(picture, return_tensors="pt")["pixel_values"][0]

    def ours(processor: ImageProcessor) -> System:
        return lambda path: _sound(processor.pixels(Image(str(path))))

    exact = ImageProcessor(side_px, mode=mode)
    fast = ImageProcessor(side_px, mode=mode, decoding="fast")
    pixels = ours(fast)

    def fast_normalized(path: Path) -> torch.Tensor:
        return normal(pixels(path), fast)

    return {"transformers": transformers, "exact": ours(exact), "fast": pixels, "fast, normalized": fast_normalized}


def normal(pixels: torch.Tensor, processor: ImageProcessor) -> torch.Tensor:
    """[3, H, W] as the tower takes them."""
    return normalized(pixels, torch.tensor(processor.mean), torch.tensor(processor.std), torch.float32)


def differences(mode: str, side_px: int, paths: list[Path]) -> dict[str, Any]:
    """Grey levels between exact and fast: how many values differ by how much."""
    counts = np.zeros(256, dtype=np.int64)
    exact = ImageProcessor(side_px, mode=mode)
    fast = ImageProcessor(side_px, mode=mode, decoding="fast")
    for path in paths:
        one, other = (_sound(processor.pixels(Image(str(path)))).int() for processor in (exact, fast))
        counts += np.bincount((one - other).abs().flatten().numpy(), minlength=256)
    return {
        "values": int(counts.sum()),
        "by_grey_levels": {str(level): int(count) for level, count in enumerate(counts) if count},
        "largest": int(counts.nonzero()[0].max()),
        "mean": float(counts @ np.arange(256) / counts.sum()),
    }


def measure(paths: list[Path], side_px: int, rounds: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for mode in MODES:
        by_name = systems(mode, side_px)
        exact = ImageProcessor(side_px, mode=mode)
        pairs = ((by_name["transformers"](path), normal(by_name["exact"](path), exact)) for path in paths)
        parity = max(float((theirs - ours).abs().max()) for theirs, ours in pairs)
        assert parity <= 1e-6, f"exact pixels differ from transformers' by {parity}"
        rates: dict[str, list[float]] = {name: [] for name in by_name}
        for _ in range(rounds):
            for name, system in by_name.items():
                began_s = time.process_time()
                for path in paths:
                    system(path)
                rates[name].append(len(paths) / (time.process_time() - began_s))
        results[mode] = {
            "parity": parity,
            "differences": differences(mode, side_px, paths),
            "pictures_per_cpu_s": {name: statistics.median(all_of) for name, all_of in rates.items()},
            "pictures_per_cpu_s_spread": {name: [min(all_of), max(all_of)] for name, all_of in rates.items()},
            "times_transformers": {
                name: statistics.median(a / b for a, b in zip(all_of, rates["transformers"], strict=True))
                for name, all_of in rates.items()
            },
        }
    return results


def train_tiny(paths: list[Path], decoding: Decoding) -> dict[str, Any]:
    """The waiting of a run, by stage, in seconds and as a part of the time."""
    with tempfile.TemporaryDirectory() as folder:
        parts = tiny_parts(Path(folder))
        data = Path(folder) / "rows.json"
        answer = "A picture with a few things in it, seen from the side in the light of the afternoon."
        turns = [{"from": "human", "value": "<image>\nDescribe the picture."}, {"from": "gpt", "value": answer}]
        rows = [{"id": str(n), "image": str(p.absolute()), "conversations": turns} for n, p in enumerate(paths)]
        data.write_text(json.dumps(rows))
        aligning, tuning = {"connector": 1e-3}, {"connector": 1e-3, "language": 1e-4}
        recipe = Recipe(
            Model(*parts),
            align=Stage((Data(str(data)),), aligning, 16, template="plain", picture_decoding=decoding),
            tune=Stage((Data(str(data)),), tuning, 16, picture_decoding=decoding),
        )
        train(recipe, Path(folder) / "run", device="cpu")
        metrics = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
    found: dict[str, Any] = {}
    for stage in ("align", "tune"):
        first, *others = [row for row in metrics if row["stage"] == stage and "data_wait_s" in row]
        took_s, waited_s = others[-1]["seconds"] - first["seconds"], sum(row["data_wait_s"] for row in others)
        found[stage] = {
            "steps": len(others),
            "step_s": took_s / len(others),
            "data_wait_share": waited_s / took_s,
            "first_wait_s": first["data_wait_s"],
        }
    return found


def tiny_parts(folder: Path) -> tuple[str, str]:
    """Random parts as folders, of the size that `train_speed.py` calls tiny."""
    torch.manual_seed(0)
    vision, language = folder / "vision", folder / "language"
    tower = CLIPVisionConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=4,
        num_attention_heads=6,
        image_size=112,
        patch_size=14,
    )
    CLIPVisionModel(tower).save_pretrained(vision)
    CLIPImageProcessorPil(size={"shortest_edge": 112}, crop_size={"height": 112, "width": 112}).save_pretrained(vision)
    words = tiny_tokenizer()
    words.save_pretrained(language)
    shape = LlamaConfig(
        vocab_size=32_000, hidden_size=384, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=6,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(language)
    return str(vision), str(language)


def show_waiting(found: dict[str, Any]) -> None:
    print(f"{'decoding':9} {'stage':6} {'steps':>6} {'s/step':>7} {'waiting':>8} {'first wait':>11}")
    for decoding, stages in found.items():
        for stage, told in stages.items():
            wait, first = f"{told['data_wait_share']:.2%}", f"{told['first_wait_s']:.2f} s"
            print(f"{decoding:9} {stage:6} {told['steps']:6} {told['step_s']:7.2f} {wait:>8} {first:>11}")


def show(results: dict[str, Any]) -> None:
    print(f"{'mode':8} {'system':16} {'a CPU second':>12} {'spread':>17} {'times':>6}")
    for mode, found in results.items():
        for name, rate in found["pictures_per_cpu_s"].items():
            low, high = found["pictures_per_cpu_s_spread"][name]
            times = found["times_transformers"][name]
            print(f"{mode:8} {name:16} {rate:12.1f} {f'{low:.1f} to {high:.1f}':>17} {times:6.2f}")
        apart = found["differences"]
        levels = ", ".join(f"{count} by {level}" for level, count in apart["by_grey_levels"].items())
        print(f"{mode:8} fast against exact, grey levels: {levels}; mean {apart['mean']:.5f}")


def _sound(pixels: torch.Tensor | Rejected) -> torch.Tensor:
    if isinstance(pixels, Rejected):
        raise SystemExit(f"{pixels.id}: {pixels.reason}")
    return pixels


def _commit() -> str:
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return told.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description="pictures a CPU second")
    parser.add_argument("--pictures", type=Path, help="a folder of photographs; drawn ones without it")
    parser.add_argument("--side", type=int, default=336, help="pixels of the square that a tower takes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", action="store_true", help="also train a tiny model, and tell how long it waits")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as drawn:
        if asked.pictures is None:
            draw_pictures(Path(drawn))
        folder = asked.pictures or Path(drawn)
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
        if not paths:
            raise SystemExit(f"{folder} holds no picture ({', '.join(ENDINGS)}).")
        results = measure(paths, asked.side, asked.rounds)
        show(results)
        torch.set_num_threads(threads)
        waiting = {how: train_tiny(paths, how) for how in DECODINGS} if asked.train else {}
        show_waiting(waiting)
    if asked.json is not None:
        facts = {
            "date": str(date.today()),
            "commit": _commit(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__,
            "pillow": PIL.__version__,
            "pictures": len(paths),
            "drawn": asked.pictures is None,
            "side_px": asked.side,
            "rounds": asked.rounds,
            "threads": threads,
        }
        asked.json.write_text(json.dumps({**facts, "modes": results, "waiting": waiting}, indent=2) + "\n")


if __name__ == "__main__":
    main()
