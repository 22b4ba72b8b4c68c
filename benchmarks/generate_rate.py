"""How busy `seetell generate` keeps an endpoint that admits so many requests a second, and how much it pesters it.

    python -m benchmarks.generate_rate COCO_FOLDER [RATE]

The folder holds `annotations/captions.json`, `annotations/instances.json` and `images/`. The teacher is the tests' own
server with a token bucket, which saves up nothing or a second's worth, with and without 30 % of faults beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mock_teacher import Behaviour, evenly, serving


def main(coco: Path, rate: float = 8.0) -> None:
    for burst in (1.0, rate):
        for faults in (0.0, 0.3):
            behaviour = Behaviour(
                faults=evenly(faults) if faults else {}, latency_s=0.3, admit_per_s=rate, burst=burst, timeout_s=1.0
            )
            with tempfile.TemporaryDirectory() as out, serving(behaviour) as teacher:
                line = [sys.executable, "-m", "seetell", "generate", "--out", out, "--concurrency", "64"]
                line += ["--captions", str(coco / "annotations/captions.json"), "--images", str(coco / "images")]
                line += ["--instances", str(coco / "annotations/instances.json")]
                line += ["--base-url", teacher.url, "--model", "mock"]
                ended = subprocess.run(
                    line,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "OPENAI_API_KEY": "-"},
                )
                counts, took_s = teacher.counts, teacher.last_s - teacher.first_s
                answered = teacher.answered.total()
            busy, asked = counts["admitted"] / (rate * took_s), counts["received"] / answered
            print(
                f"exit {ended.returncode}: {rate:g} a second, saves up {burst:g}, faults {faults:.0%}: "
                f"admitted / (rate x time) {busy:.3f}, sent / answered {asked:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(float, sys.argv[2:]))
