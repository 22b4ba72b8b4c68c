"""A run's own page, `run.html`: how it goes and went, in one file that opens without a network.

It is written anew while the run goes on, whole each time, from the run's files alone; so it opens after a kill, and
says what a resumed run's files say. Never is more than a hundredth of the time spent on it.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from seetell.console import duration, say
from seetell.files import read_json, read_jsonl, write_atomic
from seetell.page import Card, Line, Page, Plot, Series
from seetell.train.curves import Curves, curves_of
from seetell.train.run_files import EVENTS, METRICS, OBSERVATIONS, OBSERVED, PAGE, REFUSED

EVERY_S = 30.0
TIMES_ITS_COST = 100  # until it is written again
SHOWN_STEPS = 8  # of what was said of one picture
SHOWN_CHARS = 240  # of one answer; observations.jsonl has all of it
Rows = list[dict[str, Any]]


class RunPage:
    """Writes the page, not too often."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._due_s = 0.0
        self._failed = False

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._due_s

    def write(self) -> None:
        """Now. A page that cannot be written ends no run."""
        began_s = time.monotonic()
        try:
            write_atomic(self._out / PAGE, run_page(self._out).html())
        except Exception as error:
            if not self._failed:
                say(f"{self._out / PAGE} cannot be written ({type(error).__name__}: {error}); the run continues.")
            self._failed = True
        ended_s = time.monotonic()
        self._due_s = ended_s + max(EVERY_S, TIMES_ITS_COST * (ended_s - began_s))


def run_page(out: Path) -> Page:
    """The page of the run whose files lie in `out`."""
    recipe, record = (_read(out / name) for name in ("recipe.json", "run.json"))
    stages = [name for name in ("align", "tune") if recipe.get(name)]
    metrics, refused, events, said = (_by_stage(out / name) for name in (METRICS, REFUSED, EVENTS, OBSERVATIONS))
    curves = {name: curves_of(metrics[name]) for name in stages if any("seconds" in row for row in metrics[name])}
    page = Page(f"Training: {out.absolute().name}")
    for name in curves:
        page.paragraph(_state(name, metrics[name], events[name]))
    summaries = [_summary(curves[name], metrics[name], events[name], refused[name]) for name in curves]
    facts = [fact for fact in (summaries or [{}])[0] if any(summary[fact] is not None for summary in summaries)]
    page.table([(fact, *(summary[fact] for summary in summaries)) for fact in facts], ["", *curves])
    for name, lines in curves.items():
        page.heading(name)
        page.plots(_plots(name, lines))
    _what_is_said(page, out, said, [name for name in stages if said[name]], recipe)
    _left_out(page, refused)
    _settings(page, recipe, record, stages)
    _history(page, events)
    page.paragraph(f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.")
    return page


# ------------------------------------------------------------------------------------------ how far


def _state(name: str, rows: Rows, events: Rows) -> str:
    """A sentence: "tune: step 300 of 5,198 (6 %), loss 0.912, 41.2 samples/s; 0:12:31 so far, about 3:12:00 left"."""
    last = next(row for row in reversed(rows) if "seconds" in row)
    step, steps = int(last["step"]), _steps(events)
    done = f"step {step:,}" + (f" of {steps:,} ({step / steps:.0%})" if steps else "")
    words = events[-1]["event"] if events and events[-1]["event"] in ("finished", "stopped", "failed") else "running"
    spent_s = float(last["seconds"])
    left = ""
    if words == "running" and steps > step:
        left = f", about {duration(spent_s / step * (steps - step))} left"
    why = f" {events[-1]['error']}" if words == "failed" else ""
    spent = f"in {duration(spent_s)}" if words == "finished" else f"{duration(spent_s)} so far"
    return f"{name} · {words} · {done} · {spent}{left}.{why}"


def _summary(curves: Curves, rows: Rows, events: Rows, refused: Rows) -> dict[str, object]:
    last = next(row for row in reversed(rows) if "seconds" in row)
    seconds = float(last["seconds"])
    return {
        "steps": int(last["step"]),
        "steps planned": _steps(events) or None,
        "samples": int(last["samples"]),
        "tokens": last.get("tokens"),
        "first loss": curves.loss[0][1] if curves.loss else None,
        "loss now": curves.smoothed[-1][1] if curves.smoothed else None,
        "held-out loss": curves.held_out[-1][1] if curves.held_out else None,
        "samples/s": f"{last['samples'] / seconds:.1f}" if seconds else None,
        "tokens/s": f"{last['tokens'] / seconds:,.0f}" if seconds and last.get("tokens") else None,
        "time": duration(seconds),
        "waited for data": f"{sum(row.get('data_wait_s', 0.0) for row in rows) / seconds:.1%}" if seconds else None,
        "rejected": len(refused),
    }


def _steps(events: Rows) -> int:
    return next((int(event["steps"]) for event in reversed(events) if event.get("steps")), 0)


# ------------------------------------------------------------------------------------------- curves


def _plots(name: str, curves: Curves) -> list[Plot]:
    """Speed is drawn once, in samples: in tokens its curve has the same shape, and the table has the mean."""
    plots = [Plot(f"{name}: loss per supervised token", "step", "loss", _loss(curves), faint=("each step",))]
    if len(curves.by_source) > 1:
        by_loss = dict(sorted(curves.by_source.items(), key=lambda item: -item[1][-1][1]))
        plots.append(Plot(f"{name}: loss by source, smoothed", "step", "loss", by_loss))
    for group, series in _groups(curves.observed).items():
        plots.append(Plot(f"{name}: observed, {group}" if group else f"{name}: observed", "step", "", series))
    plots.append(Plot(f"{name}: gradient norm before clipping", "step", "norm", {"norm": curves.grad_norm}, log=True))
    plots.append(Plot(f"{name}: learning rate", "step", "", curves.lr))
    plots.append(Plot(f"{name}: speed", "step", "samples/s", {"samples/s": curves.speed}))
    return plots


def _loss(curves: Curves) -> Series:
    held_out = {"held out": curves.held_out} if curves.held_out else {}
    return {"smoothed": curves.smoothed, **held_out, "each step": curves.loss}


def _groups(observed: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Series]:
    """Figures by what stands before their "/"."""
    groups: dict[str, dict[str, Sequence[tuple[float, float]]]] = defaultdict(dict)
    for name, points in observed.items():
        group, slash, rest = name.partition("/")
        groups[group if slash else ""][rest if slash else name] = points
    return dict(groups)


# -------------------------------------------------------------------------------------------- words


def _what_is_said(
    page: Page, out: Path, said: Mapping[str, Rows], stages: Sequence[str], recipe: Mapping[str, Any]
) -> None:
    """A card for each picture, with what the model said of it as it learned."""
    by_name: dict[str, Rows] = defaultdict(list)
    for stage in stages:
        for row in said[stage]:
            by_name[str(row["name"])].append(row)
    if not by_name:
        return
    page.heading("What it says as it learns")
    plain = [stage for stage in stages if recipe[stage]["template"] == "plain"]
    if plain:
        page.paragraph(f"In {plain[0]} the template is plain: the model is shown the picture alone and describes it.")
    page.grid(_card(out, rows) for rows in by_name.values())


def _card(out: Path, rows: Rows) -> Card:
    last = rows[-1]
    lines = [Line("asked", str(last["prompt"]))]
    if last["truth"]:
        lines.append(Line("hoped for", str(last["truth"])))
    for (stage, text), same in groupby(_spread(rows), key=lambda row: (row["stage"], str(row["text"]))):
        steps = [f"{row['step']:,}" for row in same]
        lines.append(Line(f"{stage} {'–'.join(dict.fromkeys((steps[0], steps[-1])))}", _short(text) or "—"))
    path = out / OBSERVED / str(last["picture"])
    return Card(str(last["name"]), tuple(lines), path.read_bytes() if path.is_file() else None)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS].rstrip() + " …"


def _spread(rows: Rows) -> Rows:
    """At most SHOWN_STEPS of them, evenly, the first and the last among them."""
    if len(rows) <= SHOWN_STEPS:
        return rows
    return [rows[round(at * (len(rows) - 1) / (SHOWN_STEPS - 1))] for at in range(SHOWN_STEPS)]


# -------------------------------------------------------------------------------------------- facts


def _left_out(page: Page, refused: Mapping[str, Rows]) -> None:
    counts = Counter((stage, str(row["reason"])) for stage, rows in refused.items() for row in rows)
    first = {(stage, str(row["reason"])): row for stage, rows in refused.items() for row in reversed(rows)}
    if not counts:
        return
    page.heading("Rejected rows")
    page.table(
        [
            (stage, reason, count, str(first[stage, reason]["id"]), str(first[stage, reason]["detail"]))
            for (stage, reason), count in counts.most_common()
        ],
        ["stage", "reason", "rows", "the first", "detail"],
    )


def _settings(page: Page, recipe: Mapping[str, Any], record: Mapping[str, Any], stages: Sequence[str]) -> None:
    page.heading("The recipe")
    by_stage = {name: dict(_leaves(recipe[name])) for name in stages}
    names = list(dict.fromkeys(name for settings in by_stage.values() for name, value in settings.items() if value))
    first = {part: at for at, part in reversed(list(enumerate(name.partition(".")[0] for name in names)))}
    names.sort(key=lambda name: first[name.partition(".")[0]])  # "lr.language" beside "lr.connector"
    chosen = [(name, *(by_stage[stage].get(name, "") for stage in stages)) for name in names]
    page.table(chosen, ["setting", *stages], folded=f"{len(chosen)} settings")
    facts = {**dict(_leaves(recipe.get("model", {}), "model")), "seed": str(recipe.get("seed", ""))}
    facts |= {name: value for name, value in _leaves(record) if not name.startswith(("parts.", "data."))}
    shown = [(name, value) for name, value in facts.items() if value]
    page.table(shown, ["fact", "value"], folded=f"{len(shown)} facts about the model and the machine")


def _leaves(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows of text: ("lr.connector", "0.001")."""
    if isinstance(value, Mapping):
        parts = [(f"{name}.{key}" if name else str(key), inside) for key, inside in value.items()]
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        parts = [(f"{name}.{at}", inside) for at, inside in enumerate(value)]
    else:
        return [(name, "" if value is None else str(value))]
    return [leaf for key, inside in parts for leaf in _leaves(inside, key)]


def _history(page: Page, events: Mapping[str, Rows]) -> None:
    page.heading("What happened when")
    rows = sorted((row for rows in events.values() for row in rows), key=lambda row: str(row["at"]))
    page.table(
        [(str(row["at"]).replace("+00:00", " UTC"), row["stage"], _event(row)) for row in rows],
        ["time", "stage", "event"],
    )


def _event(row: Mapping[str, Any]) -> str:
    after = f"{row['event']} at step {row['step']:,}"
    if row["event"] == "resumed" and row.get("done_again"):
        count = int(row["done_again"])
        steps = "1 step" if count == 1 else f"{count:,} steps"
        after += f"; {steps} after the last checkpoint done again"
    if row.get("error"):
        after += f": {row.get('observer', '')} {row['error']}".replace(":  ", ": ")
    return after


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _by_stage(path: Path) -> dict[str, Rows]:
    rows: dict[str, Rows] = defaultdict(list)
    if path.is_file():
        for row in read_jsonl(path):
            rows[str(row["stage"])].append(row)
    return rows
