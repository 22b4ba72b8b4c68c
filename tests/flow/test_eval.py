"""`seetell eval` as it is run: answers are kept, runs go on, models stand side by side, failures are said."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch

from seetell.cli import main
from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor
from seetell.encode.templates import VICUNA_V1
from seetell.encode.tokenizer import load_tokenizer
from seetell.errors import UsageError
from seetell.evals.run import run as run_task
from seetell.evals.tasks import TASKS
from seetell.infer.answerers import OurAnswerer
from seetell.infer.loading import load
from seetell.infer.sampling import Sampling
from seetell.model.parts import load_parts
from seetell.model.weights import save_model
from seetell.types import Answer, Item
from seetell.verbs.eval import slug
from tests.tiny import tiny_parts
from tests.tiny_benchmarks import BENCHMARKS, WORDS


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["eval", *map(str, words), "--quiet"])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LLaVA and a random BLIP-2, as folders."""
    home = tmp_path_factory.mktemp("models")
    vision, language = tiny_parts(home)
    tokenizer = load_tokenizer(language)
    vlm = load_parts(
        vision, language, connector="mlp2", image_id=tokenizer.image_id, vocabulary=len(tokenizer), feature_layer=-2,
        keep_cls=False, dtype=torch.float32, device="cpu", seed=0,
    )  # fmt: skip
    processor = Processor(tokenizer, VICUNA_V1, ImageProcessor(vlm.side_px), vlm.slots_per_image)
    save_model(vlm, home / "llava", sorted(processor.stop_ids))
    processor.save(home / "llava")
    tiny_blip2(home / "blip2", Path(language))
    return home


def tiny_blip2(folder: Path, tokenizer_from: Path) -> None:
    from transformers import (
        AutoTokenizer,
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        OPTConfig,
    )

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    vision = Blip2VisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
    )
    queries = Blip2QFormerConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        encoder_hidden_size=16,
    )  # fmt: skip
    words = OPTConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, ffn_dim=32, num_attention_heads=2,
        max_position_embeddings=512, word_embed_proj_dim=16, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    config = Blip2Config(
        vision_config=vision.to_dict(), qformer_config=queries.to_dict(), text_config=words.to_dict(),
        num_query_tokens=4, image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    Blip2ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "BlipImageProcessor", "size": {"height": 16, "width": 16}, "do_resize": True,
        "do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_convert_rgb": True, "resample": 3,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    }))  # fmt: skip


class Reciter:
    """Answers from a table; stops after so many, as a process that is killed does."""

    name = "reciter"

    def __init__(self, texts: dict[str, str], stops_after: int = 10**9, backwards: bool = False) -> None:
        self.texts, self.stops_after, self.backwards = texts, stops_after, backwards
        self.asked: list[str] = []

    def answer(self, items: Iterable[Item]) -> Iterator[Answer]:
        for item in reversed(list(items)) if self.backwards else items:
            if len(self.asked) == self.stops_after:
                raise KeyboardInterrupt
            self.asked.append(item.id)
            yield Answer(item.id, self.texts[item.id])


# ---------------------------------------------------------------------------------------- side by side


def test_llava_and_blip2_land_in_one_report(models: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    BENCHMARKS["gqa"](data)
    assert run("gqa", "--model", models / "llava", "--data", data, "--out", out) == 0
    assert run("gqa", "--model", models / "blip2", "--data", data, "--out", out) == 0
    report = json.loads((out / "report.json").read_text())
    assert [each["name"] for each in report["runs"]] == ["blip2", "llava"]
    assert [each["kind"] for each in report["runs"]] == ["blip-2", "seetell"]
    ours = report["runs"][1]
    assert (ours["template"], ours["n"], ours["task"]) == ("vicuna-v1", 5, "gqa")
    assert ours["prompt"].startswith("Which colour?")
    assert report["differences"][0]["metrics"]["accuracy"]["groups"] == 5
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    for shown in ("blip2", "llava", "LLaVA-1.5: twelve benchmarks", "report accuracy"):
        assert shown in page
        assert shown in text
    assert page.count("data:image/jpeg") == 5
    first = re.findall(r'src="([^"]+)"', page[: page.index("<h2>")])
    assert 1 <= len(first) == len(set(first)) <= 4
    assert page.index("<img") < page.index("<table")
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_batched_is_one_by_one(models: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    BENCHMARKS["mme"](data)
    items = TASKS["mme"].items(data)
    texts = [
        {
            each.item_id: each.text
            for each in OurAnswerer(load(models / "llava", slots=slots).engine, Sampling(8)).answer(items)
        }
        for slots in (1, 7)
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) == len(items)


# ---------------------------------------------------------------------------------------------- resuming


def gqa(folder: Path) -> tuple[list[Item], dict[str, str]]:
    folder.mkdir()
    BENCHMARKS["gqa"](folder)
    items = TASKS["gqa"].items(folder)
    return items, {item.id: item.accepted[0] for item in items}


def test_stopped_and_run_again_is_an_undisturbed_run(tmp_path: Path) -> None:
    items, texts = gqa(tmp_path / "data")
    facts = {"name": "m", "model": "m"}
    whole = run_task(TASKS["gqa"], items, Reciter(texts), tmp_path / "whole", facts)
    with pytest.raises(KeyboardInterrupt):
        run_task(TASKS["gqa"], items, Reciter(texts, stops_after=2), tmp_path / "torn", facts)
    rest = Reciter(texts, backwards=True)
    again = run_task(TASKS["gqa"], items, rest, tmp_path / "torn", facts)
    assert rest.asked == ["4", "3", "2"]
    assert (again.rows, again.metrics) == (whole.rows, whole.metrics)
    for name in ("scores.jsonl", "results.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "torn" / name).read_bytes()


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    items, texts = gqa(tmp_path / "data")
    run_task(TASKS["gqa"], items[:2], Reciter(texts), tmp_path / "run", {"name": "m", "model": "m", "limit": 2})
    more = Reciter(texts)
    run_task(TASKS["gqa"], items, more, tmp_path / "run", {"name": "m", "model": "m", "limit": None})
    assert more.asked == ["2", "3", "4"]
    with pytest.raises(UsageError, match="model was 'm', now it is 'n'"):
        run_task(TASKS["gqa"], items, Reciter(texts), tmp_path / "run", {"name": "m", "model": "n"})


def test_a_killed_command_goes_on(models: Path, tmp_path: Path) -> None:
    """SIGKILL while it answers; what the journal holds is not asked for again, and the scores are the same."""
    data = tmp_path / "data"
    data.mkdir()
    BENCHMARKS["caption"](data)
    words = ["eval", "caption", "--model", str(models / "llava"), "--data", str(data), "--out"]
    command = [sys.executable, "-m", "seetell", *words, str(tmp_path / "torn")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = tmp_path / "torn/runs/llava/answers.jsonl"
    waited_until = time.monotonic() + 60
    while (
        process.poll() is None and time.monotonic() < waited_until and not (journal.exists() and journal.stat().st_size)
    ):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert run(*words[1:], tmp_path / "torn") == 0
    assert run(*words[1:], tmp_path / "whole") == 0
    torn, whole = (tmp_path / name / "runs/llava" for name in ("torn", "whole"))
    assert (torn / "scores.jsonl").read_bytes() == (whole / "scores.jsonl").read_bytes()
    ids = [json.loads(line)["item"] for line in (torn / "answers.jsonl").read_text().splitlines()]
    assert len(ids) == len(set(ids)) == len((whole / "answers.jsonl").read_text().splitlines())


# ------------------------------------------------------------------------------------------- judged tasks


class Mock(BaseHTTPRequestHandler):
    """Answers chat completions: as a model with what it was shown, as a judge with two scores."""

    seen: list[Any] = []  # noqa: RUF012  # the handler is made anew for every request

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Mock.seen.append(body["messages"])
        content = body["messages"][-1]["content"]
        text = "8 6\nfine" if "[System]" in content else "I see red."
        if isinstance(content, str) and "[System]" in content and "It is green." in content:
            text = "I cannot say."
        reply = {
            "id": "1", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }  # fmt: skip
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mock)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Mock.seen.clear()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def test_models_and_judges_behind_urls(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    BENCHMARKS["llava_bench"](data)
    words = ("llava_bench", "--data", data, "--out", out, "--judge", f"openai:judge@{url}")
    code = run(*words, "--model", f"openai:eyes@{url}", "--model", f"text:reader@{url}")
    assert code == 4  # the green answers could not be judged
    assert "2 judgements failed" in capsys.readouterr().err
    report = json.loads((out / "report.json").read_text())
    assert [each["unscored"] for each in report["runs"]] == [{"no two scores": 1}] * 2
    assert report["runs"][0]["metrics"]["all"] == 75
    assert (report["runs"][0]["judge"], report["runs"][0]["kind"]) == ("judge", "openai")
    shown = [content for content in (messages[-1]["content"] for messages in Mock.seen) if isinstance(content, list)]
    assert len(shown) == 5
    assert shown[0][0]["image_url"]["url"].startswith("data:image/png;base64,")
    told = [messages for messages in Mock.seen if str(messages[0]["content"]).startswith("You are told")]
    assert sorted(messages[-1]["content"].split("\n")[0] for messages in told) == sorted(WORDS)
    asked = len(Mock.seen)
    assert run(*words, "--model", f"openai:eyes@{url}") == 4
    assert len(Mock.seen) == asked  # everything was known
    replay = ("--judge", f"replay:{out / 'judge-judge.jsonl'}", "--model", f"openai:eyes@{url}")
    assert run("llava_bench", "--data", data, "--out", tmp_path / "again", *replay) == 4
    again = json.loads((tmp_path / "again/report.json").read_text())
    assert again["runs"][0]["metrics"] == report["runs"][0]["metrics"]


def test_both_orders_and_the_rules_judge(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    BENCHMARKS["llava_bench_coco"](data)
    answers = tmp_path / "mine.jsonl"
    answers.write_text("".join(
        json.dumps({"question_id": n, "text": f"A {WORDS[n]} cat."}) + "\n" for n in range(5)
    ))  # fmt: skip
    words = ("--model", f"answers:{answers}", "--data", data, "--out", out, "--judge", "rules", "--both-orders")
    assert run("llava_bench_coco", *words) == 0
    found = json.loads((out / "report.json").read_text())["runs"][0]
    assert found["metrics"]["all"] > 100  # it names what the captions name, the reference only the colour
    assert found["position_bias"] == {"points": 0.0, "half_width": 0.0, "answers": 5}
    assert "Full data" in (out / "report.md").read_text()


# ------------------------------------------------------------------------------------------------ usage


def test_absent_data_is_exit_3_and_says_what_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pope", "--model", "m", "--data", tmp_path / "none", "--out", tmp_path / "out") == 3
    said = capsys.readouterr().err
    assert "coco_pope_random.json" in said
    assert "docs/data.md" in said


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("nothing", "--model", "m"), 2, "no task named"),
        (("drawn", "--model", "none"), 2, "no model folder"),
        (("drawn", "--model", "openai:m@ftp://x"), 2, "NAME@URL"),
        (("drawn", "--model", "answers:none.jsonl"), 3, "none.jsonl"),
    ],
)
def test_mistakes_are_sentences(
    words: tuple[str, ...], code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--limit", 1, "--out", tmp_path / "out") == code
    assert told in capsys.readouterr().err


def test_a_judged_task_needs_a_judge_and_an_out_holds_one_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("llava_bench", "gqa"):
        BENCHMARKS[name](data)
    answers = tmp_path / "a.jsonl"
    answers.write_text("".join(json.dumps({"question_id": n, "text": "red"}) + "\n" for n in range(5)))
    words = ("--model", f"answers:{answers}", "--data", data, "--out", tmp_path / "out")
    assert run("llava_bench", *words) == 2
    assert "--judge" in capsys.readouterr().err
    assert run("gqa", *words) == 0
    assert run("llava_bench", *words, "--judge", "rules") == 2
    assert "holds runs of gqa" in capsys.readouterr().err


def test_names_of_runs() -> None:
    specs = ("runs/demo/model", "org/llava-7b", "openai:gpt-4@http://x/v1", "answers:a/b.jsonl")
    assert [slug(spec) for spec in specs] == ["demo-model", "llava-7b", "openai-gpt-4", "b"]
