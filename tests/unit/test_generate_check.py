"""Checks: what shows the writer's sources, refuses, or was made up is found, and innocent words are not."""

from __future__ import annotations

import pytest

from seetell.generate import check
from seetell.types import Box, Image, Scene

IMAGE = Image("7.jpg")
SCENE = Scene("7", ("A dog runs on grass.", "A brown dog plays."), (Box("dog", 0.1, 0.2, 0.4, 0.9),), IMAGE)


def fault(text: str, scene: Scene = SCENE) -> str:
    if check.has_format_marks(text):
        return "format"
    refused = check.REFUSAL if check.refuses(text) else ""
    return check.poison(text) or refused or check.leaks(text, scene) or check.absent("What is it?", text, scene)


def test_words_that_only_look_like_faults_are_kept() -> None:
    for text in (
        "He works as a system administrator: he says so.",
        "The man's assistant holds a box.",
        "The sign reads 3.5 m, and the clock 10:30.",
        "It costs about 0.99 dollars.",
        "The dog is sorry, perhaps.",
        "There is no cat here.",
        "The book's list of animals is long.",
        "Given information like that, one would wait.",
        "The screen shows information provided by the airport.",
        "The detection of smoke is what the device is for.",
        "The first sentence on the board is in French.",
        "A wooden box stands around the corner, and the box is open.",
        "She reads from the text in her hands.",
        "The annotations in the book are in red.",
        "The path spans 0.5 to 0.9 miles, and the gap 1.5 to 2.5 m.",
        "The bridge stretches from 0.5 to 0.8 kilometres.",
        "He is unable to see the road, and I would decline.",
        "One is not able to tell the time.",
    ):
        assert not fault(text), text
    with_caption = Scene("7", ("A cartoon whose caption reads hello.",), (), IMAGE)
    assert not fault("The caption reads hello.", with_caption)
    with_box = Scene("7", ("A cardboard box around a cat.",), (), IMAGE)
    assert not fault("The box around the cat is brown.", with_box)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Based on the information provided, a dog runs.", "leak"),
        ("From the details given, a dog runs.", "leak"),
        ("Based on the annotations, a dog runs.", "leak"),
        ("The annotations show a dog.", "leak"),
        ("From the description, a dog runs.", "leak"),
        ("As described in the text, a dog runs.", "leak"),
        ("Its coordinates suggest that it is on the left.", "leak"),
        ("The first sentence says that it runs.", "leak"),
        ("The box around the dog is large.", "leak"),
        ("The detections include a dog.", "leak"),
        ("The dog's box: 0.1 0.2 0.4 0.9", "coordinates"),
        ("The dog spans 0.1 to 0.5.", "coordinates"),
        ("The dog extends from 0.1 to 0.5, about the middle.", "coordinates"),
        ("I'm unable to say.", "refusal"),
        ("I am not able to look at it.", "refusal"),
        ("I won't be able to do this.", "refusal"),
        ("I must respectfully decline.", "refusal"),
        ("I can not view it.", "refusal"),
    ],
)
def test_a_reply_that_shows_where_its_words_come_from_or_refuses_is_not_kept(text: str, reason: str) -> None:
    assert fault(text) == reason


def test_things_that_go_by_another_name_are_not_absent() -> None:
    scene = Scene("7", ("Two puppies near a yacht.",), (Box("couch", 0, 0, 1, 1),), IMAGE)
    assert not check.absent("Is there a dog?", "Yes, there are two dogs.", scene)
    assert not check.absent("", "There is a boat behind them.", scene)
    assert check.absent("", "There is a large zebra behind them.", scene) == "zebra"
    assert not check.absent("", "There is a zebra.", Scene("7", ("Some animals.",), (), IMAGE))
    assert not check.absent("Is there a zebra?", "no", scene, short=True)
