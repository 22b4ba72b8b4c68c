"""The whole road on a laptop: draw scenes, write conversations, align, tune, measure, report.

What the paper does to ViT-L and Vicuna is done here to the tiny base that ships with the package, offline and in
minutes; nothing is stood in for. Measured are the model before any training of the connector, after align, after
tune, and *blind*: tuned, but shown another scene's picture with every question.

    out/data/           drawn scenes as a COCO data set, align.json, tune.json
    out/model/          the finished model      out/aligned/   the model between the stages
    out/report.html     pictures, questions, answers, curves, the table      out/report.json   the figures
    out/run.html        how it learned, step by step
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.table import Table

from seetell.config import load_recipe
from seetell.console import command, console, progress, say
from seetell.evals import drawn as task
from seetell.evals.drawn_task import SCENES as SCENES_ASKED
from seetell.files import read_json, read_jsonl, write_json
from seetell.generate.prompts import Kind
from seetell.generate.write import write_conversations_of
from seetell.infer.answerers import OurAnswerer
from seetell.infer.engine import Engine
from seetell.infer.sampling import Sampling
from seetell.model.device import pick_device
from seetell.model.vlm import VLM
from seetell.publish import output_folder
from seetell.sources.coco import read_coco, write_coco
from seetell.sources.conversations import captions_as_pairs, write_conversations
from seetell.sources.drawn.layout import HELD_OUT_PAIRS
from seetell.sources.drawn.questions import TYPES
from seetell.sources.drawn.scenes import drawn_scenes
from seetell.train.recipe import Recipe
from seetell.train.run import train
from seetell.train.start import stage_processor, start_model
from seetell.types import Conversation, Item, Rejected, Scene
from seetell.verbs.observing import observers_for
from seetell.verbs.training import Looking

SCENES = 5000
CAPTIONS_EACH = 2  # of the five of a scene, to align on
UNSEEN_SCENES = 120
# Of every scene short answers, which the test asks for; of some each of the paper's three kinds. Descriptions are what
# people ask for first, and what a small model repeats itself in without practice.
MIX: dict[Kind, float] = {"short": 1.0, "conversation": 0.1, "detail": 0.25, "complex": 0.1}
STAGES = ("before", "aligned", "tuned", "blind")
LOOK_EVERY = 100  # steps
SHORT = Sampling(max_new_tokens=16)


@dataclass
class Measured:
    """What each stage of the model said to the same questions."""

    items: list[Item]
    answers: dict[str, dict[str, str]] = field(default_factory=dict)  # stage -> item id -> text
    accuracy: dict[str, task.Accuracy] = field(default_factory=dict)
    unseen: float = 0.0
    unseen_questions: int = 0


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
    rebuild_base: bool = False,
    scenes: int = SCENES,
    test_scenes: int = SCENES_ASKED,
    unseen_scenes: int = UNSEEN_SCENES,
) -> Path:
    """Runs the whole road; returns the report's path. `rebuild_base` first pretrains the base again."""
    from seetell.verbs.demo_report import write_report

    if rebuild_base:
        from seetell.base.rebuild import rebuild

        rebuild()
    out = output_folder(out)
    clock = Clock()
    with clock.phase("draw"):
        draw(out / "data", scenes)
    with clock.phase("write"):
        written = write(out / "data")
    recipe = recipe_for(out / "data")
    with clock.phase("train"):
        observers = observers_for(recipe, Looking())
        model = train(recipe, out, device=device, observers=observers, observe_every=LOOK_EVERY)
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


def draw(folder: Path, count: int) -> None:
    """Draws the training scenes as a COCO data set."""
    with progress("draw scenes", count) as bar:

        def told() -> Iterator[Scene]:
            for drawn in drawn_scenes("train", count):
                bar.advance()
                yield drawn.scene

        write_coco(folder, told())


def write(folder: Path) -> dict[str, int]:
    """Has the built-in teacher write conversations from captions and boxes; counts what was kept and what was not."""
    from seetell.rules.teacher import RulesTeacher

    scenes = list(read_coco(folder / "captions.json", folder / "instances.json", folder / "images"))
    pairs = (pair for seed in range(CAPTIONS_EACH) for pair in captions_as_pairs(scenes, seed=seed))
    write_conversations(folder / "align.json", pairs, folder / "images")
    counts: Counter[str] = Counter()
    with progress("write conversations", len(scenes)) as bar:

        def kept() -> Iterator[Conversation]:
            teacher = RulesTeacher(HELD_OUT_PAIRS)
            for result in write_conversations_of(scenes, MIX, teacher, seed=0):
                bar.advance()
                if isinstance(result, Rejected):
                    counts[f"rejected: {result.reason}"] += 1
                else:
                    counts[result.source or "kept"] += 1
                    yield result

        write_conversations(folder / "tune.json", kept(), folder / "images")
    counts["align pairs"] = len(scenes) * CAPTIONS_EACH
    return dict(counts)


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


def measure(recipe: Recipe, out: Path, device: str, test_scenes: int, unseen_scenes: int) -> Measured:
    """Asks every stage of the model the same questions about scenes that no training drew."""
    from seetell.model.weights import load_model

    items = task.items(test_scenes)
    unseen = [item for item in task.items(unseen_scenes, pairs="unseen") if item.facts["unseen"] == "yes"]
    measured = Measured(items, unseen_questions=len(unseen))
    assert recipe.tune is not None
    untrained = start_model(recipe, pick_device(device))
    processor = stage_processor(recipe.model, recipe.tune, untrained)
    models = {
        "before": lambda: untrained,
        "aligned": lambda: load_model(out / "aligned", device=pick_device(device)),
        "tuned": lambda: load_model(out / "model", device=pick_device(device)),
    }
    with progress("ask", len(items) * len(STAGES) + len(unseen)) as bar:

        def asked(vlm: VLM, questions: Sequence[Item]) -> dict[str, str]:
            answerer = OurAnswerer(Engine(vlm.eval(), processor, slots=64), SHORT)
            texts = {}
            for answer in answerer.answer(questions):
                texts[answer.item_id] = answer.text
                bar.advance()
            return texts

        for stage, make in models.items():
            measured.answers[stage] = asked(make(), items)
        tuned = models["tuned"]()
        measured.answers["blind"] = asked(tuned, task.blind(items))
        said = asked(tuned, unseen)
    for stage, texts in measured.answers.items():
        measured.accuracy[stage] = task.aggregate(items, _answers(texts))
    measured.unseen = task.aggregate(unseen, _answers(said)).overall
    return measured


def summary(measured: Measured, seconds: dict[str, float], model: Path) -> dict[str, object]:
    """report.json: fractions, counts, seconds and where the model is."""
    accuracy = measured.accuracy
    return {
        "vqa_accuracy": {stage: round(accuracy[stage].overall, 4) for stage in STAGES},
        "by_type": {type: {stage: round(accuracy[stage].by_type[type], 4) for stage in STAGES} for type in TYPES},
        "unseen_pairs": {"tuned": round(measured.unseen, 4), "n_questions": measured.unseen_questions},
        "best_constant": {type: round(share, 4) for type, share in task.best_constant(measured.items).items()},
        "n_questions": len(measured.items),
        "n_scenes": len({item.group for item in measured.items}),
        "seconds": seconds,
        "model": str(model),
    }


def as_table(measured: Measured) -> Table:
    table = Table(title=f"Right answers to {len(measured.items)} open questions about scenes never drawn in training")
    for column in ("questions", *STAGES):
        table.add_column(column, justify="left" if column == "questions" else "right")
    for type in TYPES:
        table.add_row(type, *(f"{measured.accuracy[stage].by_type[type]:.3f}" for stage in STAGES))
    table.add_row("all", *(f"{measured.accuracy[stage].overall:.3f}" for stage in STAGES), style="bold")
    table.add_row("pairs never shown", "", "", f"{measured.unseen:.3f}", "")
    return table


def _answers(texts: dict[str, str]) -> Iterator[task.Answer]:
    return (task.Answer(item_id, text) for item_id, text in texts.items())


def _losses(out: Path, stage: str) -> list[tuple[float, float]]:
    rows = [row for row in read_jsonl(out / "metrics.jsonl") if row.get("stage") == stage and "loss" in row]
    return [(float(row["step"]), float(row["loss"])) for row in rows]
