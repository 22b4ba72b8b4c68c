"""Kills `seetell generate` at random moments over real pictures, and counts what was lost or asked for twice.

    python -m benchmarks.generate_kill COCO_FOLDER [KILLS]

The folder holds `annotations/captions.json`, `annotations/instances.json` and `images/`. The teacher is the tests' own
server, well-behaved but slow; requests under way at a kill are the only ones that may be sent again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from seetell.ask.journal import read_journal
from tests.mock_teacher import Behaviour, serving

AT_ONCE = 8


def main(coco: Path, kills: int = 10) -> None:
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, serving(Behaviour(latency_s=0.2)) as teacher:
        out = Path(folder)
        line = [
            *(
                sys.executable,
                "-m",
                "seetell",
                "generate",
                "--out",
                folder,
                "--base-url",
                teacher.url,
                "--model",
                "mock",
            ),
            *("--captions", str(coco / "annotations/captions.json"), "--images", str(coco / "images")),
            *("--instances", str(coco / "annotations/instances.json"), "--concurrency", str(AT_ONCE)),
        ]
        environment = {**os.environ, "OPENAI_API_KEY": "none"}
        killed = lost = 0
        answered: set[str] = set()
        for number in range(kills):
            process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
            until = teacher.counts["received"] + rng.randrange(5, 30) if number % 5 else None
            wait_s = rng.uniform(0.1, 3.0)  # every fifth is killed by the clock: while it starts or plans
            began = time.monotonic()
            while process.poll() is None:
                if (until is None and time.monotonic() - began > wait_s) or (
                    until and teacher.counts["received"] >= until
                ):
                    process.send_signal(signal.SIGKILL)
                    killed += 1
                    break
                time.sleep(0.002)
            process.wait()
            if (out / "journal.jsonl").exists():
                now = {row["key"] for row in read_journal(out / "journal.jsonl") if row["event"] == "answer"}
                lost += len(answered - now)
                answered = now
            print(f"kill {killed}: {teacher.counts['received']} received, {len(answered)} in the journal", flush=True)
        ended = subprocess.run(line, stderr=subprocess.DEVNULL, env=environment)
        report = json.loads((out / "report.json").read_text())
        sent = [row["key"] for row in read_journal(out / "journal.jsonl") if row["event"] == "sent"]
        answers = [row["key"] for row in read_journal(out / "journal.jsonl") if row["event"] == "answer"]
        received = teacher.counts["received"]
    print(f"exit {ended.returncode}, {report['asked']} items, kept {sum(report['kept'].values())}, kills {killed}")
    print(f"answers lost {lost}, answered twice {len(answers) - len(set(answers))}")
    print(f"requests received {received}, beyond one an item {received - report['asked']} (at most {killed * AT_ONCE})")
    print(f"requests in the journal {len(sent)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
