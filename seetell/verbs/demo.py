"""The whole road on a laptop: draw scenes, write conversations, align, tune, measure, report.

What the paper does to ViT-L and Vicuna is done here to the tiny base that ships with the package, offline and in
minutes; nothing is stood in for. Measured are the model before any training of the connector, after align, after
tune, and *blind*: tuned, but shown another scene's picture with every question; then later turns of a talk, and
descriptions statement by statement.

    out/data/           drawn scenes as a COCO data set, align.json, tune.json
    out/model/          the finished model      out/aligned/   the model between the stages
    out/report.html     pictures, questions, answers, curves, the table      out/report.json   the figures
    out/run.html        how it learned, step by step
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from seetell.config import load_recipe
from seetell.console import command, console, say
from seetell.evals.drawn_task import SCENES as SCENES_ASKED
from seetell.files import read_json, read_jsonl, write_json
from seetell.publish import output_folder
from seetell.train.recipe import Recipe
from seetell.verbs.demo_data import draw, write
from seetell.verbs.given import importing_torch
from seetell.verbs.training import Looking

SCENES = 5000
UNSEEN_SCENES = 120
LOOK_EVERY = 100  # steps


class Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        say(f"[{name}]")
        started = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + round(time.monotonic() - started, 1)


def demo(
    out: str | Path = "runs/demo",
    *,
    device: str = "auto",
    threads: int | None = None,
    rebuild_base: bool = False,
    scenes: int = SCENES,
    test_scenes: int = SCENES_ASKED,
    unseen_scenes: int = UNSEEN_SCENES,
) -> Path:
    """Runs the whole road; returns the report's path. `rebuild_base` first pretrains the base again."""
    out = output_folder(out)
    with importing_torch():
        from seetell.train.run import train
        from seetell.verbs.demo_measure import as_table, measure, summary
        from seetell.verbs.demo_report import write_report
        from seetell.verbs.observing import observers_for
    if rebuild_base:
        from seetell.base.rebuild import rebuild

        rebuild()
    clock = Clock()
    with clock.phase("draw"):
        draw(out / "data", scenes)
    with clock.phase("write"):
        written = write(out / "data")
    recipe = recipe_for(out / "data")
    with clock.phase("train"):
        observers = observers_for(recipe, Looking())
        model = train(recipe, out, device=device, observers=observers, observe_every=LOOK_EVERY, threads=threads)
    with clock.phase("measure"):
        measured = measure(recipe, out, device, test_scenes, unseen_scenes)
    with clock.phase("report"):
        training = read_json(out / "report.json")["stages"]
        seconds = clock.seconds | {stage: round(training[stage]["seconds"], 1) for stage in ("align", "tune")}
        report = summary(measured, seconds, model)
        curves = {name: _losses(out, name) for name in ("align", "tune")}
        write_report(out / "report.html", report, measured, curves, written)
    report |= {"seconds": seconds | clock.seconds, "stages": training}
    write_json(out / "report.json", report)
    console.print(as_table(measured))
    say(f"Report: {out / 'report.html'}")
    say(f"Talk to it: {command('chat', model, next((out / 'data' / 'images').iterdir()))}")
    say(f"Your own pictures next: see docs/your-pictures.md; the recipes: {command('recipes')}")
    return out / "report.json"


def recipe_for(folder: Path) -> Recipe:
    """The shipped recipe `drawn`, over the files that were just written."""
    recipe = load_recipe("drawn")
    assert isinstance(recipe, Recipe)
    assert recipe.align is not None
    assert recipe.tune is not None
    images = str(folder / "images")
    return replace(
        recipe,
        align=replace(
            recipe.align, data=(replace(recipe.align.data[0], path=str(folder / "align.json"), images=images),)
        ),
        tune=replace(recipe.tune, data=(replace(recipe.tune.data[0], path=str(folder / "tune.json"), images=images),)),
    )


def _losses(out: Path, stage: str) -> list[tuple[float, float]]:
    rows = [row for row in read_jsonl(out / "metrics.jsonl") if row.get("stage") == stage and "loss" in row]
    return [(float(row["step"]), float(row["loss"])) for row in rows]
