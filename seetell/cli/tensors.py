"""Commands of the tensors wing: a model is shown, planned, trained, talked to and moved."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from seetell.cli.options import Device, DeviceOption, Dtype, Layout, OutOption, SetOption, ThreadsOption, seconds_of
from seetell.errors import UsageError
from seetell.infer import LONGEST_ANSWER_TOKENS

commands = typer.Typer()
RecipeArgument = Annotated[
    str, typer.Argument(help="A shipped recipe's name (seetell recipes lists them), or a Python file.")
]


@commands.command()
def demo(
    out: OutOption = Path("runs/demo"),
    device: DeviceOption = Device.auto,
    threads: ThreadsOption = None,
    rebuild_base: Annotated[bool, typer.Option(help="Pretrain the tiny base again first (hours on a CPU).")] = False,
) -> None:
    """Runs every stage on drawn pictures, in minutes: draw, write, align, tune, measure, report."""
    from seetell.verbs.demo import demo

    demo(out, device=device.value, threads=threads, rebuild_base=rebuild_base)


@commands.command()
def show(
    source: Annotated[str, typer.Argument(metavar="DATA|RECIPE", help="A conversation file, or a recipe.")],
    id: Annotated[str, typer.Option(help="The sample's id; else the first.")] = "",
    template: Annotated[str, typer.Option(help="The chat template to use.")] = "",
    model: Annotated[str, typer.Option(help="The model folder whose tokenizer to use; else the tiny base.")] = "",
    images: Annotated[
        Path | None, typer.Option(help="The folder of a file's pictures; else beside it, or images/ there.")
    ] = None,
) -> None:
    """Prints a sample as the model sees it, with the supervised tokens marked."""
    from seetell.verbs.show import show

    show(source, id=id, template=template, model=model, images=images)


@commands.command()
def recipes(
    name: Annotated[str, typer.Argument(help="Prints this recipe's file, to read or to copy.")] = "",
) -> None:
    """Lists the recipes that ship: what each is, what it needs, and its size."""
    from seetell.verbs.recipes import recipes

    recipes(name)


@commands.command()
def plan(
    recipe: RecipeArgument,
    sets: SetOption = None,
    device: DeviceOption = Device.auto,
    threads: ThreadsOption = None,
    price: Annotated[
        list[str] | None, typer.Option(metavar="GPU=DOLLARS", help='An hour\'s price: "H100 80 GB=2.2". Repeatable.')
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="This many GPUs, not the fewest that hold it.")] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Plan so many rows a stage, as long as LLaVA-1.5's; no data is read.")
    ] = None,
    lengths: Annotated[str, typer.Option(help="Plan without data: llava-665k, LLaVA-1.5's rows by length.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON list, an entry for each stage.")] = False,
) -> None:
    """Estimates a run before it starts: samples, steps, memory, hours, cost, and what is chosen."""
    from seetell.verbs.plan import plan

    stages = plan(
        recipe,
        sets or (),
        device=device.value,
        threads=threads,
        prices=price or (),
        gpus=gpus,
        rows=rows,
        lengths=lengths,
    )
    if json:
        typer.echo(dumps([stage.json() for stage in stages]))
    else:
        from seetell.verbs.plan_table import print_plan  # here because it imports torch

        print_plan(stages)


@commands.command()
def train(
    recipe: RecipeArgument,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder, else runs/RECIPE; run again with the same one to resume.")
    ] = None,
    sets: SetOption = None,
    device: DeviceOption = Device.auto,
    threads: ThreadsOption = None,
    save_every: Annotated[
        str,
        typer.Option(metavar="TIME", help="Save a checkpoint so often: 30s, 5m, 1h. Else as docs/checkpoints.md says."),
    ] = "",
    keep: Annotated[int, typer.Option(min=1, help="How many checkpoints to keep, the newest.")] = 2,
    keep_best: Annotated[
        str,
        typer.Option(
            metavar="FIGURE", help="Keep OUT/best too: held_out_loss, or what --observe gives (pope/accuracy)."
        ),
    ] = "",
    observe_every: Annotated[int, typer.Option(min=0, help="Observe the model every so many steps; 0 is never.")] = 0,
    observe: Annotated[str, typer.Option(metavar="TASK", help="Also ask a task of `seetell eval`.")] = "",
    observe_data: Annotated[Path | None, typer.Option(help="The task's data; else data/TASK.")] = None,
    observe_limit: Annotated[int, typer.Option(min=1, help="How many of its questions to ask.")] = 64,
    observe_picture: Annotated[
        list[Path] | None, typer.Option(help="A picture to ask about; else the data's first. Repeatable.")
    ] = None,
    observe_prompt: Annotated[str, typer.Option(help="The question about those pictures.")] = "Describe the image.",
) -> None:
    """Trains a recipe. If it is killed, the same command resumes it. OUT/run.html shows how it learns."""
    from seetell.verbs.training import Looking, train

    looking = Looking(observe, observe_data, observe_limit, observe_picture or (), observe_prompt)
    if not observe_every and looking != Looking():
        raise UsageError("Say how often to observe, in steps: --observe-every 100.")
    train(
        recipe,
        out or Path("runs") / Path(recipe).stem,
        sets=sets or (),
        device=device.value,
        threads=threads,
        looking=looking if observe_every else None,
        observe_every=observe_every,
        checkpoint_every_s=seconds_of(save_every) if save_every else None,
        keep=keep,
        keep_best=keep_best,
    )


@commands.command()
def chat(
    model: Annotated[str, typer.Argument(help="A model folder.")],
    images: Annotated[list[Path] | None, typer.Argument(help="Pictures to talk about.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="A picture, placed before the prompt. Repeatable.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Ask this once and stop.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as one JSON object.")] = False,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.0,
    top_p: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Sample from the likeliest tokens of this mass.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="The seed, for temperatures above 0.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = LONGEST_ANSWER_TOKENS,
    device: DeviceOption = Device.auto,
    threads: ThreadsOption = None,
    dtype: Annotated[Dtype, typer.Option(help="The type of the weights.")] = Dtype.auto,
) -> None:
    """Talks about pictures: in a conversation, or once with --prompt."""
    from seetell.verbs.chatting import chat

    chat(
        model,
        [*(images or ()), *(image or ())],
        prompt=prompt,
        as_json=json,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        max_new_tokens=max_new_tokens,
        device=device.value,
        threads=threads,
        dtype=dtype.value,
    )


@commands.command("import")
def import_model(
    source: Annotated[str, typer.Argument(help="A folder or hub name: a LLaVA model, or a stage-1 projector.")],
    out: OutOption,
    vision: Annotated[str, typer.Option(help="A projector's vision tower, by folder or hub name.")] = "",
    language: Annotated[str, typer.Option(help="A projector's language model, by folder or hub name.")] = "",
    base: Annotated[str, typer.Option(help="The base of a first release's LoRA.")] = "",
    template: Annotated[str, typer.Option(help="The chat template it was tuned in; else what its files say.")] = "",
) -> None:
    """Imports a LLaVA model of any layout; the weights stay the same to the bit."""
    from seetell.verbs.importing import import_model

    parts = {"vision": vision, "language": language, "base": base, "template": template}
    import_model(source, out, **{name: value or None for name, value in parts.items()})


@commands.command("export")
def export_model(
    model: Annotated[str, typer.Argument(help="A model folder.")],
    to: Annotated[Layout, typer.Option(help="transformers' layout, or the first LLaVA release's.")],
    out: OutOption,
) -> None:
    """Writes a model in another layout, exactly."""
    from seetell.verbs.exporting import export_model

    export_model(model, to.value, out)


@commands.command()
def env() -> None:
    """Prints versions, device and threads, for a report of a fault."""
    from seetell.verbs.env import env

    env()
