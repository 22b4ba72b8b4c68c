"""A killed run on this device: does the same command end with the bits of an undisturbed one?

Two undisturbed runs first: where their bits differ, a kill can prove nothing, and that is told. Then SIGKILLs at
moments drawn by lot, as `benchmarks/resume.py` does it, until the time is nearly over.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from benchmarks import resume
from benchmarks.gpu_parts.notes import Notes, Place

MOST_KILLS = 20


def run(place: Place, notes: Notes) -> None:
    device = place.device.type
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        recipe = resume.make_recipe(root, 16 if place.tiny else 48, compile="off")  # each process would compile anew
        seconds: list[float] = []
        for name in ("one", "other"):
            began_s = time.monotonic()
            children = resume.start(recipe, root / name, 1, device)
            resume.end(children)
            seconds.append(time.monotonic() - began_s)
            if not notes.check(children[0].exitcode == 0, f"an undisturbed run ended with {children[0].exitcode}"):
                return
        wanted, rows = resume.hashes(root / "one"), resume.metrics(root / "one")
        same = resume.hashes(root / "other") == wanted and resume.metrics(root / "other") == rows
        notes.put(undisturbed_same_bits=same, run_s=min(seconds), steps=len(rows), kills=0, bit_equal=0)
        notes.check(same, "two undisturbed runs differ in their bits")
        chance, kills, equal = random.Random(0), 0, 0
        for trial in range(1 if place.tiny else MOST_KILLS):
            if place.left_s < 2.5 * seconds[-1]:  # the first also paid for the server's imports
                break
            out = root / f"trial-{trial}"
            hit, _ = resume.kill_and_go_on(recipe, out, 1, [0], chance.uniform(0.0, seconds[-1]), False, device)
            if hit:
                kills, equal = kills + 1, equal + (resume.hashes(out) == wanted and resume.metrics(out) == rows)
                notes.put(kills=kills, bit_equal=equal)
        notes.check(equal == kills, f"{kills - equal} of {kills} killed runs ended in other bits")
