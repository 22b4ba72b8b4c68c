"""Commands of the words wing: data is written, chosen, looked into and scored without a tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seetell.cli.options import (
    Device,
    DeviceOption,
    Dtype,
    JudgeTokensOption,
    OutOption,
    TemperatureOption,
    ThreadsOption,
    temperature_of,
)
from seetell.errors import UsageError

commands = typer.Typer()


@commands.command()
def generate(
    folders: Annotated[list[Path] | None, typer.Argument(help="With --join: the folders to join.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write; the same one again resumes.")] = None,
    captions: Annotated[Path | None, typer.Option(help="COCO captions.")] = None,
    instances: Annotated[Path | None, typer.Option(help="COCO boxes.")] = None,
    images: Annotated[Path | None, typer.Option(help="The folder of the pictures.")] = None,
    scenes: Annotated[str, typer.Option(help="Scenes as JSONL instead of COCO, or drawn:N.")] = "",
    kinds: Annotated[str, typer.Option(help="The kinds of conversation to write.")] = "conversation,detail,complex",
    mix: Annotated[str, typer.Option(help="Shares of the kinds: conversation=58,detail=23,complex=77.")] = "",
    base_url: Annotated[str | None, typer.Option(help="An OpenAI-compatible endpoint.")] = None,
    model: Annotated[str, typer.Option(help="The model's name there.")] = "",
    teacher: Annotated[str, typer.Option(help="Instead of an endpoint: rules (built in), or replay:FILE.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="The first pictures only.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="The most requests at a time.")] = 64,
    prompts: Annotated[Path | None, typer.Option(help="A folder of prompts in the published layout.")] = None,
    conversation_boxes: Annotated[bool, typer.Option(help="Show boxes for conversations too.")] = False,
    seed: Annotated[int, typer.Option(help="The seed of questions and of the pictures' places.")] = 0,
    temperature: TemperatureOption = "0.7",
    max_tokens: Annotated[int, typer.Option(min=0, help="The longest reply; 0 leaves it to the service.")] = 2048,
    timeout: Annotated[float, typer.Option(min=0.1, help="The longest pause between two words, in seconds.")] = 120.0,
    rpm: Annotated[float | None, typer.Option(min=0.1, help="The most requests a minute.")] = None,
    tpm: Annotated[float | None, typer.Option(min=1.0, help="The most tokens a minute.")] = None,
    price: Annotated[str | None, typer.Option(metavar="IN,OUT", help="Dollars a million tokens.")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0.0, help="Stop before this many dollars are spent.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print counts, tokens, cost and time.")] = False,
    reparse: Annotated[Path | None, typer.Option(help="Read a folder's replies again, without requests.")] = None,
    retry_rejected: Annotated[bool, typer.Option("--retry-rejected", help="Ask rejected items once more.")] = False,
    shard: Annotated[str, typer.Option(metavar="I/N", help="This machine's share of the pictures.")] = "1/1",
    join: Annotated[bool, typer.Option("--join", help="Join the folders of shards: --join A B --out C.")] = False,
    batch: Annotated[str, typer.Option(help="A provider's batch files: write, submit or collect.")] = "",
    bench: Annotated[int, typer.Option(min=0, help="Write a benchmark of this many pictures.")] = 0,
) -> None:
    """Writes instruction data by asking a language model about captions and boxes."""
    from seetell.ask.price import price_of
    from seetell.verbs import generate as verb

    if reparse is not None:
        verb.parse_again(reparse)
    elif out is None:
        raise UsageError("seetell generate needs --out, the folder to write.")
    elif join or folders:
        verb.join(folders or (), out)
    else:
        shares, cost = verb.shares_of(kinds, mix), price_of(model, price)
        settings = verb.Settings(
            shares, seed=seed, temperature=temperature_of(temperature), max_tokens=max_tokens or None, limit=limit,
            shard=verb.shard_of(shard), concurrency=concurrency, requests_per_minute=rpm, tokens_per_minute=tpm,
            price=cost, max_cost_usd=max_cost, retry_rejected=retry_rejected,
        )  # fmt: skip
        source, service = (
            verb.Source(captions, instances, images, scenes),
            verb.Service(teacher, base_url, model, timeout),
        )
        verb.generate(
            source, out, service, settings, prompts=prompts, conversation_boxes=conversation_boxes, dry_run=dry_run,
            batch=batch, bench=bench,
        )  # fmt: skip


@commands.command()
def select(
    captions: Annotated[Path, typer.Argument(help="Captions: .tsv, .jsonl, COCO's JSON, or LLaVA's JSON list.")],
    out: OutOption,
    images: Annotated[Path | None, typer.Option(help="Their pictures; captions without one are skipped.")] = None,
    image_name: Annotated[str, typer.Option(help="The names of a .tsv's pictures, by row.")] = "GCC_train_{:09d}.jpg",
    seed: Annotated[int, typer.Option(help="The seed of the draw among common phrases.")] = 0,
    least: Annotated[int, typer.Option(min=1, help="Phrases that occur less often do not count.")] = 3,
    most: Annotated[int, typer.Option(min=1, help="The most captions that one phrase takes.")] = 100,
    chunker: Annotated[str, typer.Option(help="auto, spacy or built-in.")] = "auto",
) -> None:
    """Picks a concept-balanced subset of captions, ready to align with."""
    from seetell.verbs.select import select

    select(captions, out, images=images, image_name=image_name, seed=seed, least=least, most=most, chunker=chunker)


data_app = typer.Typer(
    name="data", help="Checks, counts, converts and browses conversation files.", no_args_is_help=True
)
commands.add_typer(data_app)
DataArgument = Annotated[Path, typer.Argument(help="LLaVA, ShareGPT or OpenAI rows: .json, .jsonl, .parquet or .tar.")]
ImagesOption = Annotated[Path | None, typer.Option(help="Their folder; else beside the file, or images/ there.")]


@data_app.command("check")
def check_data(
    data: DataArgument,
    images: ImagesOption = None,
    against: Annotated[Path | None, typer.Option(help="A benchmark's questions: finds shared pictures.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Longer rows are remarked upon.")] = 2048,
    out: Annotated[Path | None, typer.Option(help="A file for every problem, as JSONL.")] = None,
) -> None:
    """Lists rows that training would reject, with the reason; remarks upon doubles, control tokens, long rows."""
    from seetell.verbs.data import check

    check(data, images, against=against, max_tokens=max_tokens, out=out)


@data_app.command("stats")
def data_stats(
    data: DataArgument, out: Annotated[Path | None, typer.Option(help="A file for the figures, as JSON.")] = None
) -> None:
    """Prints counts and lengths."""
    from seetell.verbs.data import stats

    stats(data, out)


@data_app.command("convert")
def convert_data(
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="The file to write: .json, .jsonl or .parquet.")],
    to: Annotated[str, typer.Option(help="llava, sharegpt, openai, or pairs for stage 1.")],
    images: ImagesOption = None,
    seed: Annotated[int, typer.Option(help="The seed of the requests that pairs get.")] = 0,
) -> None:
    """Writes a file in another format; a row that it would change is listed and not written."""
    from seetell.verbs.data import convert

    convert(data, out, to, images, seed)


@data_app.command("browse")
def browse_data(
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("browse.html"),
    images: ImagesOption = None,
    count: Annotated[int, typer.Option(min=1, help="How many rows.")] = 60,
    seed: Annotated[int, typer.Option(help="The seed of the draw.")] = 0,
) -> None:
    """Writes a page of rows with their pictures."""
    from seetell.verbs.data import browse

    browse(data, out, images, count, seed)


@commands.command("eval")
def evaluate(
    task: Annotated[str, typer.Argument(help="A benchmark, such as drawn, llava_bench_wild or pope.")],
    model: Annotated[
        list[str], typer.Option(help="A model folder, openai:NAME@URL, text:NAME@URL or answers:FILE. Repeatable.")
    ],
    out: OutOption,
    data: Annotated[Path | None, typer.Option(help="The benchmark's files (docs/data.md); else data/TASK.")] = None,
    judge: Annotated[str, typer.Option(help="For judged tasks: openai:NAME@URL, replay:FILE or rules.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Ask only the first so many questions.")] = None,
    both_orders: Annotated[bool, typer.Option("--both-orders", help="Judge both orders of the answers.")] = False,
    judge_temperature: TemperatureOption = "0",
    judge_max_tokens: JudgeTokensOption = None,
    device: DeviceOption = Device.auto,
    threads: ThreadsOption = None,
    dtype: Annotated[Dtype, typer.Option(help="The type of the weights.")] = Dtype.auto,
) -> None:
    """Asks a model a benchmark's questions and scores the answers; run again, it resumes."""
    from seetell.verbs.eval import eval

    eval(
        task,
        model,
        out,
        data=data,
        judge=judge,
        limit=limit,
        both_orders=both_orders,
        judge_temperature=temperature_of(judge_temperature),
        judge_max_tokens=judge_max_tokens,
        device=device.value,
        dtype=dtype.value,
        threads=threads,
    )


@commands.command()
def score(
    task: Annotated[str, typer.Argument(help="scienceqa, pope, mme, textvqa, llava_bench, mmvet or caption.")],
    answers: Annotated[
        list[Path], typer.Option(help="The answers, or the judge's verdicts. Repeatable for llava_bench.")
    ],
    truth: Annotated[Path | None, typer.Option(help="The right answers, in the task's own layout.")] = None,
    questions: Annotated[Path | None, typer.Option(help="The questions, where answers only number them.")] = None,
    splits: Annotated[Path | None, typer.Option(help="ScienceQA's pid_splits.json.")] = None,
    stored: Annotated[bool, typer.Option(help="ScienceQA: score the choices that the file stored.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Scores answers that you already have, by the official rule."""
    from seetell.verbs.score import score

    score(task, answers, truth=truth, questions=questions, splits=splits, stored=stored, as_json=json)


scienceqa_app = typer.Typer(help="ScienceQA: turns problems into conversations, joins two models' answers.")
commands.add_typer(scienceqa_app, name="scienceqa", no_args_is_help=True)


@scienceqa_app.command("convert")
def scienceqa_convert(
    problems: Annotated[Path, typer.Argument(help="problems.json.")],
    out: Annotated[Path, typer.Option(help="The conversation file to write.")],
    images: Annotated[Path | None, typer.Option(help="The pictures' folder; else images/ beside the problems.")] = None,
    form: Annotated[str, typer.Option(help="What is shown and answered: QCM-A, QCM-LEA, CQM-LEPA …")] = "QCM-LEA",
    picture: Annotated[str, typer.Option(help="The picture's place: before or after the text, or none.")] = "before",
    split: Annotated[str, typer.Option(help="train, val or test; else every problem.")] = "",
) -> None:
    """Writes problems as conversations to tune on."""
    from seetell.verbs.scienceqa import convert

    convert(problems, out, images=images or "", form=form, picture=picture, split=split)


@scienceqa_app.command("join")
def scienceqa_join(
    answers: Annotated[Path, typer.Option(help="The first model's answers.")],
    second: Annotated[Path, typer.Option(help="The second model's, which go first where they can be read.")],
    truth: Annotated[Path, typer.Option(help="problems.json.")],
    out: OutOption,
    judge: Annotated[str, typer.Option(help="Asked where they differ: openai:NAME@URL or replay:FILE.")] = "",
    judge_temperature: TemperatureOption = "0",
    judge_max_tokens: JudgeTokensOption = None,
) -> None:
    """Joins two models' answers as the LLaVA paper does: complements, or a judge where they differ."""
    from seetell.verbs.scienceqa import join

    join(
        answers, second, truth, out, judge=judge, judge_temperature=temperature_of(judge_temperature),
        judge_max_tokens=judge_max_tokens,
    )  # fmt: skip
