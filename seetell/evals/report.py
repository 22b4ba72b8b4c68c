"""What is told of runs: metrics with intervals, differences, the printed figures beside ours, which number to report.

The same figures go out as JSON, as Markdown and (`report_page`) as HTML with every question and answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from seetell.evals.published import PublishedTable, tables_for, why_not_compared
from seetell.evals.run import Run
from seetell.evals.statistics import Difference, Interval, differences, intervals
from seetell.evals.task import Graded, Task
from seetell.files import as_object

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def metrics_table(task: Task, graded: Graded) -> str:
    """For the terminal: each metric with its 95 % interval; of several judgements, the spread over them instead."""
    several = len({score.item.id for score in graded.scores}) < len(graded.scores)
    found = {} if several else intervals(task, graded.scores)
    rows = [
        (name, f"{value:.2f}", _range(found[name]) if name in found else "") for name, value in graded.metrics.items()
    ]
    return f"{task.title}: {graded.items} items\n\n" + markdown_table(("metric", "value", "95 % interval"), rows)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


class Figures:
    """All that is computed from runs of one task, once, for every form of the report."""

    def __init__(self, task: Task, runs: Sequence[Run]) -> None:
        self.task, self.runs = task, runs
        self.intervals = {run.name: intervals(task, run.scores) for run in runs}
        self.differences: list[tuple[str, str, dict[str, Difference]]] = [
            (one.name, other.name, differences(task, one.scores, other.scores))
            for at, one in enumerate(runs)
            for other in runs[at + 1 :]
        ]
        self.published = tables_for(task.name, task.published)

    def to_json(self) -> dict[str, object]:
        return {
            "task": self.task.name,
            "title": self.task.title,
            "headline": self.task.headline,
            "unit": self.task.unit,
            "runs": [self._run(run) for run in self.runs],
            "differences": [
                {"one": one, "other": other, "metrics": {name: asdict(each) for name, each in found.items()}}
                for one, other, found in self.differences
            ],
            "report": [self.headline(run) for run in self.runs],
            "published": [
                {"title": table.title, "columns": table.columns, "rows": dict(table.rows), "note": table.note}
                for table in self.published
            ],
        }

    def _run(self, run: Run) -> dict[str, object]:
        bias = run.position_bias()
        return {
            **run.facts,
            "n": run.items,
            "metrics": dict(run.metrics),
            "intervals": {name: [each.low, each.high] for name, each in self.intervals[run.name].items()},
            "unparsed": run.unparsed,
            "unscored": run.unscored,
            "cut_off": run.cut_off,
            "refused": run.refused,
            "position_bias": None if bias is None else {"points": bias[0], "half_width": bias[1], "answers": bias[2]},
        }

    def headline(self, run: Run) -> str:
        """Which number to report, and how far it is from the printed one."""
        name = self.task.headline
        if not run.answered:
            return f"{run.name}: this data has no answers to score by; the file for the owner's server is written."
        found = self.intervals[run.name].get(name)
        if found is None:
            return f"{run.name}: there is no score to report; nothing could be judged."
        told = f"{run.name}: report {name} {found.value:.2f} (95 % interval {_range(found)}, {run.items} questions)."
        for table in self.published:
            distances = _distances(table, self.task.name, run.metrics, name)
            if distances and (why := why_not_compared(table, self.task.name, run.facts, run.items)):
                distances = [f"Not compared with {table.title.partition(':')[0]}: {why}."]
            told += "".join(f" {each}" for each in distances)
        lost = sum(run.unscored.values())
        return told + (f" Incomplete: {lost} judgements failed and are left out." if lost else "")

    def metrics(self) -> Table:
        """A row for each metric, two columns for each run."""
        header = ["metric", *(cell for run in self.runs for cell in (run.name, "95 % interval"))]
        names = list(dict.fromkeys(name for run in self.runs for name in run.metrics))
        rows: list[tuple[str, ...]] = []
        for name in names:
            row = [name]
            for run in self.runs:
                found = self.intervals[run.name].get(name)
                row += [f"{found.value:.2f}", _range(found)] if found else ["", ""]
            rows.append(tuple(row))
        return tuple(header), rows

    def compared(self) -> Table:
        """A row for each pair of runs and metric."""
        rows = [
            (
                f"{one} less {other}",
                name,
                f"{each.value:+.2f}",
                f"{each.low:+.2f} to {each.high:+.2f}",
                "yes" if each.clear else "no",
                f"{each.groups}",
                "never" if each.needed is None else f"{each.needed}",
            )
            for one, other, found in self.differences
            for name, each in found.items()
        ]
        header = ("runs", "metric", "difference", "95 % interval", "told apart", f"{self.task.unit}s", "needed")
        return header, rows

    def facts(self) -> Table:
        """How each run was made, and what was lost on the way."""
        names = list(dict.fromkeys(name for run in self.runs for name in run.facts if name != "name"))
        rows = [(name, *(_told(run.facts.get(name)) for run in self.runs)) for name in names]
        rows += [
            ("items", *(str(run.items) for run in self.runs)),
            ("answers cut off", *(str(run.cut_off) for run in self.runs)),
            ("could not be asked, count as empty answers", *(str(run.refused) for run in self.runs)),
            ("could not be read, count as wrong", *(str(run.unparsed) for run in self.runs)),
            ("without a score", *(_told(run.unscored) for run in self.runs)),
            ("position bias", *(_bias(run) for run in self.runs)),
        ]
        return ("", *(run.name for run in self.runs)), rows

    def beside(self, table: PublishedTable) -> Table:
        """A printed table with our rows under it."""
        rows = [(name, *(_cell(cell) for cell in cells)) for name, cells in table.rows.items()]
        for run in self.runs:
            ours = [run.metrics.get(table.metric_of(self.task.name, column) or "") for column in table.columns]
            rows.append((f"here: {run.name}", *(_cell(value) for value in ours)))
        return ("", *table.columns), rows


def markdown(figures: Figures) -> str:
    """The report as a page of text."""
    parts = [f"# {figures.task.title}", *figures_lines(figures), markdown_table(*figures.metrics())]
    header, rows = figures.compared()
    if rows:
        parts += ["## Differences", markdown_table(header, rows)]
    for table in figures.published:
        parts += [f"## {table.title}", markdown_table(*figures.beside(table)), *([table.note] if table.note else [])]
    parts += ["## How", markdown_table(*figures.facts())]
    return "\n\n".join(parts) + "\n"


def figures_lines(figures: Figures) -> list[str]:
    return [figures.headline(run) for run in figures.runs]


def _distances(table: PublishedTable, task: str, metrics: Mapping[str, float], name: str) -> list[str]:
    """How far our number is from the rows that a reproduction is compared with."""
    told: list[str] = []
    for column in table.columns:
        metric = table.metric_of(task, column)
        if metric is None or metric not in metrics or (metric != name and not table.mine):
            continue
        for row in table.ours:
            cell = table.rows[row][table.columns.index(column)]
            printed = cell[0] if isinstance(cell, tuple) else cell
            if printed is not None:
                far = metrics[metric] - printed
                where = f"{abs(far):.2f} {'above' if far > 0 else 'below'}" if round(far, 2) else "the same as"
                what = f" ({metric} {metrics[metric]:.2f})" if metric != name else ""
                told.append(f"Published {column} of {row}: {_cell(cell)}; this{what} is {where} it.")
    return told


def _range(interval: Interval) -> str:
    return f"{interval.low:.2f} to {interval.high:.2f}"


def _cell(cell: float | tuple[float, float] | None) -> str:
    if cell is None:
        return ""
    return f"{cell[0]:g} ± {cell[1]:g}" if isinstance(cell, tuple) else f"{round(cell, 2):g}"


def _bias(run: Run) -> str:
    bias = run.position_bias()
    return "" if bias is None else f"{bias[0]:+.2f} ± {bias[1]:.2f} points to the first place ({bias[2]} answers)"


def _told(value: Any) -> str:
    if (shown := as_object(value)) is not None:
        return ", ".join(f"{name}: {each}" for name, each in shown.items())
    return "" if value is None else str(value)
