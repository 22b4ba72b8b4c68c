"""The run against a real server that behaves badly, killed and started again, with every item accounted for."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from seetell.ask.journal import read_journal
from seetell.sources.conversations import read_conversations
from seetell.sources.scenes import write_scenes
from seetell.types import Box, Conversation, Image, Scene
from tests.mock_teacher import Behaviour, Teacher, evenly, serving

KEY = "sk-canary-0123456789"
THINGS = ("dog", "cat", "bus", "horse", "kite", "bird", "boat", "bear")


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Twenty pictures, of which one has no boxes."""
    rng = random.Random(0)
    made: list[Scene] = []
    for number in range(20):
        things = rng.sample(THINGS, 3)
        captions = tuple(f"A {thing} beside a wall, seen on day {number}." for thing in things)
        boxes = tuple(Box(thing, 0.1, 0.2, 0.3, 0.4) for thing in things) if number else ()
        made.append(Scene(f"{number:03}", captions, boxes, Image(f"{number:03}.png"), 64, 64))
    write_scenes(tmp_path / "scenes.jsonl", made)
    return tmp_path / "scenes.jsonl"


def command(scenes: Path, out: Path, url: str, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "seetell", "generate", "--scenes", str(scenes), "--out", str(out)),
        *("--base-url", url, "--model", "mock", "--timeout", "3", *more),
    ]


def run(scenes: Path, out: Path, url: str, *more: str) -> subprocess.CompletedProcess[str]:
    line = command(scenes, out, url, *more)
    return subprocess.run(line, capture_output=True, text=True, env={**os.environ, "OPENAI_API_KEY": KEY}, timeout=100)


def report_of(out: Path) -> dict[str, Any]:
    report = json.loads((out / "report.json").read_bytes())
    assert list(report) == [
        "asked",
        "kept",
        "rejected",
        "failed",
        "pending",
        "skipped",
        "by_kind",
        "calls",
        "tokens",
        "cost_usd",
    ]
    kept, rejected, failed = (sum(report[name].values()) for name in ("kept", "rejected", "failed"))
    assert report["asked"] == kept + rejected + failed + report["pending"]
    for kind, counts in report["by_kind"].items():
        assert counts["asked"] == sum(counts[state] for state in ("kept", "rejected", "failed", "pending"))
        assert counts["kept"] == report["kept"][kind]
    return report


def conversations(out: Path) -> list[Conversation]:
    rows = list(read_conversations(out / "conversations.json"))
    assert all(isinstance(row, Conversation) for row in rows)
    return [row for row in rows if isinstance(row, Conversation)]


def test_thirty_per_cent_faults_and_every_item_accounted_for(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(Behaviour(faults=evenly(0.3), latency_s=0.01, timeout_s=0.3)) as teacher:
        ended = run(scenes, out, teacher.url)
        counts = teacher.counts
    assert ended.returncode == 0, ended.stderr
    report = report_of(out)
    assert report["asked"] == 20 + 19 + 19
    assert report["skipped"] == {"no boxes": 2}
    assert report["calls"] == {"sent": counts["received"], "answered": 58}
    assert counts["received"] <= 1.6 * 58
    assert len(conversations(out)) == sum(report["kept"].values())
    rejected = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert Counter(row["reason"] for row in rejected) == report["rejected"]
    assert (out / "report.html").stat().st_size > 1000
    assert KEY not in ended.stdout + ended.stderr
    assert not any(KEY.encode() in path.read_bytes() for path in out.iterdir())
    assert any(KEY in body["headers"] for body in teacher.bodies)  # it did go to the endpoint


def killed_after(process: subprocess.Popen[bytes], teacher: Teacher, requests: int) -> bool:
    """Kills once the teacher has received so many; false when the run ended before."""
    while process.poll() is None:
        if teacher.counts["received"] >= requests:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.001)
    return False


def test_killed_and_run_again_no_answer_is_lost_or_asked_for_twice(scenes: Path, tmp_path: Path) -> None:
    out, most = tmp_path / "out", 6
    with serving(Behaviour(latency_s=0.05)) as teacher:
        line = command(scenes, out, teacher.url, "--concurrency", str(most))
        kills = 0
        for requests in (7, 29):
            process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            kills += killed_after(process, teacher, requests + most * kills)
            before = Counter(row["key"] for row in read_journal(out / "journal.jsonl") if row["event"] == "answer")
            assert max(before.values()) == 1
        ended = run(scenes, out, teacher.url, "--concurrency", str(most))
        assert ended.returncode == 0, ended.stderr
        assert kills == 2
        received = teacher.counts["received"]
    answers = Counter(row["key"] for row in read_journal(out / "journal.jsonl") if row["event"] == "answer")
    assert len(answers) == 58
    assert max(answers.values()) == 1
    assert received <= 58 + kills * most
    report = report_of(out)
    assert sum(report["kept"].values()) == 58


def test_a_wrong_key_stops_at_once_and_the_report_says_what_is_pending(scenes: Path, tmp_path: Path) -> None:
    with serving(Behaviour(faults={"status 500": 1.0})) as teacher:
        ended = run(scenes, tmp_path / "sick", teacher.url, "--concurrency", "8")
        assert 20 <= teacher.counts["received"] <= 20 + 8
    assert ended.returncode == 4
    assert "sick" in ended.stderr
    assert "--scenes" in ended.stderr  # the line to run
    assert report_of(tmp_path / "sick")["pending"] == 58


def test_interrupted_it_says_what_is_kept_and_the_same_line_resumes(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(Behaviour(latency_s=0.1)) as teacher:
        line = command(scenes, out, teacher.url, "--concurrency", "4")
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while teacher.answered.total() < 8 and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130
        report = report_of(out)
        kept = sum(report["kept"].values())
        assert kept >= 4
        assert f"{kept} kept in {out}, and {report['pending']} are pending; to resume, run: " in told
        assert "Traceback" not in told
        resumed = shlex.split(told.split("to resume, run: ")[1].strip())
        assert resumed[1:] == line[3:]
        ended = run(scenes, out, teacher.url, "--concurrency", "4")
    assert ended.returncode == 0, ended.stderr
    answers = Counter(row["key"] for row in read_journal(out / "journal.jsonl") if row["event"] == "answer")
    assert (len(answers), max(answers.values())) == (58, 1)


def test_a_dead_endpoint_and_a_missing_folder_of_pictures_are_told_at_once(scenes: Path, tmp_path: Path) -> None:
    before = time.monotonic()
    ended = run(scenes, tmp_path / "out", "http://127.0.0.1:9/v1")
    assert time.monotonic() - before < 5 + 10  # of which 10 are for the start of a process on a busy machine
    assert ended.returncode == 4
    assert "There is no server at http://127.0.0.1:9/v1" in ended.stderr
    assert sum(row["event"] == "sent" for row in read_journal(tmp_path / "out" / "journal.jsonl")) <= 8
    ended = run(scenes, tmp_path / "other", "http://127.0.0.1:9/v1", "--images", str(tmp_path / "mistyped"))
    assert ended.returncode == 3
    assert f"--images {tmp_path / 'mistyped'} is no folder" in ended.stderr
    assert not (tmp_path / "other").exists()
