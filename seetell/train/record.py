"""What a run is, written beside it, so that the same command goes on and another one is refused.

`recipe.json` is the recipe as it was resolved. `run.json` holds what the recipe does not say and the weights
depend on: a hash of each stage's encoded data and of the parts the run starts from, and what was chosen
automatically (device, threads, arithmetic), which is chosen once and read from here ever after. So is the run's date,
which some chat templates put into what is learned.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any

from seetell.config import differences, freeze, thaw
from seetell.console import say
from seetell.errors import UsageError
from seetell.files import MANIFEST, as_object, read_json, sha256_file, sha256_text, write_json
from seetell.model.folders import model_folder
from seetell.train.log import LOGS, has_learned, remove_logs
from seetell.train.recipe import AUTO, JOINED, Model, Recipe, Stage

MODELS = ("aligned", "model", "best")
LOCK = ".lock"
OPEN = ("template", "image")  # what a stage may leave to the model that it starts from
STAGE_DEFAULTS = {one.name: freeze(one.default) for one in fields(Stage) if one.default is not MISSING}


@dataclass(slots=True)
class Record:
    """The facts of a run that its recipe does not hold."""

    device: str
    threads: int
    parts: dict[str, str]
    versions: dict[str, str]
    ranks: int = 1
    date: str = field(default_factory=lambda: date.today().isoformat())
    chosen: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    data: dict[str, str] = field(default_factory=dict[str, str])

    def save(self, out: Path) -> None:
        write_json(out / "run.json", freeze(self))


def open_record(recipe: Recipe, out: Path, device: str, ranks: int, threads: int | None = None) -> Record:
    """The record of the run in `out`, new or found; a run of another recipe or of other parts is refused.

    A start that failed before anything was learned binds nobody: the corrected command begins anew in its place.
    """
    # Here because they import torch, and a folder is looked at before that (`check_folder`).
    from seetell.model.device import pick_device
    from seetell.model.threads import choose_threads

    parts, versions, place = _parts(recipe.model), _versions(), str(pick_device(device))
    if has_begun(out):
        _refuse_other_recipe(recipe, out)
        record = thaw(Record, read_json(out / "run.json"))
        _refuse_other(out, differences(record.parts, parts, "parts"))
        if device != "auto" and place != record.device:
            _refuse_other(out, [f"device: {record.device!r} -> {device!r}"])
        for change in differences(record.versions, versions, "versions"):
            say(f"This run resumes with other software than it began with ({change}): its last bits may differ.")
        if record.ranks != ranks:
            on = "1 process" if ranks == 1 else f"{ranks} processes"
            say(f"This run resumes on {on}, not {record.ranks}: the steps are the same, their last bits may differ.")
            record.ranks = ranks
            record.save(out)
        if threads is not None and threads != record.threads:
            say(f"This run resumes with {threads} threads, not {record.threads}: its last bits may differ.")
            record.threads = threads
            record.save(out)
    else:
        record = Record(place, choose_threads(threads), parts, versions, ranks)
        _refuse_unknown(out)
        remove_logs(out)
        write_json(out / "recipe.json", _written_out(recipe))
        record.save(out)
    return record


def check_folder(recipe: Recipe, out: Path) -> None:
    """Refuses a folder in which another process trains, or that this recipe would not resume; needs no torch."""
    if not out.is_dir():
        return
    if (out / LOCK).exists():
        with only_run(out, looks=True):
            pass
    if has_begun(out):
        _refuse_other_recipe(recipe, out)
    else:
        _refuse_unknown(out)


def _refuse_other_recipe(recipe: Recipe, out: Path) -> None:
    """What the recipe still leaves open, a run that has begun has settled (`start.settled`)."""
    before, now = _decided(read_json(out / "recipe.json")), _decided(_written_out(recipe))
    for name in recipe.stages:
        now[name] |= {what: before[name][what] for what in OPEN if name in before and now[name][what] == AUTO}
    _refuse_other(out, differences(before, now))


def _written_out(recipe: Recipe) -> dict[str, Any]:
    """The recipe as values, with what it leaves to the defaults of its model: those may be others one day."""
    return {**freeze(recipe), "model": {**freeze(recipe.model), **recipe.model.joined}}


def _decided(written: Mapping[str, Any]) -> dict[str, Any]:
    """What a written recipe decides. `memory` only asks whether to begin; beside `start` older runs have defaults.

    What an older run's stage does not name came later, and its default is what was done before.
    """
    model = as_object(written.get("model")) or {}
    stages = {name: dict(stage) for name, stage in written.items() if isinstance(stage, Mapping) and name != "model"}
    return {
        **written,
        "model": model | dict.fromkeys(JOINED) if model.get("start") else model,
        **{
            name: {what: at for what, at in (STAGE_DEFAULTS | stage).items() if what != "memory"}
            for name, stage in stages.items()
        },
    }


def has_begun(out: Path) -> bool:
    """Whether something was trained there: a finished model, a checkpoint, or a step that was taken."""
    if not _is_known(out):
        return False
    finished = any((out / name / MANIFEST).exists() for name in MODELS)
    return finished or any(out.glob("checkpoints/*/step-*")) or has_learned(out)


def _is_known(out: Path) -> bool:
    return (out / "recipe.json").exists() and (out / "run.json").exists()


def _refuse_unknown(out: Path) -> None:
    """What stands where a run would write, and is of no run known here, is not ours to remove."""
    names = MODELS if _is_known(out) else (*MODELS, "checkpoints", "report.json", *LOGS)
    if found := [name for name in names if (out / name).exists()]:
        raise UsageError(
            f"{out} holds {', '.join(found)} of no run recorded there (recipe.json, run.json): a run would overwrite "
            "that. Give another --out."
        )


def check_parts(record: Record, out: Path, model: Model) -> None:
    """Refuses parts that are not those the run began with."""
    _refuse_other(out, differences(record.parts, _parts(model), "parts"))


def check_data(record: Record, out: Path, stage: str, digest: str, writes: bool) -> None:
    """Writes down what a stage learns from; when that is known already and differs, refuses."""
    if record.data.setdefault(stage, digest) != digest:
        _refuse_other(out, [f"data of {stage}: {record.data[stage][:12]} -> {digest[:12]} (the encoded samples' hash)"])
    if writes:
        record.save(out)


@contextmanager
def only_run(out: Path, *, looks: bool = False) -> Iterator[None]:
    """Two processes never write one run. Who only `looks` keeps no other one out that looks too."""
    with (out / LOCK).open("a") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if looks else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"Another process is training in {out}: wait for it, or give another --out.") from None
        yield


def _refuse_other(out: Path, changes: list[str]) -> None:
    if changes:
        raise UsageError(
            f"{out} holds a run that began otherwise; give another --out, or what it began with. Changed: "
            + "; ".join(changes)
        )


def _versions() -> dict[str, str]:
    import torch
    import transformers

    return {"torch": torch.__version__, "transformers": transformers.__version__}


def _parts(model: Model) -> dict[str, str]:
    """A hash of each part that is a folder here; a part named on the hub is known by its name."""
    named = {"vision": model.vision, "language": model.language, "start": model.start}
    return {name: what for name, what in named.items() if what} | {
        name: _fingerprint(folder) for name, folder in part_folders(model).items()
    }


def part_folders(model: Model) -> dict[str, Path]:
    """The parts that are folders here, by their names in the recipe; of a run that `start` names, its model."""
    folders = {"vision": Path(model.vision), "language": Path(model.language)}
    found = {name: path for name, path in folders.items() if path.is_dir() and getattr(model, name)}
    is_here = bool(model.start) and Path(model.start).expanduser().is_dir()
    return found | ({"start": model_folder(model.start)} if is_here else {})


def stamps_of(folders: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """The size and the time of the last change of each file that a model is read from; a name on the hub has none."""
    files = (path for folder in folders if folder.is_dir() for path in _files_of(folder))
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".bin", ".model"))


def _fingerprint(folder: Path) -> str:
    files = _files_of(folder)
    return sha256_text("\n".join(f"{path.name} {sha256_file(path)}" for path in files))
