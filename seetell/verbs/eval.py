"""`seetell eval`: asks a model the questions of a benchmark, scores the answers, and reports.

    out/runs/<model>/   what was said and what came of it; killed at any moment, the same command goes on
    out/judge-*.jsonl   what the judge said: a journal that can be handed on and replayed
    out/report.html     all runs that out holds, side by side      out/report.json, out/report.md

A second model with the same --out joins the report of the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import seetell
from seetell.config import pick
from seetell.console import say
from seetell.errors import BadInput, ServiceError, UsageError
from seetell.files import as_object, read_json, sha256_file, telling_full_disk, write_atomic, write_json
from seetell.model.folders import ADAPTER_CONFIG, CONFIG, is_adapter, located, model_folder
from seetell.publish import output_folder
from seetell.verbs.given import importing_torch

if TYPE_CHECKING:
    from seetell.evals.judge import Judge, Manner
    from seetell.evals.run import Run
    from seetell.evals.task import Task
    from seetell.types import Answerer, Unscored

RUNS = "runs"
SLOTS = 64
BLIP_2 = ("blip-2", "instructblip")


def eval(
    task: str,
    models: Sequence[str],
    out: str | Path,
    *,
    data: str | Path | None = None,
    judge: str = "",
    limit: int | None = None,
    both_orders: bool = False,
    judge_temperature: float | None = 0.0,
    judge_max_tokens: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
) -> Path:
    """Runs every model in turn; returns the report's path. Failed judgements are a ServiceError at the end."""
    from seetell.evals.judge import Manner
    from seetell.evals.run import limited, run
    from seetell.evals.tasks import TASKS

    chosen = pick(TASKS, task, "task")
    out = output_folder(out)
    if not models:
        raise UsageError("No model is named: give --model.")
    task_folder(chosen, data)
    for spec in models:  # all of them: the last one's name is not looked at after hours
        _check_answerer(spec)
    _one_task(out, chosen.name)
    manner = Manner(judge_temperature, judge_max_tokens)
    asked = make_judge(judge, out, both_orders=both_orders, manner=manner) if chosen.judging is not None else None
    if chosen.judging is not None and asked is None:
        raise UsageError(f"{task} is judged: give --judge openai:NAME@URL, replay:FILE or rules.")
    items = limited(items_of(chosen, data), limit)
    out.mkdir(parents=True, exist_ok=True)
    lost: list[Unscored] = []
    for spec in models:
        folder = out / RUNS / slug(spec)
        with telling_full_disk(folder), _answerer(spec, folder, chosen, device, dtype, threads) as (answerer, about):
            facts: dict[str, Any] = {
                "name": slug(spec),
                "task": chosen.name,
                "model": spec,
                **about,
                "limit": limit,
                "judge": asked.name if asked else None,
                "both_orders": both_orders,
                "prompt": items[0].question,
                "version": seetell.__version__,
            }
            lost += run(chosen, items, answerer, folder, facts, asked).lost
    report = write_report(out, chosen, {item.id: item.images for item in items})
    if lost:
        raise ServiceError(
            f"{len(lost)} judgements failed or could not be read; they are in no figure. The first: {lost[0].why}"
        )
    return report


def write_report(out: Path, task: Task, pictures: dict[str, Any]) -> Path:
    """The report over all runs that `out` holds; the figures also go to standard output."""
    from seetell.evals.report import Figures, figures_lines, markdown, markdown_table
    from seetell.evals.report_page import page
    from seetell.evals.run import stored_run

    folders = sorted(path.parent for path in (out / RUNS).glob("*/scores.jsonl"))
    runs: list[Run] = [stored_run(folder, task, pictures) for folder in folders]
    figures = Figures(task, runs)
    write_json(out / "report.json", figures.to_json())
    write_atomic(out / "report.md", markdown(figures))
    write_atomic(out / "report.html", page(figures))
    print(markdown_table(*figures.metrics()))
    for line in figures_lines(figures):
        print(line)
    say(f"Report: {out / 'report.html'}")
    return out / "report.json"


def slug(spec: str) -> str:
    """A model's name as a folder's: the last parts of its path or address."""
    kind, colon, rest = spec.partition(":")
    if colon and kind in ("openai", "text", "answers"):
        spec = Path(rest).stem if kind == "answers" else f"{kind}-{rest.partition('@')[0]}"
    else:
        parts = Path(spec).parts
        spec = "-".join(parts[-2:] if parts[-1] in ("model", "aligned") else parts[-1:])
    return re.sub(r"[^\w.-]+", "-", spec).strip("-.") or "model"


def items_of(task: Task, data: str | Path | None) -> list[Any]:
    """The task's questions, from `data` or from data/NAME; none is BadInput."""
    folder = task_folder(task, data)
    items = task.items(folder)
    if not items:
        raise BadInput(f"{folder} holds no question of {task.title}.")
    return items


def task_folder(task: Task, data: str | Path | None) -> Path:
    """Where the task's files lie, if they do."""
    folder = Path(data) if data is not None else Path("data") / task.name
    if not folder.is_dir() and task.name != "drawn":
        raise BadInput(f"{folder} is absent. {task.title} needs {task.layout}; docs/data.md says where to get it.")
    return folder


def _one_task(out: Path, name: str) -> None:
    for path in (out / RUNS).glob("*/run.json"):
        before = str((as_object(read_json(path)) or {}).get("task"))
        if before != name:
            raise UsageError(f"{out} holds runs of {before}: use another --out for {name}.")


def make_judge(spec: str, out: Path, *, both_orders: bool, manner: Manner | None = None) -> Judge | None:
    """The judge that a word names, with its journal in `out`; none for an empty word."""
    from seetell.evals.answerers import endpoint
    from seetell.evals.judge import AS_EVER, Judge
    from seetell.evals.rules_judge import RulesJudge

    kind, _, rest = spec.partition(":")
    manner = manner or AS_EVER
    if not spec:
        return None
    if spec == "rules":
        return Judge(RulesJudge(), out / "judge-rules.jsonl", both_orders=both_orders, manner=manner)
    if kind == "replay" and rest:
        return Judge(None, Path(rest), both_orders=both_orders, manner=manner)
    if kind == "openai" and rest:
        model = endpoint(rest, "--judge openai:")
        journal = out / f"judge-{slug(spec).removeprefix('openai-')}.jsonl"
        return Judge(model, journal, both_orders=both_orders, manner=manner)
    raise UsageError(f"--judge should be openai:NAME@URL, replay:FILE or rules; it is {spec!r}.")


@contextmanager
def _answerer(
    spec: str, folder: Path, task: Task, device: str, dtype: str, threads: int | None
) -> Iterator[tuple[Answerer, dict[str, Any]]]:
    """Who is asked, and what the results say of them."""
    from seetell.evals.answerers import AskedAnswerer, FileAnswerer, endpoint

    kind, _, rest = spec.partition(":")
    if kind in ("openai", "text") and rest:
        model = endpoint(rest)
        asked = AskedAnswerer(model, folder / "asked.jsonl", eyes=kind == "openai", max_new_tokens=task.max_new_tokens)
        yield asked, {"kind": kind, "temperature": 0.0, "max_new_tokens": task.max_new_tokens}
    elif kind == "answers" and rest:
        path = Path(rest)
        yield FileAnswerer(path), {"kind": "answers", "sha256": sha256_file(path)}
    else:
        from seetell.model.threads import use_threads

        use_threads(threads)
        yield _checkpoint(spec, task, device, dtype)


def _check_answerer(spec: str) -> None:
    """Refuses who cannot be asked, before anybody is: a file or folder that is not there, a hub that is silent."""
    from seetell.evals.answerers import endpoint

    kind, _, rest = spec.partition(":")
    if kind in ("openai", "text") and rest:
        endpoint(rest)
    elif kind == "answers" and rest:
        if not Path(rest).is_file():
            raise BadInput(f"There is no file of answers {rest}.")
    elif _model_type(spec) not in BLIP_2:
        model_folder(spec, weights=False)


def _checkpoint(spec: str, task: Task, device: str, dtype: str) -> tuple[Answerer, dict[str, Any]]:
    """Whatever `model/folders.py` knows, or a BLIP-2: what it is, its config says."""
    folder = None if _model_type(spec) in BLIP_2 else model_folder(spec)
    with importing_torch():
        from seetell.infer.answerers import OurAnswerer
        from seetell.infer.blip2 import Blip2Answerer
        from seetell.infer.loading import load
        from seetell.infer.sampling import Sampling

    settings = Sampling(max_new_tokens=task.max_new_tokens)
    about: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": task.max_new_tokens, "dtype": dtype}
    if folder is None:
        return Blip2Answerer(spec, settings.max_new_tokens, device, dtype), {"kind": "blip-2", **about}
    model = load(folder, device, dtype, slots=SLOTS)
    processor = model.engine.processor
    about |= {"template": processor.template.name, "image_mode": processor.image_processor.mode}
    about["config_sha256"] = sha256_file(folder / (ADAPTER_CONFIG if is_adapter(folder) else CONFIG))[:16]
    return OurAnswerer(model.engine, settings, slug(spec)), {"kind": "seetell", **about}


def _model_type(spec: str) -> str:
    """What a model's config says it is; nothing where there is none: an adapter, a run."""
    path = located(spec, weights=False) / CONFIG
    return str((as_object(read_json(path)) or {}).get("model_type")) if path.is_file() else ""
