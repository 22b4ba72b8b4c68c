"""What is told of a run: metrics with their intervals, as text."""

from __future__ import annotations

from seetell.evals.statistics import intervals
from seetell.evals.task import Graded, Task


def metrics_table(task: Task, graded: Graded) -> str:
    """A Markdown table: metric, value, 95 % interval."""
    if task.name == "llava_bench" or not graded.scores:
        found = {}
    else:
        found = intervals(task, graded.scores)
    rows: list[tuple[str, str, str]] = []
    for name, value in graded.metrics.items():
        each = found.get(name)
        rows.append((name, f"{value:.2f}", f"{each.low:.2f} – {each.high:.2f}" if each else ""))
    header = ("metric", "value", "95 % interval")
    lines = ["| " + " | ".join(row) + " |" for row in (header, ("---", "---:", "---"), *rows)]
    return f"{task.title}: {graded.items} items\n\n" + "\n".join(lines)
