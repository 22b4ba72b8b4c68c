"""What a run does beyond asking: money, retries, shards, joining, batches, benchmarks, dry runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from seetell.ask import batch
from seetell.ask.chat import Completion, Message
from seetell.ask.client import Endpoint
from seetell.ask.journal import read_journal
from seetell.ask.price import Price, price_of
from seetell.console import BadInput, ServiceError, UsageError
from seetell.generate.bench import write_bench
from seetell.generate.prompts import PromptSet
from seetell.generate.run import Run, Settings, reparse
from seetell.sources.conversations import read_conversations
from seetell.sources.scenes import read_scenes, write_scenes
from seetell.types import Box, Image, Scene
from seetell.verbs import generate as verb
from tests.mock_teacher import well

PROMPTS = PromptSet.load()


class Teacher:
    """Answers at once; what it says can be changed, and it counts."""

    name = "fake"

    def __init__(self, bad: int = 0, tokens: tuple[int, int] = (1000, 100)) -> None:
        self.bad, self.tokens, self.asked = bad, tokens, 0

    async def complete(
        self, messages: Sequence[Message], *, temperature: float = 0.0, max_tokens: int | None = None
    ) -> Completion:
        del temperature, max_tokens
        self.asked += 1
        if self.asked <= self.bad:
            return Completion("", "stop", 1000, 0)
        text = well([{"role": message.role, "content": message.content} for message in messages])
        return Completion(text, "stop", *self.tokens)


def scenes(count: int = 4) -> list[Scene]:
    boxes = (Box("dog", 0.1, 0.2, 0.3, 0.4), Box("dog", 0.5, 0.2, 0.9, 0.4, crowd=True))
    return [
        Scene(f"{n:03}", (f"A dog on hill {n}.", "A brown dog."), boxes, Image(f"{n:03}.jpg"), 64, 48)
        for n in range(count)
    ]


def run(out: Path, teacher: Any, **settings: Any) -> Run:
    return Run(out, teacher, PROMPTS, Settings(**settings))


def test_run_again_nothing_is_asked_and_every_file_is_the_same(tmp_path: Path) -> None:
    teacher = Teacher()
    report, stopped = run(tmp_path, teacher).go(scenes())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert not stopped
    assert (report["asked"], sum(report["kept"].values()), teacher.asked) == (12, 12, 12)
    run(tmp_path, teacher).go(scenes())
    assert teacher.asked == 12
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert reparse(tmp_path) == report


def test_a_wider_run_adds_to_the_folder_and_a_narrower_one_takes_nothing_away(tmp_path: Path) -> None:
    teacher = Teacher()
    run(tmp_path, teacher, limit=2, shares={"conversation": 1.0}).go(scenes())
    assert teacher.asked == 2
    report, _ = run(tmp_path, teacher).go(scenes())
    assert (teacher.asked, report["asked"]) == (12, 12)
    report, _ = run(tmp_path, teacher, limit=1).go(scenes())
    assert (teacher.asked, report["asked"], report["calls"]["answered"]) == (12, 12, 12)


def test_going_back_to_earlier_settings_brings_the_earlier_answers_back(tmp_path: Path) -> None:
    teacher = Teacher()
    first, _ = run(tmp_path, teacher, max_tokens=100).go(scenes())
    before = (tmp_path / "conversations.json").read_bytes()
    run(tmp_path, teacher, max_tokens=200, shares={"detail": 1.0}).go(scenes(2))
    assert teacher.asked == 14
    report, stopped = run(tmp_path, teacher, max_tokens=100).go(scenes())
    assert not stopped
    assert teacher.asked == 14
    assert report["kept"] == first["kept"]
    assert (tmp_path / "conversations.json").read_bytes() != before  # the two are last now
    rows = (tmp_path / "items.jsonl").read_text().count("\n")
    run(tmp_path, teacher, max_tokens=100).go(scenes())
    assert (tmp_path / "items.jsonl").read_text().count("\n") == rows


def test_rejected_replies_are_kept_and_asked_for_again_only_on_request(tmp_path: Path) -> None:
    teacher = Teacher(bad=5)
    report, _ = run(tmp_path, teacher).go(scenes())
    assert report["rejected"] == {"empty": 5}
    run(tmp_path, teacher).go(scenes())
    assert teacher.asked == 12
    report, _ = run(tmp_path, teacher, retry_rejected=True).go(scenes())
    assert teacher.asked == 17
    assert report["rejected"] == {}
    assert report["asked"] == sum(report["kept"].values()) == 12
    again = [row for row in read_journal(tmp_path / "journal.jsonl") if row["event"] == "answer" and "of" in row]
    assert len(again) == 5
    assert all(row["again"] == 1 and row["key"] != row["of"] for row in again)


def test_pictures_with_the_same_words_are_requests_of_their_own(tmp_path: Path) -> None:
    twins = [Scene(f"{n}", ("A dog.",), (Box("dog", 0, 0, 1, 1),), Image(f"{n}.jpg")) for n in range(3)]
    teacher = Teacher()
    report, _ = run(tmp_path, teacher).go(twins)
    assert (teacher.asked, report["asked"]) == (9, 9)
    run(tmp_path, teacher).go(twins)
    assert teacher.asked == 9


def test_money_is_counted_and_the_cap_is_kept(tmp_path: Path) -> None:
    price = Price(1.0, 10.0)  # 1,000 and 100 tokens: $0.002 a reply
    settings = {"price": price, "max_cost_usd": 0.05, "concurrency": 2}
    report, stopped = run(tmp_path, Teacher(), **settings).go(scenes(20))
    assert "--max-cost" in stopped
    assert f"${report['cost_usd']:.4f} are spent" in stopped
    assert 0.046 <= report["cost_usd"] <= 0.05
    assert report["pending"] == 60 - report["calls"]["answered"]
    report, stopped = run(tmp_path / "many", Teacher(), **settings | {"concurrency": 64}).go(scenes(20))
    assert 0.046 <= report["cost_usd"] <= 0.05  # what is under way comes home before the run ends
    assert price_of("gpt-4o", None) is not None
    assert price_of("mine", "1,2") == Price(1, 2)
    assert price_of("mine", None) is None
    with pytest.raises(UsageError, match="--price"):
        price_of("mine", "1")


def test_money_is_minded_though_the_service_counts_no_tokens(tmp_path: Path) -> None:
    teacher = Teacher(tokens=(0, 0))
    settings = {"price": Price(1000.0, 1000.0), "max_cost_usd": 10.0, "concurrency": 4}
    report, stopped = run(tmp_path, teacher, **settings).go(scenes(20))
    assert "--max-cost" in stopped
    assert 0 < teacher.asked < 60
    assert 5.0 <= report["cost_usd"] <= 10.0
    answers = [row for row in read_journal(tmp_path / "journal.jsonl") if row["event"] == "answer"]
    assert all(row["estimated"] and row["prompt_tokens"] > 100 and row["completion_tokens"] > 10 for row in answers)


def test_the_mix_has_the_papers_make_up(tmp_path: Path) -> None:
    shares = verb.shares_of("", "conversation=58,detail=23,complex=77")
    report, _ = run(tmp_path, Teacher(), shares=shares).go(scenes(77))
    assert report["kept"] == {"conversation": 58, "detail": 23, "complex": 77}


def test_shards_cover_everything_once_and_join_into_one_folder(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "whole", Teacher()).go(scenes(7))
    parts = [tmp_path / f"part{n}" for n in (1, 2, 3)]
    for n, part in enumerate(parts, start=1):
        run(part, Teacher(), shard=verb.shard_of(f"{n}/3")).go(scenes(7))
    for _ in range(2):
        assert verb.join(parts, tmp_path / "joined") == whole
    rows = sorted(path.read_text() for path in (tmp_path / "whole" / "conversations.json",))
    joined = json.loads((tmp_path / "joined" / "conversations.json").read_text())
    assert sorted(map(json.dumps, joined)) == sorted(map(json.dumps, json.loads(rows[0])))
    with pytest.raises(UsageError, match="run of its own"):
        verb.join(parts, tmp_path / "whole")
    for text in ("3/2", "x", "1/0", "-1/2"):
        with pytest.raises(UsageError, match="shard"):
            verb.shard_of(text)


def test_a_benchmark_has_three_questions_a_picture_though_replies_fall_out(tmp_path: Path) -> None:
    write_bench(run(tmp_path, Teacher(bad=4)), scenes(12), 5)
    rows = {
        name: [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("questions", "reference_answers", "caps_boxes")
    }
    assert [row["question_id"] for row in rows["questions"]] == list(range(15))
    assert [row["category"] for row in rows["questions"][:3]] == ["conv", "detail", "complex"]
    assert [set(row) for row in rows["questions"][:1]] == [{"question_id", "image", "text", "category"}]
    assert [row["question_id"] for row in rows["reference_answers"]] == list(range(15))
    assert len({row["image"] for row in rows["questions"]}) == len(rows["caps_boxes"]) == 5
    assert rows["caps_boxes"][0]["instances"][0] == {"category": "dog", "bbox": [0.1, 0.2, 0.3, 0.4]}
    with pytest.raises(BadInput, match="there are 12"):
        write_bench(run(tmp_path / "b", Teacher()), scenes(12), 50)


def test_scenes_in_both_layouts_read_alike(tmp_path: Path) -> None:
    assert write_scenes(tmp_path / "own.jsonl", scenes(2), "") == 2
    assert [scene.boxes for scene in read_scenes(tmp_path / "own.jsonl")] == [scene.boxes for scene in scenes(2)]
    row = {"id": "1", "image": "a.jpg", "captions": ["x"], "instances": [{"category": "dog", "bbox": [0, 0, 0.5, 1]}]}
    (tmp_path / "theirs.jsonl").write_text(json.dumps(row) + "\n")
    (scene,) = read_scenes(tmp_path / "theirs.jsonl", tmp_path)
    assert scene == Scene("1", ("x",), (Box("dog", 0, 0, 0.5, 1),), Image(str(tmp_path / "a.jpg")))
    (tmp_path / "bad.jsonl").write_text(json.dumps({**row, "instances": [{"category": "dog", "bbox": [1, 2, 3, 4]}]}))
    with pytest.raises(BadInput, match="row 1"):
        list(read_scenes(tmp_path / "bad.jsonl"))


def test_a_dry_run_asks_nobody_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path / "s.jsonl", scenes(), tmp_path)
    source = verb.Source(scenes=str(tmp_path / "s.jsonl"))
    settings = Settings(price=Price(1, 1))
    verb.generate(source, tmp_path / "out", verb.Service("rules"), settings, dry_run=True)
    said = capsys.readouterr().out
    assert "items: 12" in said
    assert "cost: about $" in said
    assert not (tmp_path / "out").exists()


def test_rules_and_canned_replies_are_teachers(tmp_path: Path) -> None:
    write_scenes(tmp_path / "s.jsonl", scenes(), tmp_path)
    source = verb.Source(scenes=str(tmp_path / "s.jsonl"))
    report = verb.generate(source, tmp_path / "rules", verb.Service("rules"), Settings())
    assert sum(report["kept"].values()) == 12
    (tmp_path / "canned.jsonl").write_text(json.dumps({"text": "Question:\nWhat?\n===\nAnswer:\nA dog.\n==="}) + "\n")
    settings = Settings(shares={"complex": 1.0})
    report = verb.generate(source, tmp_path / "canned", verb.Service(f"replay:{tmp_path / 'canned.jsonl'}"), settings)
    assert report["kept"] == {"complex": 4}
    rows = list(read_conversations(tmp_path / "canned" / "conversations.json"))
    assert len(rows) == 4
    with pytest.raises(UsageError, match="rules"):
        verb.make_teacher(verb.Service("rule"), 1)


def test_batch_files_are_written_handed_in_and_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setattr(batch, "MAX_REQUESTS", 5)
    provider = Provider()
    monkeypatch.setattr(Endpoint, "open", lambda self: provider)  # noqa: ARG005
    write_scenes(tmp_path / "s.jsonl", scenes(), tmp_path)
    source, out = verb.Source(scenes=str(tmp_path / "s.jsonl")), tmp_path / "out"

    def step(name: str) -> dict[str, Any]:
        return verb.generate(source, out, verb.Service(model="mock"), Settings(), batch=name)

    step("write")
    assert [path.name for path in sorted(out.glob("batch-*.jsonl"))] == [f"batch-00{n}.jsonl" for n in (1, 2, 3)]
    step("submit")
    step("submit")
    assert len(provider.handed_in) == 3
    with pytest.raises(UsageError, match="collect"):
        step("write")
    with pytest.raises(ServiceError, match="3 batches are not finished"):
        step("collect")
    provider.done = True
    with pytest.raises(ServiceError, match="1 failed, 0 pending"):  # the provider lost one
        step("collect")
    assert sum(1 for row in read_journal(out / "journal.jsonl") if row["event"] == "answer") == 11
    provider.lose = False
    step("write")
    step("submit")
    report = step("collect")
    assert sum(report["kept"].values()) == 12
    assert report["tokens"]["prompt"] > 1200  # the provider counts none


def test_batches_ask_rejected_items_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    provider = Provider()
    provider.done, provider.lose, provider.say = True, False, lambda _: "I'm sorry, no."
    monkeypatch.setattr(Endpoint, "open", lambda self: provider)  # noqa: ARG005
    write_scenes(tmp_path / "s.jsonl", scenes(), tmp_path)
    source, out = verb.Source(scenes=str(tmp_path / "s.jsonl")), tmp_path / "out"

    def steps(**settings: Any) -> dict[str, Any]:
        for name in ("write", "submit", "collect"):
            report = verb.generate(source, out, verb.Service(model="mock"), Settings(**settings), batch=name)
        return report

    assert steps()["rejected"] == {"refusal": 12}
    provider.say = well
    assert sum(steps(retry_rejected=True)["kept"].values()) == 12
    again = [row for row in read_journal(out / "journal.jsonl") if row["event"] == "answer"][12:]
    assert all(row["again"] == 1 and row["of"] != row["key"] for row in again)


class Provider:
    """As much of the SDK's client as batches use."""

    def __init__(self) -> None:
        self.handed_in: dict[str, str] = {}
        self.done, self.lose, self.say = False, True, well
        self.files = self.batches = self

    async def create(self, **asked: Any) -> Any:
        if "file" in asked:
            self.handed_in[f"f{len(self.handed_in)}"] = asked["file"][1].read().decode()
            return _Made(id=f"f{len(self.handed_in) - 1}")
        return _Made(id="b" + asked["input_file_id"])

    async def retrieve(self, id: str) -> Any:
        return _Made(status="completed" if self.done else "in_progress", output_file_id=id[1:], error_file_id=None)

    async def content(self, id: str) -> Any:
        rows: list[str] = []
        for number, line in enumerate(self.handed_in[id].splitlines()):
            asked = json.loads(line)
            body = {"choices": [{"message": {"content": self.say(asked["body"]["messages"])}, "finish_reason": "stop"}]}
            fine = not (self.lose and number == 0 and id == "f0")
            response = {"status_code": 200 if fine else 500, "body": body if fine else {}}
            rows.append(json.dumps({"custom_id": asked["custom_id"], "response": response}))
        return _Made(text="\n".join(rows))

    async def close(self) -> None:
        pass


class _Made:
    def __init__(self, **facts: Any) -> None:
        self.__dict__.update(facts)
