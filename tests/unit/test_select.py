"""Concept balance: coverage kept, common things thinned out, always the same subset, and killed readings resumed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from seetell.errors import BadInput, UsageError
from seetell.generate import select as selecting
from seetell.generate.phrases import make_chunker, noun_phrases, singular
from seetell.generate.select import choose, hash_of, read_phrases
from seetell.sources.conversations import read_conversations
from seetell.types import Conversation
from seetell.verbs.select import select

CC3M = Path(__file__).parents[2].parent / "shared/data/captions/cc3m_validation.tsv"


def test_phrases_of_plain_captions() -> None:
    assert noun_phrases("A young woman seated on the beach with two red umbrellas.") == [
        "young woman",
        "beach",
        "red umbrella",
    ]
    assert noun_phrases("the dogs and the dog") == ["dog"]
    assert noun_phrases("") == noun_phrases("of the and ... 12 !") == []
    assert singular("buses") == "bus"
    assert singular("ladies") == "lady"
    assert singular("women") == "woman"
    assert singular("glass") == "glass"


def chosen(sets: list[list[str]], **settings: int) -> selecting.Choice:
    hashes = np.array([hash_of(phrase) for phrases in sets for phrase in phrases], np.uint64)
    return choose(hashes, np.array([len(phrases) for phrases in sets], np.uint8), **settings)


def test_rare_phrases_keep_all_and_common_ones_are_thinned() -> None:
    sets = [["sky"]] * 300 + [["sky", "cat"]] * 5 + [["comet"]] * 2 + [[]]
    choice = chosen(sets)
    assert choice.taken[300:305].all()
    assert not choice.taken[305:].any()
    assert 95 <= choice.taken[:300].sum() <= 100
    assert list(choice.before) == [305, 5, 2]
    assert list(choice.after) == [int(choice.taken[:305].sum()), 5, 0]
    assert np.array_equal(chosen(sets).taken, choice.taken)
    assert not np.array_equal(chosen(sets, seed=1).taken, choice.taken)


def test_a_reading_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selecting, "BLOCK", 10)
    captions = [f"a {thing} near the {place}" for thing in ("dog", "cat", "bus") for place in ("wall", "sea")] * 20
    chunker, _ = make_chunker("built-in")
    whole = read_phrases(captions, chunker, tmp_path, {"of": 1}, lambda _: None)
    for cut in (0, 5, 83, 700):
        for name in (selecting.PHRASES, selecting.LENGTHS):
            path = tmp_path / name
            path.write_bytes(path.read_bytes()[: cut * (8 if name == selecting.PHRASES else 1)])
        told: list[int] = []
        again = read_phrases(captions, chunker, tmp_path, {"of": 1}, told.append)
        assert told[0] == min(cut // 2, 120)
        assert sum(told) == len(captions)
        assert all(np.array_equal(one, other) for one, other in zip(whole, again, strict=True))
    told = []
    read_phrases(captions, chunker, tmp_path, {"of": 2}, told.append)  # another source: from the start
    assert told[0] == 0


def test_the_verb_writes_pairs_that_align_can_read(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text(
        "".join(f"a dog on a hill number {n % 4}\thttp://x/{n}\n" for n in range(40)) + "\n"
    )
    report = select(tmp_path / "c.tsv", tmp_path / "out", most=10, chunker="built-in")
    rows = list(read_conversations(tmp_path / "out" / "pairs.json"))
    assert len(rows) == report["taken"] > 0
    assert report["frequent_phrases_lost"] == 0
    first = rows[0]
    assert isinstance(first, Conversation)
    assert len(first.images) == 1
    assert first.turns[1].text.startswith("a dog on a hill")
    assert (tmp_path / "out" / "report.html").exists()
    assert select(tmp_path / "c.tsv", tmp_path / "out", most=10, chunker="built-in") == report
    assert not list((tmp_path / "out").glob(".*"))


def test_captions_without_their_picture_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    rows = [{"image": f"{n}.jpg", "caption": "a red kite in the sky"} for n in range(6)]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(BadInput, match="whose picture"):
        select(tmp_path / "c.jsonl", tmp_path / "out", images=tmp_path / "pics", chunker="built-in")
    for n in range(4):
        (tmp_path / "pics" / f"{n}.jpg").touch()
    report = select(tmp_path / "c.jsonl", tmp_path / "out", images=tmp_path / "pics", chunker="built-in")
    assert report["captions"] == 4
    assert report["skipped"] == {"its picture is missing": 2}


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("seetell.verbs.select.say", told.append)
    ask, answer = {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "a red kite"}
    more = {"from": "human", "value": "And?"}
    fine = {"image": "a.jpg", "conversations": [ask, answer]}
    rows = [fine, fine, fine, 5, {"image": "a.jpg", "conversations": [ask, answer, more, answer]}]
    rows.append({"image": "a.jpg", "conversations": [ask, {"from": "gpt", "value": " "}]})
    (tmp_path / "c.json").write_text(json.dumps(rows))
    report = select(tmp_path / "c.json", tmp_path / "out", chunker="built-in")
    assert report["captions"] == report["taken"] == 3
    skipped = {"no conversation": 1, "not one picture and one caption": 1, "empty turn": 1}
    assert report["skipped"] == json.loads((tmp_path / "out" / "report.json").read_text())["skipped"] == skipped
    assert "Skipped: 1 × no conversation, 1 × not one picture and one caption, 1 × empty turn." in told[-1]
    assert "skipped: no conversation" in (tmp_path / "out" / "report.html").read_text()
    (tmp_path / "c.tsv").write_text("a red kite\n\thttp://x\na picture of <image>\n")
    report = select(tmp_path / "c.tsv", tmp_path / "out", chunker="built-in")
    assert report["skipped"] == {"empty caption": 1, "image tag in the words": 1}


@pytest.mark.parametrize("pattern", ["{", "{}{}", "{name}", "x.jpg", "", "{:s}", "{.x}"])
def test_a_pattern_that_gives_no_two_names_is_refused(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "c.tsv").write_text("a dog\n")
    with pytest.raises(UsageError, match="--image-name"):
        select(tmp_path / "c.tsv", tmp_path / "out", image_name=pattern)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(BadInput, match="none of"):
        select(tmp_path / "c.json", tmp_path / "out")
    with pytest.raises(UsageError, match="chunker"):
        make_chunker("built_in")


@pytest.mark.skipif(not CC3M.exists(), reason="the real CC3M captions are not here")
def test_no_frequent_phrase_of_real_captions_is_lost() -> None:
    captions = [line.split("\t")[0] for line in CC3M.read_text().splitlines()]
    sets = [noun_phrases(caption) for caption in captions]
    choice = chosen(sets)
    before = Counter(phrase for phrases in sets for phrase in phrases)
    after = Counter(phrase for phrases, taken in zip(sets, choice.taken, strict=True) if taken for phrase in phrases)
    for phrase, count in before.items():
        if count >= 3:
            assert after[phrase] >= min(count, 100), phrase
    assert int(choice.taken.sum()) < len(captions)
