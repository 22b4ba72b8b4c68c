"""Every benchmark by name."""

from __future__ import annotations

from seetell.evals import captions, llava_bench, mme, mmvet, pope, scienceqa, textvqa
from seetell.evals.task import Task

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        *llava_bench.TASKS,
        scienceqa.TASK,
        pope.TASK,
        mme.TASK,
        textvqa.TASK,
        textvqa.WITH_OCR,
        mmvet.TASK,
        captions.TASK,
    )
}
CONTRACTS: dict[str, Task] = {name: task for name, task in TASKS.items() if task.contract is not None}
