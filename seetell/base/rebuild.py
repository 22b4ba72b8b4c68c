"""Make the shipped base again from nothing: its tokenizer, the language model and CLIP side by side, and both gates.

Each takes one core and as long as it is given. They share nothing but the tokenizer, so two processes train at once.
"""

from __future__ import annotations

import multiprocessing
import shutil
import time
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from seetell.base import gates, language, vision
from seetell.console import say
from seetell.errors import Failed
from seetell.files import write_json

WEIGHTS = Path(__file__).parent / "weights"
PARTS = ("llm", "clip")
SECONDS = 7200.0


def rebuild(folder: Path = WEIGHTS, seconds: float = SECONDS) -> dict[str, object]:
    """Pretrains `folder`/llm and `folder`/clip anew and writes what the gates measured to `folder`/gates.json.

    What stands in `folder` stays until both are done. Raises Failed where one of the two trainings ends early; what it
    last saved lies beside, in `folder`-new.
    """
    started = time.monotonic()
    say(f"Pretraining the tiny base of {folder}: about {seconds / 60:.0f} minutes on two cores.")
    new = folder.with_name(f"{folder.name}-new")
    language.train_tokenizer().save_pretrained(new / "llm")
    context = multiprocessing.get_context("spawn")
    trainings = {part: context.Process(target=_pretrain, args=(part, new, seconds)) for part in PARTS}
    for training in trainings.values():
        training.start()
    for part, training in trainings.items():
        training.join()
        if training.exitcode:
            raise Failed(f"Pretraining {part} ended with exit code {training.exitcode}: what it printed says why.")
    measured: dict[str, object] = {**gates.measure(new), "seconds": round(time.monotonic() - started)}
    for gate, figures in measured.items():
        say(f"{gate}: {figures}")
    for part in PARTS:
        shutil.rmtree(folder / part, ignore_errors=True)
        (new / part).rename(folder / part)
    new.rmdir()
    write_json(folder / "gates.json", measured)
    return measured


def _pretrain(part: str, folder: Path, seconds: float) -> None:
    torch.set_num_threads(1)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "llm")
    if part == "llm":
        language.pretrain(folder / "llm", tokenizer, seconds)
    else:
        vision.pretrain(folder / "clip", tokenizer, seconds)
