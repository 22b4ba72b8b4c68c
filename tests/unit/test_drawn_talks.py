"""A talk about a drawn scene: what is asked before a question, what a description says, how rows are put together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seetell.evals import drawn, drawn_descriptions
from seetell.evals.drawn_talks import TURNS, talks, without_picture
from seetell.generate.prompts import Kind
from seetell.generate.write import write_conversations_of
from seetell.rules.teacher import RulesTeacher
from seetell.sources.drawn.layout import Layout, Thing
from seetell.sources.drawn.scenes import DrawnScene, drawn_scenes
from seetell.sources.drawn.smalltalk import HELD_OUT, NO_PICTURE, SMALL_TALK
from seetell.types import Conversation, Scene
from seetell.verbs.demo_data import draw, in_one, write

CAT = Thing("cat", "red", "small", 0.17, 0.17, 0.2, 0.2)
OTHER_CAT = Thing("cat", "red", "large", 0.83, 0.17, 0.4, 0.4)
BOAT = Thing("boat", "blue", "medium", 0.5, 0.83, 0.28, 0.28)


def scene(*things: Thing, hidden: tuple[Thing, ...] = ()) -> DrawnScene:
    return DrawnScene(Scene("s"), Layout("s", "sand", "night", "rain", things + hidden, 0), things)


@pytest.mark.parametrize(
    ("text", "statements", "true"),
    [
        ("A small red cat is at the top left.", 1, 1),
        ("At the top left there is a small red cat, and at the bottom there is a medium blue boat.", 2, 2),
        ("A large red cat is at the top left.", 1, 0),
        ("A red cat is at the bottom.", 1, 0),
        ("In all I count two cats and a boat.", 2, 2),
        ("Two boats are here.", 1, 0),
        ("This is a scene on the sand at night, in the rain.", 3, 3),
        ("This is a scene on the snow at night, in the rain.", 3, 2),
        ("The boat is below the red cat.", 1, 1),
        ("The blue boat is to the right of the blue boat.", 1, 0),
        ("Two of them are red.", 1, 1),
        ("The red cat in the upper right is the largest of them.", 1, 1),
        ("The boat is the largest of them.", 1, 0),
        ("How lovely.", 1, 0),
        ("", 0, 0),
    ],
)
def test_a_statement_is_true_only_if_all_that_it_says_is(text: str, statements: int, true: int) -> None:
    found = drawn_descriptions.read(text, "stop", scene(CAT, OTHER_CAT, BOAT))
    assert (found.statements, found.true) == (statements, true)


def test_things_count_as_named_where_kind_and_place_are_right() -> None:
    shown = scene(CAT, OTHER_CAT, BOAT)
    assert drawn_descriptions.read("A red cat is at the top left.", "stop", shown).named == 1
    assert drawn_descriptions.read("A green boat is at the bottom.", "stop", shown).named == 0


def test_a_thing_that_hardly_shows_may_be_named_and_need_not_be() -> None:
    shown = scene(CAT, hidden=(OTHER_CAT,))
    for count in ("a red cat", "two cats", "one cat"):
        assert drawn_descriptions.read(f"The picture shows {count}.", "stop", shown).true == 1
    assert drawn_descriptions.read("The picture shows three cats.", "stop", shown).true == 0


def test_repetition_and_an_ending_cut_off_are_seen() -> None:
    shown = scene(CAT, BOAT)
    once = "A red cat is at the top left."
    assert not drawn_descriptions.read(once, "stop", shown).repeated
    assert drawn_descriptions.read(f"{once} {once}", "stop", shown).repeated
    assert drawn_descriptions.read(f"{once} At the top left there is a red cat.", "stop", shown).repeated
    assert drawn_descriptions.read(once, "length", shown).cut_off
    assert drawn_descriptions.read("A red cat is", "stop", shown).cut_off


def test_every_description_of_the_teacher_is_wholly_true_and_names_everything() -> None:
    for each in drawn_scenes("held-out", 60):
        (written,) = write_conversations_of([each.scene], {"detail": 1.0}, RulesTeacher())
        assert isinstance(written, Conversation)
        found = drawn_descriptions.read(written.turns[-1].text, "stop", each)
        assert (found.true, found.named, found.repeated) == (found.statements, found.things, False)
        assert found.statements >= found.things


def test_the_same_questions_are_asked_second_and_third_after_every_way() -> None:
    items = drawn.items(8)
    requests = dict.fromkeys((item.group for item in items), "Describe it.")
    for turn, length in (("second", 2), ("third", 3)):
        planned = talks(items, turn, requests)
        assert [talk.item for talk in planned] == items
        assert {talk.after for talk in planned} == set(TURNS[turn])
        for talk in planned:
            assert len(talk.users) == length
            assert talk.users[0].images == talk.item.images
            assert talk.users[-1].text == talk.item.question
            assert talk.item.question not in [turn.text for turn in talk.users[:-1]]
            assert not any(turn.images for turn in without_picture(talk.users))


def test_what_is_written_about_a_picture_becomes_one_conversation(tmp_path: Path) -> None:
    draw(tmp_path, 60)
    counts = write(tmp_path)
    rows = json.loads((tmp_path / "tune.json").read_text())
    with_picture = [row for row in rows if "image" in row]
    assert len(with_picture) == len({row["image"] for row in with_picture}) == 60
    assert counts["short"] == 60
    texts = [[turn["value"] for turn in row["conversations"]] for row in with_picture]
    assert all(sum("<image>" in text for text in row) == 1 for row in texts)
    assert any(len(row[1]) > 80 for row in texts)  # a description first
    assert any(max(len(text) for text in row[3::2]) > 80 for row in texts)  # a description later
    assert any("<image>" not in row[0] for row in texts)  # small talk before the picture
    missing = [row for row in rows if "image" not in row]
    assert any(turn["value"] == NO_PICTURE for row in missing for turn in row["conversations"])


def test_rows_are_the_same_each_time() -> None:
    (each,) = drawn_scenes("train", 1)
    kinds: dict[Kind, float] = {"short": 1.0, "detail": 1.0}
    parts = list(write_conversations_of([each.scene], kinds, RulesTeacher()))
    kept = [part for part in parts if isinstance(part, Conversation)]
    assert list(in_one(kept)) == list(in_one(kept))


def test_small_talk_is_measured_in_words_that_no_training_holds() -> None:
    trained = {text for said, _ in SMALL_TALK for text in said}
    assert not trained & {text for text, _ in HELD_OUT}
