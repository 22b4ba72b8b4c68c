"""The journal: what is in it stays, whatever kills the writer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from seetell.ask.chat import Completion, Message
from seetell.ask.journal import Journal, read_journal
from seetell.ask.request import Request
from seetell.errors import BadInput, UsageError

KEY, OTHER = "0" * 32, "f" * 32


def request(text: str = "hi", model: str = "m", **kwargs: object) -> Request:
    return Request(model, (Message("system", "s"), Message("user", text)), **kwargs)  # type: ignore[arg-type]


def test_the_key_is_the_content() -> None:
    assert request().key == request().key
    others = [request("ho"), request(model="n"), request(temperature=1.0), request(max_tokens=3), request(again="1")]
    assert len({one.key for one in (request(), *others)}) == 6
    assert len(request("\ud800 half a pair").key) == 32


def test_rows_are_there_at_once_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    said = Completion("é \ud800 \n\u2028 words", "length", 10, 20, "m")
    with Journal(path) as journal:
        journal.sent(KEY)
        journal.answered(KEY, said, seconds=1.5)
        journal.failed(OTHER, "timeout")
        rows = list(read_journal(path))  # before it is closed or flushed
        assert [row["event"] for row in rows] == ["sent", "answer", "failed"]
        assert journal.answer(KEY) == said
    with Journal(path) as journal:
        assert KEY in journal
        assert OTHER not in journal
        assert journal.answer(KEY) == said
        assert journal.failure(OTHER) == "timeout"
        assert (journal.tally.sent, journal.tally.answered) == (1, 1)
        assert (journal.tally.prompt_tokens, journal.tally.completion_tokens) == (10, 20)
        journal.answered(OTHER, said)
        assert journal.failure(OTHER) is None


def test_every_cut_of_the_file_loses_at_most_the_torn_row(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for number in range(5):
            journal.answered(f"{number:032x}", Completion(f"text {number}"))
    whole = path.read_bytes()
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        with Journal(path) as journal:
            rows = whole[:cut].count(b"\n")
            assert rows <= len(journal) <= rows + 1  # a row whose newline alone is missing counts
            journal.answered(OTHER, Completion("new"))
        with Journal(path) as journal:
            answer = journal.answer(OTHER)
            assert answer is not None
            assert answer.text == "new"


def test_an_answer_that_was_asked_for_again_stands_for_the_first(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.answered(KEY, Completion("bad"))
        assert journal.times_asked_again(KEY) == 0
        journal.answered(OTHER, Completion("better"), of=KEY, again=1)
        answer = journal.answer(KEY)
        assert answer is not None
        assert answer.text == "better"
        assert journal.times_asked_again(KEY) == 1


def test_two_runs_cannot_write_one_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl"), pytest.raises(UsageError, match="Another run"):
        Journal(tmp_path / "journal.jsonl")


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for row in (
        "hello",
        '{"event": "failed", "key": "00"}',
        '{"event": "answer", "key": "00", "text": "a", "prompt_tokens": null}',
        '{"event": "answer", "key": "00", "text": "a", "of": 7}',
        '{"event": "answer", "key": "00", "text": null}',
        '{"event": "heard", "key": "00", "text": "a"}',
    ):
        path.write_text(f'{{"event": "sent", "key": "00"}}\n{row}\n{{"event": "sent", "key": "00"}}\n')
        with pytest.raises(BadInput, match="line 2"):
            Journal(path)


def test_a_journal_is_read_while_another_run_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as writer:
        writer.answered(KEY, Completion("hi", prompt_tokens=3, completion_tokens=1, estimated=True))
        with path.open("ab") as file:
            file.write(b'{"event": "ans')
        before = path.read_bytes()
        with Journal(path, writing=False) as reader:
            assert KEY in reader
            assert reader.answer(KEY) == writer.answer(KEY)
        assert path.read_bytes() == before


def test_the_disk_is_synced_beside_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seetell.ask.journal.SYNC_EVERY_S", 0.0)
    synced: list[int] = []
    monkeypatch.setattr("seetell.ask.journal.os.fsync", synced.append)

    async def work(journal: Journal) -> None:
        sync = asyncio.create_task(journal.keep_on_disk())
        journal.sent(KEY)
        while not synced:
            await asyncio.sleep(0.001)
        sync.cancel()

    with Journal(tmp_path / "journal.jsonl") as journal:
        asyncio.run(work(journal))
    assert synced
