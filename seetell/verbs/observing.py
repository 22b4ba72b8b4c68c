"""Evaluating while training: a small task and a few generations, from the model that learns, as it learns.

The same model is asked, nothing is copied; each look has an engine of its own, so that nothing of it outlives the
look. Generations are in the words of the stage that is running. A task is asked in those of the recipe's last stage,
as the finished model would be, so that its figures can be compared from the first step on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from seetell.config import pick
from seetell.encode.processor import Processor
from seetell.encode.templates import TEMPLATES
from seetell.errors import BadInput, UsageError
from seetell.evals.run import REFUSED, limited
from seetell.evals.task import has_truth
from seetell.evals.tasks import TASKS
from seetell.infer.answerers import OurAnswerer
from seetell.infer.engine import Engine
from seetell.infer.sampling import Sampling
from seetell.model.vlm import VLM
from seetell.pictures import open_picture, small_jpeg
from seetell.sources.conversations import read_conversations
from seetell.train.observing import Told
from seetell.train.recipe import Data, Recipe, Stage
from seetell.train.start import stage_processor
from seetell.types import Conversation, Image, Item, Rejected, Turn
from seetell.verbs.eval import items_of
from seetell.verbs.training import Looking

if TYPE_CHECKING:
    from seetell.evals.task import Task
    from seetell.train.observing import Observer

ROWS = 4  # of the recipe's own data, to tell of where no picture is given
SLOTS = 8  # answers under way at once: beside a model in training little memory is free
LONGEST_TOKENS = 64
SIDE_PX = 320  # of the small picture on the page


def observers_for(recipe: Recipe, looking: Looking) -> list[Observer]:
    """Who looks at this recipe's runs; what cannot be observed is told now, before anything learns."""
    observers: list[Observer] = [Teller(_prompts(recipe, looking))]
    if looking.task:
        observers.append(Asker(recipe, looking))
    return observers


class Teller:
    """Has the model tell of a few pictures."""

    def __init__(self, prompts: Sequence[Conversation]) -> None:
        self.prompts = prompts

    def __call__(self, _step: int, model: VLM, processor: Processor, /) -> dict[str, float | Told]:
        engine = Engine(model, processor, slots=SLOTS)
        asked = [processor.encode_prompt(Conversation(one.id, one.turns[:1])) for one in self.prompts]
        told: dict[str, float | Told] = {}
        answers = engine.generate(asked, Sampling(max_new_tokens=LONGEST_TOKENS))
        for number, (prompt, answer) in enumerate(zip(self.prompts, answers, strict=True), start=1):
            text = f"({answer.reason})" if isinstance(answer, Rejected) else answer.text
            question, *hoped_for = prompt.turns
            truth = hoped_for[0].text if hoped_for else ""
            picture = small_jpeg(question.images[0], SIDE_PX)
            shown = None if isinstance(picture, Rejected) else picture
            told[f"{number} · {prompt.id}"] = Told(question.text.strip(), text, truth, shown)
        return told


class Asker:
    """Has the model answer a task that is scored by a rule."""

    def __init__(self, recipe: Recipe, looking: Looking) -> None:
        self.recipe = recipe
        self.task: Task = pick(TASKS, looking.task, "task")
        if self.task.score is None:
            raise UsageError(
                f"{self.task.name} needs a judge, which a run in training cannot wait for: observe another."
            )
        self.items: list[Item] = limited(items_of(self.task, looking.data), looking.limit)
        if not has_truth(self.items):
            raise BadInput(f"The questions of {self.task.name} come without their answers: there is nothing to score.")
        template = TEMPLATES.get(_last(recipe).template)
        if template is not None and not template.questions:
            raise UsageError(
                f"{self.task.name} asks questions, and the template {template.name} shows pictures alone: observe a "
                "recipe whose last stage has a dialogue."
            )

    def __call__(self, _step: int, model: VLM, _: Processor, /) -> dict[str, float | Told]:
        asking = stage_processor(self.recipe.model, _last(self.recipe), model)
        settings = Sampling(max_new_tokens=self.task.max_new_tokens)
        answers = list(OurAnswerer(Engine(model, asking, slots=SLOTS), settings).answer(self.items))
        graded = self.task.grade(self.items, answers)
        figures: dict[str, float | Told] = {f"{self.task.name}/{name}": value for name, value in graded.metrics.items()}
        refused = sum(answer.finish_reason == REFUSED for answer in answers)
        return figures | ({f"{self.task.name}: not asked, counted wrong": refused} if refused else {})


def _prompts(recipe: Recipe, looking: Looking) -> list[Conversation]:
    """The pictures that were given, or the first rows with a picture of each file of the last stage."""
    for path in looking.pictures:
        if not Path(path).is_file():
            raise UsageError(f"There is no picture {path} to observe.")
        if isinstance(opened := open_picture(Image(str(path))), Rejected):
            raise UsageError(f"{path} cannot be observed: {opened.reason}.")
    if looking.pictures:
        shown = [(Path(path).name, Image(str(path))) for path in looking.pictures]
        return [Conversation(name, (Turn("user", (image, looking.prompt)),)) for name, image in shown]
    files = _last(recipe).data
    each = -(-ROWS // len(files))
    return [row for data in files for row in islice(_first_rounds(data), each)][: max(ROWS, len(files))]


def _last(recipe: Recipe) -> Stage:
    return list(recipe.stages.values())[-1]


def _first_rounds(data: Data) -> Iterator[Conversation]:
    """The first question and answer of each row that begins with a picture not shown yet."""
    seen: set[Image] = set()
    for row in read_conversations(data.path, data.folder, data.format):
        if isinstance(row, Conversation):
            turns = [turn for turn in row.turns if turn.role != "system"][:2]
            images = turns[0].images if len(turns) == 2 else ()
            if images and images[0] not in seen:
                seen.add(images[0])
                yield Conversation(row.id, tuple(turns))
