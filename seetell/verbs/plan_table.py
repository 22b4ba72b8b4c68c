"""A plan as a person reads it: sentences about the counts, then tables of memory and of machines."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from seetell.console import duration
from seetell.forecast.stages import StagePlan
from seetell.train.data import told
from seetell.train.estimate import SPARE
from seetell.train.gpus import GIB
from seetell.train.hardware import UTILISATION
from seetell.train.machines import Offer

FREE_BELOW = 0.005  # dollars, which would be printed as $0.00


def print_plan(stages: list[StagePlan]) -> None:
    """To standard output, as wide as the terminal."""
    console = Console(highlight=False)
    for stage in stages:
        console.print(Group(*_shown(stage)), soft_wrap=False)


def _shown(stage: StagePlan) -> Iterator[RenderableType]:
    yield Text(f"\n{stage.name}", style="bold")
    yield from map(Text, counted(stage))
    yield _work(stage)
    yield Text(
        f"On this machine ({stage.device}): {duration(stage.hours * 3600)} of computing at the "
        f"{_flops(stage.pace.step_flops_per_s)}/s of a step timed just now ({_flops(stage.pace.product_flops_per_s)}/s "
        f"in one large matrix product), and {_bytes(stage.here.memory.peak)} of its {_bytes(stage.here.room_bytes)}"
        f"{'' if stage.here.count else ', in which it does not fit'}."
    )
    yield _memory(stage)
    for what, why in stage.choices.items():
        yield Text(f"  {what}: {why}")
    for why in stage.missing:
        yield Text(f"  train would refuse here: {why}")
    yield from _machines(stage.offers)


def counted(stage: StagePlan) -> list[str]:
    """The exact part, in sentences."""
    counts = stage.counts
    least, most = counts.samples_per_step
    floating = f", {least} to {most} samples each" if least != most and counts.steps > 1 else ""
    a_epoch = counts.slots / counts.epochs
    sentences = [
        f"{counts.samples:,} samples × {counts.epochs} in {counts.steps:,} steps{floating} and {counts.passes:,} "
        f"forward passes; {counts.pictures:,} pictures are seen.",
        f"{counts.tokens:,} tokens an epoch, {counts.supervised:,} of them supervised; the longest sample has "
        f"{counts.longest_tokens:,}.",
        f"Packed, {_empty(counts.tokens * counts.epochs, counts.slots)} of what is computed is empty. Padded to the "
        f"longest of 16 it would be {_empty(counts.tokens_alone, counts.slots_at_random)} in random order and "
        f"{_empty(counts.tokens_alone, counts.slots_as_llava)} in that of LLaVA's sampler: "
        f"{counts.slots_at_random / a_epoch:.2f} and {counts.slots_as_llava / a_epoch:.2f} times the tokens.",
    ]
    if saved := counts.tokens_alone - counts.tokens:
        sentences.append(f"Shared pictures save {saved:,} tokens an epoch, {saved / counts.tokens_alone:.1%}.")
    if counts.held_out:
        sentences.append(f"Held out: {counts.held_out:,} more samples, on which the loss is measured.")
    if lost := sum(counts.left_out.values()):
        sentences.append(f"Rejected rows: {lost:,} ({told(counts.left_out)}).")
    return sentences


def _work(stage: StagePlan) -> Table:
    table = _table(f"Work: {stage.learning:,} of {stage.parameters:,} weights learn", "part", "useful", "executed")
    for name, part in stage.flops.items():
        table.add_row(name, _flops(part.useful), _flops(part.executed))
    useful, executed = (sum(getattr(part, kind) for part in stage.flops.values()) for kind in ("useful", "executed"))
    table.add_row("all", _flops(useful), _flops(executed))
    return table


def _memory(stage: StagePlan) -> Table:
    table = _table("Memory of this machine, at its fullest", "part", "size")
    for name, size in stage.here.memory.parts().items():
        table.add_row(name, _bytes(size))
    return table


def _machines(offers: list[Offer]) -> Iterator[RenderableType]:
    """A row for each kind of GPU; those that cost less than a cent share one line."""
    free = [one for one in offers if one.fit.count and one.cost < FREE_BELOW]
    rest = [one for one in offers if one not in free]
    if free:
        longest = duration(max(one.hours for one in free) * 3600)
        which = "every known GPU" if not rest else ", ".join(one.gpu for one in free)
        yield Text(f"Rented, {which}: less than a cent, and at most {longest} of computing.")
    if not rest:
        return
    table = _table(
        "On rented GPUs, the fewest that hold it", "GPU", "how many", "GiB each", "recomputed", "time", "cost"
    )
    table.caption = (
        f"Hours: executed work at {UTILISATION:.0%} of the dense bfloat16 rate, an assumption; prices are assumptions "
        f"too (--price). {SPARE:.0%} of the memory is planned with. A frozen language "
        "model is sharded only where sharding=shard says so."
    )
    table.caption_justify = "left"
    for one in rest:
        setting, fit = one.fit.setting, one.fit
        used = f"{fit.memory.peak / GIB:,.1f} of {fit.room_bytes / GIB:,.0f}"
        if not fit.count:
            table.add_row(one.gpu, "too small", used, setting.checkpointing, "", "")
            continue
        spread = f", sharded{', roomy' if setting.roomy else ''}" if setting.sharded else ""
        time = duration(one.hours * 3600)
        table.add_row(one.gpu, f"{fit.count}{spread}", used, setting.checkpointing, time, f"${one.cost:,.2f}")
    yield table


def _table(title: str, *columns: str) -> Table:
    """A table in which no header is cut at 80 columns: cells fold, and numbers stand at the right."""
    table = Table(title=title, title_justify="left")
    for name in columns:
        words = name in ("part", "GPU", "how many", "recomputed")
        table.add_column(name, justify="left" if words else "right", min_width=len(name), overflow="fold")
    return table


def _empty(tokens: float, slots: float) -> str:
    return f"{1 - tokens / slots:.1%}"


def _bytes(size: float) -> str:
    return f"{size / GIB:,.1f} GiB" if size >= GIB else f"{size / 2**20:,.0f} MiB"


def _flops(number: float) -> str:
    units = (("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6))
    unit, size = next((one for one in units if number >= one[1]), units[-1])
    return f"{number / size:,.1f} {unit}"
