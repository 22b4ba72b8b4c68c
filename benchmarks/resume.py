"""Does a killed run end where an undisturbed one ends, to the last bit?

Run     python benchmarks/resume.py --kills 20 --ranks 2 --json resume.json
Needs   nothing: random-weight parts and a data set of coloured squares, both made here
Method  One run goes to its end undisturbed. Then, `kills` times: the same training is started in a process of
        its own, killed with SIGKILL, and started again by the same command. The moment is drawn by lot; in
        every other trial the kill waits from then on until a checkpoint or a model is just being written.
        A trial whose run ended first is drawn again. Compared: sha256 of every finished safetensors file, and
        the metrics row by row. With several ranks, each a process joined by gloo, one of them is killed or all are,
        by lot; those that are left must end by themselves.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stderr
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

from seetell.console import console
from seetell.train.recipe import Data, Model, Recipe, Stage

ENDS_WITHIN_S = 300.0


def make_recipe(root: Path, samples: int, compile: Literal["auto", "on", "off"] = "auto") -> Recipe:
    """Tiny parts, tiny data, both stages, one of them with pictures decoded as it goes and one with kept features."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.tiny import tiny_data, tiny_parts

    vision, language = tiny_parts(root)
    align, tune = tiny_data(root, samples)
    pictures = str(root / "pictures")
    stage = Stage(
        data=(Data(align, images=pictures),),
        lr={"connector": 1e-2},
        samples_per_step=8,
        template="plain",
        image="square",
        micro_tokens=512,
        compile=compile,
    )
    tune_stage = Stage(
        data=(Data(tune, images=pictures),),
        lr={"connector": 1e-3, "language": 2e-3},
        samples_per_step=8,
        epochs=2,
        template="vicuna-v1",
        image="pad",
        micro_tokens=1024,
        compile=compile,
        cache_features=True,
    )
    return Recipe(Model(vision, language), align=stage, tune=tune_stage, seed=5)


def run_once(recipe: Recipe, out: Path, rank: int, ranks: int, meeting: Path, device: str) -> None:
    """What a process that is killed does: train, with a checkpoint after every step."""
    import torch
    from torch import distributed

    from seetell.train.run import train

    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        console.file = nowhere
        torch.set_num_threads(1)
        try:
            if ranks > 1:
                os.environ["GLOO_SOCKET_IFNAME"] = "lo"
                distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks)
            train(recipe, out, device=device, checkpoint_every_s=0.0)
        except Exception:
            if ranks == 1:
                raise
            os._exit(1)  # another rank was killed, and what it left open would be waited for


def start(recipe: Recipe, out: Path, ranks: int, device: str = "cpu") -> list[BaseProcess]:
    """A process for each rank, forked from a server that has done nothing but the slow imports."""
    meeting = out.parent / f".meeting-{time.monotonic_ns()}"
    given = (ranks, meeting, device)
    children = [context().Process(target=run_once, args=(recipe, out, rank, *given)) for rank in range(ranks)]
    for child in children:
        child.start()
    return list(children)


def context() -> ForkServerContext:
    """Where processes come from."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["seetell.train.run", "torch.utils.tensorboard", "transformers.models.llama"])
    return server


def end(children: list[BaseProcess]) -> None:
    """Waits for the processes; those that a dead one left behind notice it by themselves, soon."""
    for child in children:
        child.join(ENDS_WITHIN_S)
    if left := [rank for rank, child in enumerate(children) if child.is_alive()]:
        for child in children:
            child.kill()
        raise SystemExit(f"ranks {left} still wait, {ENDS_WITHIN_S} seconds later")


def hashes(out: Path) -> dict[str, str]:
    """Of every finished tensor file, by its name."""
    files = sorted(path for part in ("aligned", "model") for path in (out / part).glob("*.safetensors"))
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def metrics(out: Path) -> list[dict[str, object]]:
    """The rows of the run's metrics, without what the clock decides."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in ("seconds", "data_wait_s")} for row in rows]


def is_writing(out: Path) -> bool:
    """Whether a checkpoint or a model is half written there."""
    return any(out.glob("**/.writing-*")) or any(path.is_dir() for path in out.glob(".*.part"))


def kill_and_go_on(
    recipe: Recipe,
    out: Path,
    ranks: int,
    victims: Sequence[int],
    after_s: float,
    while_writing: bool,
    device: str = "cpu",
) -> tuple[bool, bool]:
    """One kill, then the same command to its end; whether the kill hit, and whether something was being written."""
    children = start(recipe, out, ranks, device)
    kill_at_s = time.monotonic() + after_s
    while any(child.is_alive() for child in children):
        if time.monotonic() >= kill_at_s and (not while_writing or is_writing(out)):
            for rank in victims:
                children[rank].kill()
            break
        time.sleep(0.0002 if time.monotonic() >= kill_at_s else 0.002)
    end(children)
    hit = any(child.exitcode == -signal.SIGKILL for child in children)
    writing = is_writing(out)
    if hit:
        children = start(recipe, out, ranks, device)
        end(children)
    if any(codes := [child.exitcode for child in children]):
        raise SystemExit(f"the training processes ended with {codes}")
    return hit, writing


def measure(kills: int, samples: int, seed: int, ranks: int = 1) -> dict[str, object]:
    """Trials until `kills` SIGKILLs have hit; every trial must end bit-equal."""
    began_s = time.monotonic()
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        recipe = make_recipe(root, samples)
        undisturbed = root / "undisturbed"
        warm = context().Process()  # the server's imports are no part of a run's time
        warm.start()
        warm.join()
        run_began_s = time.monotonic()
        children = start(recipe, undisturbed, ranks)
        end(children)
        if any(child.exitcode != 0 for child in children):
            raise SystemExit("the undisturbed run failed")
        seconds = time.monotonic() - run_began_s
        wanted, rows = hashes(undisturbed), metrics(undisturbed)
        drawn = hits = equal = hits_writing = hits_all = 0
        while hits < kills:
            out = root / f"trial-{drawn}"
            drawn += 1
            victims = chance.choice([range(ranks), *([rank] for rank in range(ranks))])
            after_s = chance.uniform(0.0, seconds)
            hit, writing = kill_and_go_on(recipe, out, ranks, victims, after_s, bool(hits % 2))
            if hit:
                hits, hits_writing, hits_all = hits + 1, hits_writing + writing, hits_all + (len(victims) == ranks)
                equal += hashes(out) == wanted and metrics(out) == rows
    return {
        "ranks": ranks,
        "kills": hits,
        "kills_of_all_ranks": hits_all,
        "kills_while_writing": hits_writing,
        "bit_equal": equal,
        "steps": len(rows),
        "seconds": round(time.monotonic() - began_s, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    result = measure(given.kills, given.samples, given.seed, given.ranks)
    print(json.dumps(result, indent=2))
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    if result["bit_equal"] != result["kills"]:
        raise SystemExit("NOT bit-equal")


if __name__ == "__main__":
    main()
