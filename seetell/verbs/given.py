"""What a command was given, looked at before torch is imported: a mistake is answered at once, not after seconds.

Only what needs no tensor is asked here: whether files and folders are there, names are known, extras are installed,
and whether a hub that is to be asked answers. Each question has its one home, which the work itself asks too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from seetell.config import pick
from seetell.console import waiting
from seetell.encode.templates import OWN, TEMPLATES
from seetell.errors import BadInput, UsageError
from seetell.extras import require_bitsandbytes, require_peft
from seetell.model.folders import located, model_folder
from seetell.sources.rows import find_rows
from seetell.sources.shards import is_shards
from seetell.train.recipe import AUTO, Data, Model, Recipe, Stage
from seetell.train.record import check_folder
from seetell.train.run_files import is_finished, target_of


@contextmanager
def importing_torch() -> Generator[None]:
    """Says what is going on while torch and transformers are imported, the first time."""
    if "torch" in sys.modules:
        yield
        return
    with waiting("Loading torch"):
        yield


def check_recipe(recipe: Recipe, stages: Mapping[str, Stage], *, reads_data: bool = True) -> None:
    """What these stages need: the parts, the templates, what memory is counted on, the data if it is read."""
    check_model(recipe.model)
    for name, stage in stages.items():
        check_template(stage.template)
        if stage.lora is not None:
            require_peft()
        if reads_data:
            for number, data in enumerate(stage.data):
                check_data(data, f"--set {name}.data.{number}.images")


def check_run(recipe: Recipe, out: Path, names: Sequence[str]) -> None:
    """What is needed to train the stages of these names that are not finished in `out`."""
    to_do = {n: at for n, at in recipe.stages.items() if n in names and not is_finished(target_of(recipe, out, n))}
    check_folder(recipe, out)
    if not to_do:
        return
    lacking = [f"{name}: {why}" for name, stage in to_do.items() for why in why_not_installed(stage)]
    if lacking:
        raise UsageError(" ".join(lacking))
    check_recipe(recipe, to_do)


def check_model(model: Model) -> None:
    """The parts are there, or on a hub that answers."""
    if model.start:
        model_folder(model.start, weights=False)
        return
    for what, part in (("vision tower", model.vision), ("language model", model.language)):
        located(part, what, weights=False)


def why_not_installed(stage: Stage) -> list[str]:
    """A sentence for each package that the stage needs and this machine lacks."""
    needs: list[Callable[[], None]] = []
    if stage.lora is not None:
        needs.append(require_peft)
        if stage.lora.bits < 16:
            needs.append(partial(require_bitsandbytes, stage.lora.bits))
    sentences: list[str] = []
    for need in needs:
        try:
            need()
        except UsageError as error:
            sentences.append(str(error))
    return sentences


def check_template(name: str) -> None:
    """A name of the table, or nothing for what stands anyway; "package.module:thing" is imported later, with torch."""
    if name not in ("", OWN, AUTO) and ":" not in name:
        pick(TEMPLATES, name, "template")


def check_data(data: Data, where: str) -> None:
    """The file is there, and so is the folder of its pictures where one is named."""
    find_rows(data.path, data.format)
    if data.images and not is_shards(data.path) and not Path(data.images).is_dir():
        raise BadInput(f"There is no folder of pictures {data.images}: correct {where}.")


def check_picture(picture: str | Path) -> None:
    """The picture is a file here."""
    if re.match("https?:/", str(picture)):
        raise BadInput(f"{picture} is on the web, where nothing is fetched from: save it, and name the file.")
    if not Path(picture).is_file():
        raise BadInput(f"There is no picture {picture}.")
