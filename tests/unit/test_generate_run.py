"""What a run does beyond asking: money, retries, shards, joining, benchmarks, dry runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seetell.ask.journal import Journal, read_journal
from seetell.ask.price import Price, price_of
from seetell.errors import BadInput, DamagedFile, ServiceError, UsageError
from seetell.generate.bench import write_bench
from seetell.generate.run import Run, Settings, reparse
from seetell.sources.conversations import read_conversations
from seetell.sources.scenes import read_scenes, write_scenes
from seetell.types import Box, Image, Scene
from seetell.verbs import generate as verb
from tests.tiny_teacher import PROMPTS, Teacher, run, scenes


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
    mixed = run(tmp_path / "b", Teacher(), shares=verb.shares_of("", "conversation=1,detail=1,complex=2"))
    with pytest.raises(UsageError, match="all three kinds"):
        write_bench(mixed, scenes(12), 5)


def test_a_benchmark_keeps_to_limit_and_shard_and_says_when_it_is_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, stopped = write_bench(run(tmp_path / "a", Teacher(), limit=8, shard=(1, 2)), scenes(12), 3)
    rows = (tmp_path / "a" / "questions.jsonl").read_text().splitlines()
    assert not stopped
    assert len(rows) == 9
    assert {json.loads(row)["image"] for row in rows} <= {f"{number:03}.jpg" for number in (1, 3, 5, 7)}
    _, stopped = write_bench(run(tmp_path / "b", Teacher(bad=4)), scenes(4), 4)
    assert stopped == "Only 2 of 4 pictures have all three questions; 4 were asked about."
    write_scenes(tmp_path / "s.jsonl", scenes(12), tmp_path)
    source = verb.Source(scenes=str(tmp_path / "s.jsonl"))
    verb.generate(source, tmp_path / "c", verb.Service("rules"), Settings(limit=8), dry_run=True, bench=3)
    assert "items: 9 (" in capsys.readouterr().out


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
    assert "cost: about $0.00" in said  # the rules are free
    assert "time: seconds" in said
    assert not (tmp_path / "out").exists()


def test_a_dry_run_counts_what_a_retry_would_ask_also_beside_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(tmp_path / "s.jsonl", scenes(), tmp_path)
    source, out = verb.Source(scenes=str(tmp_path / "s.jsonl")), tmp_path / "out"
    service = verb.Service(f"replay:{tmp_path / 'canned.jsonl'}")
    (tmp_path / "canned.jsonl").write_text(json.dumps({"text": ""}) + "\n")
    verb.generate(source, out, service, Settings())
    with Journal(out / "journal.jsonl"):
        for retry, count in ((False, 0), (True, 12)):
            verb.generate(source, out, service, Settings(retry_rejected=retry), dry_run=True)
            assert f"requests: {count}\n" in capsys.readouterr().out


def test_a_source_that_proves_unfit_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    good, out = scenes(), tmp_path / "out"
    for unfit, words in (([], "no picture to ask about"), ([*good, good[0]], "'000'")):
        with pytest.raises(BadInput, match=words):
            Run(out, Teacher(), PROMPTS, Settings(), tmp_path / "mistyped").go(unfit)
        assert {path.name for path in out.iterdir() if path.stat().st_size} == set()
    report, _ = Run(out, Teacher(), PROMPTS, Settings(), tmp_path / "pictures").go(good)
    assert report["pending"] == 0
    Run(out, Teacher(), PROMPTS, Settings(), tmp_path / "x" / ".." / "pictures").go(good)  # the same by another name
    with pytest.raises(UsageError, match="was begun with pictures in"):
        Run(out, Teacher(), PROMPTS, Settings(), tmp_path / "others").go(good)


def test_torn_and_damaged_rows_and_missing_settings_are_told_in_a_sentence(tmp_path: Path) -> None:
    parts = [tmp_path / "a", tmp_path / "b"]
    for number, part in enumerate(parts):
        run(part, Teacher()).go(scenes(4)[2 * number : 2 * number + 2])
    rows = (parts[0] / "items.jsonl").read_bytes()
    (parts[0] / "items.jsonl").write_bytes(rows + b'{"id": "torn')
    assert reparse(parts[0])["asked"] == 6
    assert verb.join(parts, tmp_path / "joined")["asked"] == 12
    with pytest.raises(UsageError, match="named twice"):
        verb.join([parts[0], parts[0]], tmp_path / "twice")
    (parts[0] / "items.jsonl").write_bytes(rows + b'{"id": "7", "keys": {"poem": "00"}, "skipped": {}, "seed": 0}\n')
    with pytest.raises(DamagedFile, match="line 3"):
        reparse(parts[0])
    (parts[1] / "settings.json").unlink()
    with pytest.raises(BadInput, match=r"settings\.json"):
        reparse(parts[1])


def test_what_is_missing_is_told_by_reason_with_what_would_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = [*scenes(2), Scene("bare", ("A dog.",), (), Image("bare.jpg"))]
    report, stopped = run(tmp_path / "out", Teacher(), price=Price(1.0, 10.0), max_cost_usd=0.005).go(some)
    with pytest.raises(ServiceError, match="0 failed; 7 pending; to go on"):
        verb.conclude(tmp_path / "out", report, stopped, "to go on")
    assert "2 skipped: no boxes" in capsys.readouterr().err
    with pytest.raises(ServiceError, match="run the line that asks"):
        verb.parse_again(tmp_path / "out")
    with pytest.raises(ServiceError, match="run the shards' lines once more"):
        verb.join([tmp_path / "out"], tmp_path / "joined")


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    for mix in ("conversation=nan,detail=1", "conversation=inf,detail=1", "conversation=0", "conversation=1e999"):
        with pytest.raises(UsageError, match="above 0"):
            verb.shares_of("", mix)
    with pytest.raises(UsageError, match="leave out --kinds"):
        verb.shares_of("conversation", "detail=1")
    with pytest.raises(UsageError, match="instead of"):
        verb.Source(captions=tmp_path / "c.json", scenes="drawn:3").read()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        verb.generate(verb.Source(scenes="drawn:3"), tmp_path / "file", verb.Service("rules"), Settings())
    for row in ({"text": 5}, {"contains": "a"}, {"text": "a", "contains": None}):
        (tmp_path / "canned.jsonl").write_text(json.dumps(row) + "\n")
        with pytest.raises(BadInput, match="canned replies"):
            verb.make_teacher(verb.Service(f"replay:{tmp_path / 'canned.jsonl'}"), 1)


def test_rules_and_canned_replies_are_teachers(tmp_path: Path) -> None:
    write_scenes(tmp_path / "s.jsonl", scenes(), tmp_path)
    source = verb.Source(scenes=str(tmp_path / "s.jsonl"))
    drawn = verb.Source(scenes="drawn:4")
    report = verb.generate(drawn, tmp_path / "rules", verb.Service("rules"), Settings())
    assert sum(report["kept"].values()) == 12
    report = verb.generate(source, tmp_path / "photos", verb.Service("rules"), Settings())
    assert report["rejected"] == {"nothing certain to say": 12}  # a box of many dogs, a caption of one
    rows = [json.loads(line) for line in (tmp_path / "photos" / "rejected.jsonl").read_text().splitlines()]
    assert all(row["detail"].endswith(".") for row in rows)
    (tmp_path / "canned.jsonl").write_text(json.dumps({"text": "Question:\nWhat?\n===\nAnswer:\nA dog.\n==="}) + "\n")
    settings = Settings(shares={"complex": 1.0})
    report = verb.generate(source, tmp_path / "canned", verb.Service(f"replay:{tmp_path / 'canned.jsonl'}"), settings)
    assert report["kept"] == {"complex": 4}
    rows = list(read_conversations(tmp_path / "canned" / "conversations.json"))
    assert len(rows) == 4
    with pytest.raises(UsageError, match="rules"):
        verb.make_teacher(verb.Service("rule"), 1)
