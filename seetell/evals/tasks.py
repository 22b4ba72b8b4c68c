"""Every benchmark by name."""

from __future__ import annotations

from seetell.evals import (
    captions,
    drawn_task,
    llava_bench,
    mmbench,
    mme,
    mmvet,
    open_vqa,
    pope,
    scienceqa,
    seed,
    textvqa,
)
from seetell.evals.task import Task

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        drawn_task.TASK,
        *llava_bench.TASKS,
        scienceqa.TASK,
        scienceqa.AS_TUNED,
        pope.TASK,
        mme.TASK,
        textvqa.TASK,
        textvqa.WITH_OCR,
        *open_vqa.TASKS,
        *mmbench.TASKS,
        seed.TASK,
        mmvet.TASK,
        captions.TASK,
    )
}
CONTRACTS: dict[str, Task] = {
    name: TASKS[name] for name in ("scienceqa", "pope", "mme", "textvqa", "llava_bench", "mmvet", "caption")
}
