"""A provider's batch interface: files are written, handed in and collected, each answer once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seetell.ask import batch
from seetell.ask.client import Endpoint
from seetell.ask.journal import read_journal
from seetell.errors import ServiceError, UsageError
from seetell.generate.run import Settings
from seetell.sources.scenes import write_scenes
from seetell.verbs import generate as verb
from tests.mock_teacher import Messages, well
from tests.tiny_teacher import scenes


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
    with pytest.raises(
        ServiceError, match="1 failed: status 500; 0 pending; to resume: --batch write"
    ):  # the provider lost one
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
    provider.done, provider.lose, provider.say = True, False, lambda messages: "I'm sorry, no."  # noqa: ARG005
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


def test_a_reply_with_other_ends_of_lines_is_collected_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    provider = Provider()
    provider.done, provider.lose = True, False
    provider.say = lambda messages: well(messages).replace(" ", "\u2028", 1)
    monkeypatch.setattr(Endpoint, "open", lambda self: provider)  # noqa: ARG005
    write_scenes(tmp_path / "s.jsonl", scenes(), tmp_path)
    source, out = verb.Source(scenes=str(tmp_path / "s.jsonl")), tmp_path / "out"
    for name in ("write", "submit", "collect"):
        verb.generate(source, out, verb.Service(model="mock"), Settings(), batch=name)
    answers = [row["text"] for row in read_journal(out / "journal.jsonl") if row["event"] == "answer"]
    assert len(answers) == 12
    assert all("\u2028" in text for text in answers)


def test_what_a_provider_refuses_is_told_and_what_is_too_long_for_it_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    provider = Provider()
    provider.done, provider.lose = True, False
    provider.refusals = [
        {"message": "Unsupported parameter: 'max_tokens'.", "code": "unsupported_parameter"},
        {"message": "The maximum context length is 4096 tokens.", "code": "context_length_exceeded"},
    ]
    monkeypatch.setattr(Endpoint, "open", lambda self: provider)  # noqa: ARG005
    write_scenes(tmp_path / "s.jsonl", scenes(), tmp_path)
    source, out = verb.Source(scenes=str(tmp_path / "s.jsonl")), tmp_path / "out"
    for name in ("write", "submit"):
        verb.generate(source, out, verb.Service(model="mock"), Settings(), batch=name)
    with pytest.raises(ServiceError, match="1 failed: status 400: Unsupported parameter: 'max_tokens'; 0 pending"):
        verb.generate(source, out, verb.Service(model="mock"), Settings(), batch="collect")
    assert json.loads((out / "report.json").read_text())["rejected"] == {"too long for the service": 1}


def test_a_result_of_someone_elses_is_refused_and_nothing_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    provider = Provider()
    provider.done, provider.lose, provider.strange = True, False, ['{"custom_id": "request-1"}', '{"response": {}}']
    monkeypatch.setattr(Endpoint, "open", lambda self: provider)  # noqa: ARG005
    write_scenes(tmp_path / "s.jsonl", scenes(), tmp_path)
    source, out = verb.Source(scenes=str(tmp_path / "s.jsonl")), tmp_path / "out"
    for name in ("write", "submit"):
        verb.generate(source, out, verb.Service(model="mock"), Settings(), batch=name)
    for _ in range(2):
        with pytest.raises(ServiceError, match="names no request of ours"):
            verb.generate(source, out, verb.Service(model="mock"), Settings(), batch="collect")
        provider.strange = provider.strange[1:]
    assert not [row for row in read_journal(out / "journal.jsonl") if row["event"] == "answer"]


class Provider:
    """As much of the SDK's client as batches use."""

    def __init__(self) -> None:
        self.handed_in: dict[str, str] = {}
        self.done, self.lose = False, True
        self.refusals: list[dict[str, Any]] = []  # the errors that the first requests get, with status 400
        self.strange: list[str] = []  # rows beside those of what was handed in
        self.say: Callable[[Messages], str] = well
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
            if number < len(self.refusals):
                response = {"status_code": 400, "body": {"error": self.refusals[number]}}
            rows.append(json.dumps({"custom_id": asked["custom_id"], "response": response}, ensure_ascii=False))
        return _Made(text="\n".join([*rows, *self.strange]))

    async def close(self) -> None:
        pass


class _Made:
    def __init__(self, **facts: Any) -> None:
        self.__dict__.update(facts)
