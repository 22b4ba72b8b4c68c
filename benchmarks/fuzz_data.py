"""Fuzzed data files: `data check`, `show`, `plan` and a two-step `train` agree on the rows that can be used.

    python benchmarks/fuzz_data.py [--files 500] [--seed 0] --json fuzz_data.json

A file is a few rows of all dialects with keys missing, doubled or of the wrong type, speakers and tags mixed up, and
pictures that are there, missing, broken or of odd formats; as JSON, JSONL, Parquet or a tar shard, some of them damaged
as a whole (`fuzz_files.py`). All verbs run in this process, over tiny parts. What they disagree on, and whatever is
raised that is not a `SeetellError`, is counted and reported with its seed. `plan` opens no picture: it has to count the
rows whose text is sound. `stats` and `browse` have to end well where `check` reads the file.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.fuzz_files import Maker, make_pictures
from seetell.console import console
from seetell.errors import BadInput, SeetellError
from seetell.files import read_jsonl
from seetell.forecast import stages as planning
from seetell.pictures import REASONS
from seetell.train.data import read_samples
from seetell.train.pictures import feed
from seetell.train.recipe import Data, Model, Recipe, Stage
from seetell.train.run import train
from seetell.train.sharing import stage_plan
from seetell.train.start import planning_processor
from seetell.types import Rejected
from seetell.verbs import show as showing
from seetell.verbs.data import REMARKS, Checker, browse, check, rows_of, stats
from seetell.verbs.plan import plan
from tests.tiny import tiny_parts

NAMES = {"read": "plan", "feed": "train"}  # by the functions that these verbs use, where they would take long
Verdict = dict[int, str] | None  # of each row that cannot be used, why; None where the file cannot


@dataclass(slots=True)
class Tally:
    """What came of all files."""

    files: int = 0
    rows: int = 0
    usable: int = 0
    unreadable_files: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    faults: list[str] = field(default_factory=list[str])
    seconds: float = 0.0


class World:
    """Tiny parts, pictures, and the verbs over them."""

    def __init__(self, folder: Path, whole: bool = True) -> None:
        self.folder, self.data, self.whole = folder, folder / "data", whole
        self.model = Model(*tiny_parts(folder))
        make_pictures(self.data)
        self.processor = functools.cache(lambda: planning_processor(self.model, self.stage(Path("none"))))

    def stage(self, path: Path, rows: int = 2) -> Stage:
        """Two steps over the file."""
        rates = {"connector": 1e-3}
        return Stage(data=(Data(str(path)),), lr=rates, samples_per_step=max(1, -(-rows // 2)), micro_tokens=512)

    def recipe(self, path: Path, rows: int = 2) -> Recipe:
        return Recipe(self.model, tune=self.stage(path, rows))

    def prove(self, seed: int, tally: Tally) -> None:
        """One file through all verbs."""
        path = Maker(seed, self.data).write()
        tally.files += 1
        verdicts: dict[str, Verdict] = {}
        runs = (self.plan, self.train) if self.whole else (self.read, self.feed)
        for verb in (self.check, *runs, self.show):
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    verdicts[NAMES.get(verb.__name__, verb.__name__)] = verb(path, verdicts)
            except Exception:
                tally.faults.append(f"seed {seed}, {verb.__name__}: {traceback.format_exc(limit=-4)}")
                return
        checked = verdicts["check"]
        of_text = None if checked is None else {row: why for row, why in checked.items() if why not in REASONS}
        expected = {"check": checked, "train": checked, "show": checked, "plan": of_text}
        for verb, verdict in verdicts.items():
            if verdict != expected[verb]:
                tally.faults.append(f"seed {seed}, {path.name}: {verb} {verdict}, check {expected[verb]}")
        if checked is None:
            tally.unreadable_files += 1
        else:
            tally.rows += self.rows
            tally.usable += self.rows - len(checked)
            tally.reasons.update(checked.values())
        path.unlink()

    def check(self, path: Path, _: dict[str, Verdict]) -> Verdict:
        try:
            rows = list(rows_of(path))
        except SeetellError:
            for verb in (check, stats, lambda path: browse(path, self.folder / "page.html")):
                _must_refuse(verb, path)
            return None
        self.rows = len(rows)
        self.ids = [row.id if isinstance(row, Rejected) else row.conversation.id for row in rows]
        checker = Checker()
        faults = {at: [why for why, _, _ in checker.problems(row) if why not in REMARKS] for at, row in enumerate(rows)}
        found = {at: reasons[0] for at, reasons in faults.items() if reasons}
        try:
            check(path)
        except BadInput:
            assert found
        else:
            assert not found
        assert stats(path)["rows"] == len(rows)
        browse(path, self.folder / "page.html")
        return found

    def plan(self, path: Path, _: dict[str, Verdict]) -> Verdict:
        """What `plan` counts, by what it counts with."""
        samples: list[Any] = []

        def read(*arguments: Any) -> Any:
            samples.append(real(*arguments))
            return samples[-1]

        real = planning.read_samples
        with contextlib.ExitStack() as quick:  # what a plan says of hours and of other machines is not asked here
            quick.enter_context(mock.patch.object(planning, "read_samples", read))
            quick.enter_context(mock.patch.object(planning, "_offers", return_value=[]))
            pace = quick.enter_context(mock.patch.object(planning, "measure_pace"))
            pace.return_value.seconds.return_value = 1.0
            try:
                plan(self.recipe(path))
            except SeetellError as error:
                return self.nothing_left(error, path)
        return {row: rejected.reason for row, rejected in samples[0].rejected}

    def read(self, path: Path, _: dict[str, Verdict]) -> Verdict:
        """What a plan counts, without its figures."""
        try:
            samples = read_samples(self.stage(path), self.processor(), 0, "tune")
        except SeetellError as error:
            return self.nothing_left(error, path)
        return {row: rejected.reason for row, rejected in samples.rejected}

    def feed(self, path: Path, verdicts: dict[str, Verdict]) -> Verdict:
        """What two steps of training are fed, without computing them."""
        found = verdicts["plan"]
        if found is None or len(found) == self.rows:
            return found
        stage, processor = self.stage(path, self.rows - len(found)), self.processor()
        samples = read_samples(stage, processor, 0, "tune")
        plan = stage_plan(stage, samples, 0, processor.tokenizer.image_id)
        refused = [
            row for step in feed(plan, samples, processor.image_processor, None, 0) for row in step.facts.refused
        ]
        return found | {row: rejected.reason for row, rejected in refused}

    def train(self, path: Path, verdicts: dict[str, Verdict]) -> Verdict:
        planned, out = verdicts["plan"], self.folder / "run"
        shutil.rmtree(out, ignore_errors=True)
        rows = 2 if planned is None else self.rows - len(planned)
        try:
            train(self.recipe(path, rows), out, device="cpu")
        except SeetellError as error:
            if not str(error).startswith("Not one sample"):
                return self.nothing_left(error, path)
        return {row["row"]: row["reason"] for row in read_jsonl(out / "refused.jsonl")}

    def nothing_left(self, error: SeetellError, path: Path) -> Verdict:
        """Where no row can be used, the reasons are in the sentence alone."""
        if str(error).startswith("Nothing in"):
            found = self.check(path, {}) or {}
            assert all(why in str(error) for why in found.values()), error
            return found
        return None

    def show(self, path: Path, verdicts: dict[str, Verdict]) -> Verdict:
        """Every row by its id, the first of each; the others are as checked."""
        checked = verdicts["check"]
        if checked is None:
            _must_refuse(lambda path: showing.show(str(path), id="is read to its end"), path)
            return None
        found = dict(checked)
        with mock.patch("seetell.train.start.planning_processor", return_value=self.processor()):
            for at, id in enumerate(self.ids):
                if id and self.ids.index(id) == at:
                    found.pop(at, None)
                    if why := _shown(path, id):
                        found[at] = why
        return found


def _shown(path: Path, id: str) -> str:
    """Why `show` would reject the row; empty where it would not."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            showing.show(str(path), id=id)
        except BadInput as error:
            return str(error).rpartition("would be rejected: ")[2].partition(": ")[0].rstrip(".")
    lines = (line.rpartition("· rejected: ") for line in out.getvalue().splitlines())
    return next((why for _, mark, why in lines if mark), "")


def _must_refuse(verb: Callable[[Path], Any], path: Path) -> None:
    try:
        verb(path)
    except BadInput:
        return
    raise AssertionError(f"a verb reads {path}, which cannot be read")


def prove(seeds: range, folder: Path, whole: bool = True) -> Tally:
    """All files, by whole runs or by the functions that runs use."""
    tally, world, began_s = Tally(), World(folder, whole), time.monotonic()
    was_quiet, console.quiet = console.quiet, True
    try:
        with mock.patch("os.fsync"):  # nothing here has to outlive a power cut
            for seed in seeds:
                world.prove(seed, tally)
    finally:
        console.quiet = was_quiet
    tally.seconds = round(time.monotonic() - began_s, 1)
    return tally


def main() -> Iterator[str]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = prove(range(given.seed, given.seed + given.files), Path(folder))
    figures = {name: getattr(tally, name) for name in tally.__slots__}
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2))
    yield from tally.faults
    yield json.dumps({**figures, "faults": len(tally.faults)})


if __name__ == "__main__":
    for line in main():
        print(line)
