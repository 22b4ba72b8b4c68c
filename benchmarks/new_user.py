"""A new user's first hour: from `git clone` to a LoRA of one's own on 60 photos, exported and talked to.

    python benchmarks/new_user.py ../shared/data/coco

The folder holds `annotations/captions.json`, `annotations/instances.json` and `images/`, in COCO's format. Every
command is looked up in README.md or docs/your-pictures.md, as printed there. What a user would put in its place (the
folder, the model to start from, `--teacher rules`) is exchanged; a command that a page no longer has ends the script.
Commands run in a shell in which the environment was activated as README says. Prints a table; the exit code is the
number of commands that failed.

`--venv` takes an environment that has the packages instead of installing them, `--demo` a finished demo's folder
instead of running it: the rest takes a minute or two.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from seetell.files import write_json
from tests.documents import ROOT, steps_of

README, PICTURES = "README.md", "docs/your-pictures.md"
PHOTOS = 60
START, ADAPTER = "runs/demo/model", "runs/finetune_yours_lora/model"


@dataclass(frozen=True)
class Typed:
    """A printed command, named by its page and first words, with what the user exchanges in it and adds to it."""

    page: str
    begins: str
    exchanged: tuple[tuple[str, str], ...] = ()
    added: str = ""  # stands in the page too, word for word

    def text(self) -> str:
        page = (ROOT / self.page).read_text()
        printed = [step.text for step in steps_of(ROOT / self.page) if _words(step.text).startswith(self.begins)]
        if not printed:
            raise SystemExit(f"{self.page} has no command that begins with: {self.begins}")
        command = _words(printed[0])
        for old, new in self.exchanged:
            if old not in command:
                raise SystemExit(f"{self.page}: {command} has no {old}")
            command = command.replace(old, new)
        if self.added and self.added not in " ".join(page.split()):
            raise SystemExit(f"{self.page} says nothing of {self.added}")
        return f"{command} {self.added}".strip()


def _words(command: str) -> str:
    return " ".join(command.replace("\\\n", " ").split(" #")[0].split())


def commands(coco: Path, limit: int, *, demo_is_there: bool) -> list[str]:
    """What is typed, in order."""
    photos = coco / "images"
    photo = min(photos.iterdir())
    files = (
        ("captions.json", str(coco / "annotations/captions.json")),
        ("instances.json", str(coco / "annotations/instances.json")),
        ("pictures/", str(photos)),
        ("--base-url http://localhost:8000/v1 --model NAME", "--teacher rules"),
    )
    mine, adapter = "data/mine/conversations.json", "runs/mine/model"
    of_mine = (("mine/my.json", mine), ("models/llava", START))
    typed = [
        Typed(README, "make demo"),
        Typed(README, "seetell chat runs/demo/model"),
        Typed(README, "seetell recipes"),
        Typed(README, "seetell generate", files),
        Typed(PICTURES, "seetell data check", (("mine/my.json", f"{mine} --images {photos}"),)),
        Typed(PICTURES, "seetell show", (("mine/my.json", f"{mine} --images {photos}"), ("models/llava", START))),
        Typed(PICTURES, "seetell plan", (*of_mine, (mine, f"{mine} --set tune.data.0.images={photos}"))),
        Typed(
            README, "seetell train finetune_yours_lora", (("models/llava", START), ("pictures/", str(photos))),
        ),
        Typed(PICTURES, "seetell chat", ((ADAPTER, adapter), ("mine/bench.jpg", str(photo)))),
        Typed(PICTURES, "seetell export", ((ADAPTER, adapter),)),
        Typed(PICTURES, "seetell chat", ((ADAPTER, "models/mine"), ("mine/bench.jpg", str(photo)))),
    ]  # fmt: skip
    lines = [each.text() for each in typed[1 if demo_is_there else 0 :]]
    steps = Typed(PICTURES, "seetell train", added="--set tune.samples_per_step=16").text()
    more = steps[steps.index("--set tune.samples_per_step") :]
    return [
        f"{line} --limit {limit}" if line.startswith("seetell generate") else
        f"{line} {more}" if line.startswith(("seetell train", "seetell plan")) else line
        for line in lines
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coco", type=Path, help="the photos with their captions and boxes")
    parser.add_argument("--photos", type=int, default=PHOTOS, help="how many of them")
    parser.add_argument("--venv", type=Path, help="an environment to use instead of installing one")
    parser.add_argument("--demo", type=Path, help="a finished demo to copy instead of running it")
    parser.add_argument("--json", type=Path, help="write the same table here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "seetell"
        rows = [_ran(f"git clone -q {ROOT} {clone}", Path(folder), {})]
        environment, activated = {}, "source .venv/bin/activate"
        if given.venv is not None:
            environment, activated = {"PYTHONPATH": str(clone)}, f"source {given.venv.resolve()}/bin/activate"
        if given.demo is not None:
            (clone / "runs").mkdir()
            subprocess.run(["cp", "-r", given.demo.resolve(), clone / "runs/demo"], check=True)
        for line in commands(given.coco.resolve(), given.photos, demo_is_there=given.demo is not None):
            if line == "make demo" and given.venv is None:
                rows.append(_ran(line, clone, environment))
            else:
                line = "seetell demo" if line == "make demo" else line
                rows.append(_ran(line, clone, environment, f"{activated}\n"))
    failed = sum(code != 0 for _, _, code in rows)
    print("| command | seconds | |\n| --- | ---: | --- |")
    for line, seconds, code in rows:
        print(f"| `{line}` | {seconds:.0f} | {f'exit code {code}' if code else ''} |")
    print(f"\n{len(rows)} commands, {failed} failed, {sum(seconds for _, seconds, _ in rows):.0f} s")
    if given.json:
        write_json(given.json, [{"command": line, "seconds": s, "exit_code": code} for line, s, code in rows])
    sys.exit(failed)


def _ran(line: str, folder: Path, environment: dict[str, str], before: str = "") -> tuple[str, float, int]:
    print(f"$ {line}", file=sys.stderr)
    began_s = time.monotonic()
    ended = subprocess.run(["bash", "-c", before + line], cwd=folder, env=os.environ | environment, input="", text=True)
    return line, time.monotonic() - began_s, ended.returncode


if __name__ == "__main__":
    main()
