"""Everything that only a GPU can tell, by one command, the most important first.

    python benchmarks/gpu.py --minutes 9 --json gpu.json
    python benchmarks/gpu.py --device cpu --tiny --json cpu.json        # tries the script itself

Needs   torch 2.11 and transformers 5.17 or later and what `seetell` needs; nothing is downloaded, weights are random.
        What wants an extra (peft, accelerate) is skipped by name. seetell need not be installed: the checkout runs.
Method  Each part is a process of its own with a time limit, so that one that dies or hangs takes no other with it.
        What a part leaves unused is shared by those behind it. Figures are on disk as soon as they are known, also
        those of a part that is stopped; the JSON is written anew after each part.
Parts   parity     is what is trained what runs; rotary frequencies, packing, decoding (gpu_parts/parity.py)
        kernels    every attention kernel against the host, forward and backward (kernels.py)
        memory     predicted and measured: LoRA, all weights, shards that stay whole (memory.py)
        kills      SIGKILL and the same command again: the same bits? (kills.py)
        0.5b align train_speed: ours alone, then beside the others (speed.py)
        fp8        8-bit products: rate and error (rates.py)
        decode     tokens a second of the engine (rates.py)
        7b …       train_speed at 7b for align and a LoRA tune, then 0.5b tune (speed.py)
Exit    0 when every part is ok or skipped, else 1.

Only the standard library is imported here, so that what is missing is said in a sentence.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = {
    "torch": "torch", "transformers": "transformers", "tokenizers": "tokenizers", "safetensors": "safetensors",
    "sentencepiece": "sentencepiece", "google.protobuf": "protobuf", "PIL": "pillow", "numpy": "numpy",
    "rich": "rich", "jinja2": "jinja2",
}  # fmt: skip
EXTRAS = {
    "peft": "LoRA", "accelerate": "the systems beside ours", "triton": "compiled blocks",
    "bitsandbytes": "LoRA over 8 and 4 bits", "liger_kernel": "fused norms where blocks are not compiled",
}  # fmt: skip
OLDEST = {"torch": (2, 11), "transformers": (5, 17)}
ALLOWANCE_S = 5.0  # for a child to end by itself before it is killed
DUMP_S = 1.0  # for it to say where it was
LOG_LINES = 25
WHERE = signal.SIGUSR1  # what asks it


@dataclass(frozen=True, slots=True)
class Part:
    """A row of the table. `weight` is its share of the time; `module` has `run`, or the function behind the colon."""

    name: str
    weight: float
    module: str


PARTS = (
    Part("parity", 85, "parity"),
    Part("kernels", 30, "kernels"),
    Part("memory", 60, "memory"),
    Part("kills", 60, "kills"),
    Part("0.5b align", 75, "speed:align_half"),
    Part("fp8", 25, "rates:fp8"),
    Part("decode", 35, "rates:decode"),
    Part("7b align", 65, "speed:align_seven"),
    Part("7b lora tune", 60, "speed:lora_seven"),
    Part("0.5b tune", 45, "speed:tune_half"),
)


def own_packages() -> None:
    """Makes `benchmarks`, `tests` and `seetell` those of this checkout, whatever of that name is installed."""
    sys.path.insert(0, str(ROOT))
    for name in ("benchmarks", "tests"):
        package = types.ModuleType(name)
        package.__path__ = [str(ROOT / name)]
        sys.modules[name] = package


# ------------------------------------------------------------------------------------------------ the machine


def machine() -> dict[str, Any]:
    """Versions and hardware; `missing` names what must be installed first."""
    versions: dict[str, str] = {"python": platform.python_version()}
    missing: list[str] = []
    for module, package in REQUIRED.items():
        version = version_of(package) if is_there(module) else ""
        if not version:
            missing.append(package)
        elif package in OLDEST and numbers(version) < OLDEST[package]:
            wanted = ".".join(map(str, OLDEST[package]))
            missing.append(f"{package} {wanted} or later (this is {version})")
        versions[package] = version
    extras = {name: version_of(name.replace("_", "-")) if is_there(name) else "" for name in EXTRAS}
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "commit": output_of("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
        "driver": output_of("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"),
        "versions": versions,
        "extras": extras,
        "missing": missing,
    }


def is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "of an unknown version" if is_there(package) else ""


def numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version; what has none is taken for new."""
    parts = version.split(".")[:2]
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else (10**6, 0)


def output_of(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


# ------------------------------------------------------------------------------------------------- the parts


def run_part(part: Part, device: str, tiny: bool, limit_s: float, folder: Path) -> dict[str, Any]:
    """The part in a process of its own, killed at its limit with all that it started."""
    notes, log = folder / "notes.json", folder / "log.txt"
    notes.unlink(missing_ok=True)
    command = command_of(part, device, tiny, limit_s, notes)
    began_s = time.monotonic()
    said: int | None = None  # how long the log was when the part was asked where it is
    with log.open("wb") as file:
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)
        try:
            code: int | None = child.wait(limit_s + ALLOWANCE_S)
        except subprocess.TimeoutExpired:
            code, said = None, log.stat().st_size
            ask_where(child)
        finally:
            kill_group(child)
    noted = read_notes(notes)
    result: dict[str, Any] = {
        "status": "ok",
        "seconds": round(time.monotonic() - began_s, 1),
        "limit_s": round(limit_s, 1),
    }
    result |= {"figures": noted["figures"], "wrong": noted["wrong"], "skipped": noted["skipped"]}
    if code is None:
        result |= {"status": "timeout", "error": f"It was stopped after {limit_s + ALLOWANCE_S:.0f} s."}
    elif code:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        result |= {"status": "failed", "error": noted.get("error") or f"The process ended with {how}."}
    elif noted["wrong"]:
        result |= {"status": "failed", "error": noted["wrong"][0]}
    elif noted["skipped"] and not noted["figures"]:
        result |= {"status": "skipped", "error": noted["skipped"][0]}
    if result["status"] in ("failed", "timeout"):
        own, dump = (half.decode(errors="replace").splitlines() for half in halves(log.read_bytes(), said))
        result["log"] = dump[:LOG_LINES] or own[-LOG_LINES:]  # a dump begins with the innermost call
    return result


def halves(text: bytes, at: int | None) -> tuple[bytes, bytes]:
    """What stands before and behind a place; all of it before where there is none."""
    return text[:at], b"" if at is None else text[at:]


def ask_where(child: subprocess.Popen[bytes]) -> None:
    """Lets a part whose time is over write where it is. What becomes of it then does not matter: it ran out of time."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        child.send_signal(WHERE)
        child.wait(DUMP_S)


def command_of(part: Part, device: str, tiny: bool, limit_s: float, notes: Path) -> list[str]:
    command = [sys.executable, __file__, "--child", part.name, "--device", device, "--notes", str(notes)]
    return [*command, "--seconds", f"{limit_s:g}", *(["--tiny"] if tiny else [])]


def read_notes(path: Path) -> dict[str, Any]:
    """What a part noted, however it ended."""
    empty: dict[str, Any] = {"figures": {}, "wrong": [], "skipped": []}
    try:
        return empty | json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return empty


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """Ends a child, and whatever it started and left behind, by their own process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def child(options: argparse.Namespace) -> int:
    """One part, here. What it raises becomes a sentence in its notes."""
    own_packages()
    part = next(one for one in PARTS if one.name == options.child)
    # Of its own frames alone: those of threads that run on (a compiler's) cannot be walked safely.
    faulthandler.register(WHERE, all_threads=False)
    from benchmarks.gpu_parts.notes import Notes

    notes = Notes(options.notes)
    try:
        import torch

        from benchmarks.gpu_parts.notes import Place

        name, _, function = part.module.partition(":")
        module = importlib.import_module(f"benchmarks.gpu_parts.{name}")
        getattr(module, function or "run")(Place(torch.device(options.device), options.tiny, options.seconds), notes)
    except BaseException as error:
        traceback.print_exc()
        lines = str(error).strip().splitlines() or [""]
        notes.fail(f"{type(error).__name__}: {lines[0]}")
        return 1
    return 0


# -------------------------------------------------------------------------------------------------- telling


def figures_lines(figures: Mapping[str, Any], before: str = "  ") -> list[str]:
    """Figures for people, one a line; what belongs together stands on one."""
    lines: list[str] = []
    for name, value in figures.items():
        if isinstance(value, Mapping) and any(isinstance(one, Mapping) for one in value.values()):
            lines += [f"{before}{name}", *figures_lines(value, before + "  ")]
        elif isinstance(value, Mapping):
            lines.append(f"{before}{name}: " + ", ".join(f"{what} {shown(one)}" for what, one in value.items()))
        else:
            lines.append(f"{before}{name}: {shown(value)}")
    return lines


def shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def tell_part(name: str, result: Mapping[str, Any]) -> None:
    error = f"  {result['error']}" if result.get("error") else ""
    print(f"{name:14} {result['status']:8} {result['seconds']:6.1f} s{error}", flush=True)
    lines = figures_lines(result["figures"])
    lines += [f"  wrong: {sentence}" for sentence in result["wrong"]]
    lines += [f"  skipped: {sentence}" for sentence in result["skipped"]]
    print("\n".join(lines), flush=True)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All parts in turn; the JSON grows as they end."""
    began_s, total_s = time.monotonic(), 60.0 * options.minutes
    found: dict[str, Any] = {"machine": machine(), "device": "", "tiny": options.tiny, "parts": {}}
    write(options.json, found)
    here = found["machine"]
    print("\n".join(figures_lines({name: value for name, value in here.items() if value})), flush=True)
    if here["missing"]:
        found["error"] = f"This machine lacks {', '.join(here['missing'])}: install that first."
        write(options.json, found)
        return found
    found["device"], why = device_named(options.device)
    if why:
        found["error"] = why
        write(options.json, found)
        return found
    chosen = [part for part in PARTS if not options.parts or part.name in options.parts]
    with tempfile.TemporaryDirectory() as folder:
        for at, part in enumerate(chosen):
            left_s = total_s - (time.monotonic() - began_s)
            limit_s = left_s * part.weight / sum(one.weight for one in chosen[at:]) - ALLOWANCE_S
            result = run_part(part, found["device"], options.tiny, max(1.0, limit_s), Path(folder))
            found["parts"][part.name] = result
            write(options.json, found)
            tell_part(part.name, result)
    found["seconds"] = round(time.monotonic() - began_s, 1)
    write(options.json, found)
    return found


def device_named(name: str) -> tuple[str, str]:
    """The device's name, and why it cannot be used; asked in a process of its own, which takes no memory of it here."""
    asked = "import torch; print(torch.cuda.is_available())"
    can = output_of(sys.executable, "-c", asked) == "True" or name == "cpu"
    if name == "auto":
        return ("cuda" if can else "cpu"), ""
    return name, "" if can else "torch finds no CUDA device here: look at the driver, or give --device cpu --tiny."


def write(path: Path | None, found: Mapping[str, Any]) -> None:
    if path is not None:
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        beside.replace(path)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts together")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--tiny", action="store_true", help="small sizes; always on a CPU")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=[], help="names with commas; else all")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--notes", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = [part.name for part in PARTS]
    if unknown := [name for name in options.parts if name not in names]:
        parser.error(f"there is no part {', '.join(unknown)}: choose from {', '.join(names)}")
    return options


def main() -> None:
    options = parse()
    if options.child:
        raise SystemExit(child(options))
    if device_named(options.device)[0] == "cpu":
        options.tiny = True
    found = measure(options)
    bad = [name for name, part in found["parts"].items() if part["status"] not in ("ok", "skipped")]
    if "error" in found:
        print(found["error"])
    elif bad:
        print(f"Not as it should be: {', '.join(bad)}.")
    raise SystemExit(bool(bad) or "error" in found)


if __name__ == "__main__":
    main()
