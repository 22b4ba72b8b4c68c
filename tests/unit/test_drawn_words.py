"""Layouts, captions and questions of drawn scenes say only what is so."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import pairwise

import pytest

from seetell.evals import drawn as task
from seetell.sources.drawn.layout import COLOURS, HELD_OUT_PAIRS, KINDS, SPLIT_SIZE, SPLITS, make_layout
from seetell.sources.drawn.questions import HELD_OUT, TYPES, WORDINGS, ask
from seetell.sources.drawn.scenes import drawn_scenes, questions_about
from seetell.sources.drawn.words import captions
from seetell.types import Answer


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def layouts(split: str, count: int, pairs: str = "seen"):
    return [make_layout(split, index, pairs=pairs) for index in range(count)]


def test_a_layout_is_a_pure_function_of_split_and_index():
    assert layouts("train", 20) == layouts("train", 20)
    assert make_layout("train", 3) != make_layout("held-out", 3)


def test_splits_never_share_a_seed():
    starts = sorted(SPLITS.values())
    assert all(later - earlier >= SPLIT_SIZE for earlier, later in pairwise(starts))
    with pytest.raises(ValueError, match="lies in"):
        make_layout("base", SPLIT_SIZE)


def test_one_colour_of_every_kind_is_held_out_of_pictures_and_captions():
    assert len(HELD_OUT_PAIRS) == len(KINDS)
    for layout in layouts("train", 400):
        assert not {(thing.kind, thing.colour) for thing in layout.things} & HELD_OUT_PAIRS
        told = words_of(" ".join(captions(layout, layout.things, random.Random(0))))
        assert not any((colour, kind) in pairwise(told) for kind, colour in HELD_OUT_PAIRS)
    assert all(
        any((thing.kind, thing.colour) in HELD_OUT_PAIRS for thing in layout.things)
        for layout in layouts("held-out", 50, "unseen")
    )


def test_things_lie_in_the_picture_one_in_a_cell():
    for layout in layouts("train", 300):
        assert 1 <= len(layout.things) <= 6
        assert len({thing.place for thing in layout.things}) == len(layout.things)
        assert all(0 < thing.x < 1 and 0 < thing.y < 1 for thing in layout.things)


def test_two_captions_name_everything_and_all_five_differ():
    for layout in layouts("train", 100):
        told = captions(layout, layout.things, random.Random(1))
        assert len(set(told)) == 5
        for thing in layout.things:
            assert f"{thing.size} {thing.colour} {thing.kind}" in told[0]
            assert f"{thing.colour} {thing.kind}" in told[2]


@pytest.mark.parametrize("type", TYPES)
def test_no_constant_answer_wins_and_every_answer_is_the_truth(type: str):
    rng = random.Random(type)
    answers: Counter[str] = Counter()
    for layout in layouts("held-out", 800):
        question = ask(layout.things, type, rng)
        if question is None:
            continue
        answers[question.accepted[0]] += 1
        names = {thing.kind for thing in layout.things} | {thing.colour for thing in layout.things}
        if type in ("colour", "kind"):
            assert question.accepted[0] in names
        if type == "existence":
            said = words_of(question.text)
            kind = next(word for word in said if word in KINDS)
            colours = [word for word in said if word in COLOURS] or list(COLOURS)
            there = any(thing.kind == kind and thing.colour in colours for thing in layout.things)
            assert there == (question.accepted[0] == "yes"), (question, layout.things)
    assert answers.most_common(1)[0][1] / answers.total() <= 0.55


def test_held_out_wordings_are_not_among_those_of_training():
    assert HELD_OUT.keys() == WORDINGS.keys()
    assert not {text for texts in HELD_OUT.values() for text in texts} & {
        t for texts in WORDINGS.values() for t in texts
    }


def test_a_scene_speaks_only_of_what_can_be_seen():
    for drawn in drawn_scenes("train", 60):
        assert len(drawn.scene.boxes) == len(drawn.things) >= 1
        assert [box.label for box in drawn.scene.boxes] == [thing.kind for thing in drawn.things]
        assert all(0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1 for box in drawn.scene.boxes)
        hidden = [thing for thing in drawn.layout.things if thing not in drawn.things]
        for thing in hidden:
            assert f"{thing.size} {thing.colour} {thing.kind}" not in drawn.scene.captions[0]


def test_existence_asks_half_yes():
    items = [item for item in task.items(60) if item.kind == "existence"]
    yes = sum(item.accepted[0] == "yes" for item in items)
    assert abs(yes / len(items) - 0.5) <= 0.05


def test_the_task_scores_perfect_answers_1_and_wrong_ones_0():
    items = task.items(20)
    perfect = task.aggregate(items, [Answer(item.id, f"The {item.accepted[0].upper()}.") for item in items])
    wrong = task.aggregate(items, [Answer(item.id, "an elephant") for item in items])
    assert perfect.overall == 1.0
    assert set(perfect.by_type.values()) == {1.0}
    assert wrong.overall == 0.0
    assert task.aggregate(items, []).overall == 0.0


def test_blind_asks_the_same_with_another_scenes_picture():
    items = task.items(10)
    swapped = task.blind(items)
    for item, other in zip(items, swapped, strict=True):
        assert (item.id, item.question, item.accepted) == (other.id, other.question, other.accepted)
        assert item.images != other.images


def test_questions_about_a_scene_are_always_the_same():
    drawn = next(drawn_scenes("held-out", 1))
    assert list(questions_about(drawn, 0)) == list(questions_about(drawn, 0))
    assert set(COLOURS) >= {"red", "blue"}
