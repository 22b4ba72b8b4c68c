"""How fast are the two stages, beside transformers' Trainer and a replica of LLaVA's own loop?

    python benchmarks/train_speed.py --size tiny --stage 1 --rounds 3 --json speed.json
    python benchmarks/train_speed.py --size tiny --stage 2 --ladder

Needs   the extra `bench` (accelerate, for the Trainer); nothing outside the repository
Method  All systems train the same random weights on the same rows with the same pictures, the same number of rows in
        an optimizer step. First each must give the same loss and the same gradient of the connector for the same
        rows; else nothing is timed and the exit code is 1. Then FLOPs are counted by torch's counter, which also
        warms up, and each system's peak of memory is taken. Then rounds A B C A B C, so that a machine that slows
        down slows down all; a round is several steps. A matrix product is timed before and after. Told are the median
        of the rounds and their spread, the largest less the smallest over the median.
Systems `systems/` holds one file for each kind, and what each does is told there. `hf-tuned` tries several
        micro-batches, and compiling, before the rounds.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch.nn import functional
from transformers import LlavaForConditionalGeneration

from benchmarks.systems.huggingface import hf_default, hf_plain, hf_tuned
from benchmarks.systems.ladder import ladder
from benchmarks.systems.measure import (
    Gradients,
    Times,
    counted_flops,
    forget_peak,
    matrix_product,
    necessary_flops,
    peak_memory,
)
from benchmarks.systems.ours import Ours, make_stage
from benchmarks.systems.replica import llava_replica
from benchmarks.systems.rows import Rows, make_rows
from benchmarks.systems.sizes import SIZES, Size, as_vlm, build_llava
from seetell.train.recipe import Lora

NAMES = ("ours", "hf-default", "hf-plain", "hf-tuned", "llava-replica")
EXACT = 1e-5  # float32, of loss and gradient, relative to the largest
QUICK: dict[str, Any] = {"micro_batches": (8, 16), "compiling": (False,)}
ROUGH_LOSS, ROUGH_COSINE = 1e-3, 0.999  # bfloat16


class System(Protocol):
    """What is timed."""

    @property
    def told(self) -> str: ...

    def gradients(self, rows: Rows, /) -> Gradients: ...

    def train(self, rows: Rows, samples_per_step: int, /) -> Times: ...


@dataclass(slots=True)
class Found:
    """One system's figures, while they come in."""

    told: str
    flops_per_sample: float
    rates: list[float] = field(default_factory=list[float])
    waits: list[float] = field(default_factory=list[float])
    peak_bytes: int = 0


def build(
    name: str,
    llava: LlavaForConditionalGeneration,
    size: Size,
    stage: int,
    rows: Rows,
    flags: Mapping[str, Any],
    tuning: Mapping[str, Any] | None = None,
    samples_per_step: int = 0,
) -> System:
    """The named system around the given weights; `tuning` is what `hf-tuned` may try."""
    lora = flags.get("lora")
    rank = 0 if lora is None else lora.rank
    samples_per_step = samples_per_step or size.samples_per_step[stage - 1]
    makers: dict[str, Callable[[], System]] = {
        "ours": lambda: Ours(as_vlm(llava, size), make_stage(stage, **flags)),
        "hf-default": lambda: hf_default(llava, rank),
        "hf-plain": lambda: hf_plain(llava, rank),
        "hf-tuned": lambda: hf_tuned(
            llava, rows, samples_per_step, **({"rank": rank} if rank else {}), **(tuning or {})
        ),
        "llava-replica": lambda: llava_replica(llava, size, stage),
    }
    return makers[name]()


def check_parity(systems: Mapping[str, System], rows: Rows, exact: bool, must: bool = True) -> dict[str, Any]:
    """The largest distance of any system from the first, or an end with exit code 1; where it need not be, `wrong` says
    what is too far."""
    first, *others = systems.items()
    wanted = first[1].gradients(rows)
    worst: dict[str, Any] = {"loss": 0.0, "connector_grad": 0.0}
    for name, system in others:
        got = system.gradients(rows)
        loss = abs(got.loss - wanted.loss) / abs(wanted.loss)
        cosine = float(functional.cosine_similarity(got.connector, wanted.connector, dim=0))
        largest = float((got.connector - wanted.connector).abs().max() / wanted.connector.abs().max())
        gradient = largest if exact else 1.0 - cosine
        same = max(loss, gradient) <= EXACT if exact else loss <= ROUGH_LOSS and cosine >= ROUGH_COSINE
        if not same:
            wrong = (
                f"{name} does not compute what {first[0]} computes: loss {got.loss:.7f} and {wanted.loss:.7f}, "
                f"connector gradient {largest:.1e} apart, cosine {cosine:.6f}."
            )
            if must:
                raise SystemExit(f"{wrong} Nothing was timed.")
            worst["wrong"] = wrong
        worst |= {"loss": max(worst["loss"], loss), "connector_grad": max(worst["connector_grad"], gradient)}
    return worst


def run_rounds(
    systems: Mapping[str, System],
    rows: Rows,
    samples_per_step: int,
    rounds: int,
    device: torch.device,
    count: bool = True,
) -> dict[str, Found]:
    """Counts every system's FLOPs, then its memory, then lets them take turns with what memory they have by then."""
    found: dict[str, Found] = {}
    for name, system in systems.items():
        flops = counted_flops(lambda s=system: s.train(rows, samples_per_step)) if count else 0  # parity warmed up too
        found[name] = Found(system.told, flops / len(rows))
    for name, system in systems.items():
        forget_peak(device)
        system.train(rows, samples_per_step)
        found[name].peak_bytes = peak_memory(device)
    for _ in range(rounds):
        for name, system in systems.items():
            times = system.train(rows, samples_per_step)
            one = found[name]
            one.rates.append(len(rows) / times.seconds)
            one.waits.append(times.waited_s / times.seconds)
    return found


def figures(found: Mapping[str, Found], rows: Rows, necessary: float, gemm: float) -> dict[str, dict[str, object]]:
    """What the JSON holds of each system."""
    told: dict[str, dict[str, object]] = {}
    for name, one in found.items():
        rate = statistics.median(one.rates)
        told[name] = {
            "flags": one.told,
            "samples_per_s": rate,
            "samples_per_s_spread": (max(one.rates) - min(one.rates)) / rate,
            "supervised_tokens_per_s": rate * rows.supervised / len(rows),
            "useful_flops_per_s": rate * necessary,
            "useful_share_of_gemm": rate * necessary / gemm,
            "peak_memory_bytes": one.peak_bytes,
            "data_wait_share": statistics.median(one.waits),
            "flops_per_sample_counted": one.flops_per_sample,
        }
    return told


def measure(options: argparse.Namespace, size: Size) -> dict[str, object]:
    """Parity, then the rounds; all that is told."""
    device, stage = torch.device(options.device), options.stage
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    samples_per_step = options.samples_per_step or size.samples_per_step[stage - 1]
    lora = Lora(options.lora, 2 * options.lora, dropout=0.0) if options.lora else None
    flags: dict[str, Any] = {"lora": lora}
    flags |= {"share_images": options.share_images, "fp8": options.fp8, "micro_tokens": options.micro_tokens}
    flags |= {"checkpointing": options.checkpointing, "compile": options.compile, "optimizer": options.optimizer}
    llava = build_llava(size, device, dtype, 1 if lora else stage)  # under a LoRA the language model is frozen
    together = options.share_images or (options.ladder and stage == 2)
    rows = make_rows(size, stage, options.steps * samples_per_step, together=together)
    side = options.gemm_side or (8192 if device.type == "cuda" else 2048)
    gemms = [matrix_product(device, dtype, side)]
    if options.ladder:
        del flags["share_images"]
        systems: dict[str, System] = dict(ladder(llava, size, stage, **flags))
    else:
        systems = {
            name: build(name, llava, size, stage, rows, flags, QUICK if options.quick else None, samples_per_step)
            for name in options.systems.split(",")
        }
    parity = check_parity(systems, rows.first(samples_per_step), dtype == torch.float32, must=not options.quick)
    found = run_rounds(systems, rows, samples_per_step, options.rounds, device, count=not options.quick)
    gemms.append(matrix_product(device, dtype, side))
    necessary = necessary_flops(size, stage, rows, options.lora) / len(rows)
    return {
        "device": device_name(device),
        "torch": torch.__version__,
        "transformers": importlib.metadata.version("transformers"),
        "commit": commit(),
        "size": options.size,
        "stage": stage,
        "samples": len(rows),
        "samples_per_step": samples_per_step,
        "rounds": options.rounds,
        "gemm_flops_per_s": statistics.mean(gemms),
        "necessary_flops_per_sample": necessary,
        "parity": parity,
        "systems": figures(found, rows, necessary, statistics.mean(gemms)),
    }


def device_name(device: torch.device) -> str:
    """The GPU's name, or the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads"


def commit() -> str:
    """The commit that is checked out, empty outside a repository."""
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def table(told: Mapping[str, Any]) -> list[str]:
    """The figures as a Markdown table."""
    heads = ("", "samples/s", "spread", "supervised tokens/s", "useful GFLOP/s", "of a matrix product",
             "counted GFLOP/sample", "peak memory", "data wait")  # fmt: skip
    rows = [heads, ("---", *["---:"] * (len(heads) - 1))]
    for name, one in told["systems"].items():
        rows.append((
            f"`{name}`" if name in NAMES else name,
            f"{one['samples_per_s']:.2f}", f"{one['samples_per_s_spread']:.0%}",
            f"{one['supervised_tokens_per_s']:.1f}", f"{one['useful_flops_per_s'] / 1e9:,.0f}",
            f"{one['useful_share_of_gemm']:.0%}", f"{one['flops_per_sample_counted'] / 1e9:,.3f}",
            f"{one['peak_memory_bytes'] / 2**30:.2f} GiB", f"{one['data_wait_share']:.1%}",
        ))  # fmt: skip
    return ["| " + " | ".join(cells) + " |" for cells in rows]


def tell(told: Mapping[str, Any]) -> None:
    """Everything, for people, in Markdown that can be pasted into the docs."""
    parity = told["parity"]
    print(
        f"{told['size']}, stage {told['stage']}: {told['samples']} samples in steps of {told['samples_per_step']}, "
        f"{told['rounds']} rounds; {told['device']}, torch {told['torch']}, transformers {told['transformers']}, "
        f"commit {told['commit']}; a matrix product {told['gemm_flops_per_s'] / 1e9:,.0f} GFLOP/s; "
        f"parity: loss {parity['loss']:.1e}, connector gradient {parity['connector_grad']:.1e}; "
        f"necessary {told['necessary_flops_per_sample'] / 1e9:,.3f} GFLOP/sample\n"
    )
    print("\n".join(table(told)), end="\n\n")
    print("\n".join(f"- {name}: {one['flags']}" for name, one in told["systems"].items()))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--stage", type=int, choices=(1, 2), default=1)
    parser.add_argument("--systems", default=",".join(NAMES), help="names with commas, the first is compared with")
    parser.add_argument("--ladder", action="store_true", help="our changes one at a time instead of systems")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="optimizer steps in a round")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--gemm-side", type=int, default=0, help="of the matrix product")
    parser.add_argument("--micro-tokens", type=int, default=8192, help="of ours, like the following")
    parser.add_argument("--checkpointing", default="auto")
    parser.add_argument("--compile", default="auto", help="off leaves the ladder's last rung out")
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--share-images", action="store_true", help="rows are then those of an epoch planned so")
    parser.add_argument("--fp8", action="store_true")
    parser.add_argument(
        "--lora", type=int, default=0, help="in stage 2: matrices of this rank learn, and the connector"
    )
    parser.add_argument("--samples-per-step", type=int, default=0, help="else the size's own, the papers'")
    parser.add_argument("--quick", action="store_true", help="tells parity without asking for it, counts no FLOPs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if unknown := set(options.systems.split(",")) - set(NAMES):
        parser.error(f"there is no system {', '.join(sorted(unknown))}: choose from {', '.join(NAMES)}")
    if options.lora and options.stage == 1:
        parser.error("--lora belongs to stage 2")
    if options.lora and "llava-replica" in options.systems.split(","):
        options.systems = ",".join(name for name in options.systems.split(",") if name != "llava-replica")
    return options


def main() -> None:
    options = parse()
    told = measure(options, SIZES[options.size])
    tell(told)
    if options.json:
        options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
