"""What the built-in teacher writes about photographs, held against captions and boxes by a checker of its own.

Real photographs lie outside the project, and their tests are skipped without them; the other tests write their scenes
here.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from seetell.ask.chat import Message
from seetell.generate.prompts import Kind, PromptSet
from seetell.generate.write import write_conversations_of
from seetell.rules.teacher import RulesTeacher
from seetell.sources.coco import read_coco
from seetell.types import Box, Conversation, Image, Rejected, Scene
from tests.photo_checker import Pairs, contradictions

DATA = Path(__file__).parents[3] / "shared" / "data" / "coco" / "annotations"
needs_photos = pytest.mark.skipif(not DATA.is_dir(), reason="the real photos' annotations are not here")
PROMPTS = PromptSet.load(conversation_boxes=True)


@cache
def photos() -> tuple[Scene, ...]:
    scenes = read_coco(DATA / "captions.json", DATA / "instances.json")
    return tuple(scene for scene in scenes if scene.captions and scene.boxes)


def written(kind: Kind, scenes: tuple[Scene, ...]) -> list[tuple[Scene, Pairs]]:
    results = write_conversations_of(scenes, {kind: 1}, RulesTeacher(), 0, PROMPTS)
    return [(scene, pairs_of(result)) for scene, result in zip(scenes, results, strict=True)]


def pairs_of(result: Conversation | Rejected) -> Pairs:
    if isinstance(result, Rejected):
        assert result.reason == "nothing certain to say", result
        assert result.detail.endswith(".")
        return []
    texts = [turn.text for turn in result.turns]
    return list(zip(texts[::2], texts[1::2], strict=True))


def is_checked(question: str) -> bool:
    """Whether a question is about counts, places, existence or relations."""
    count, existence = r"^How many", r"^(?:Is|Are) there |^(?:Do|Can) you see an?y? "
    place, relation = r"the picture (?:is|are) the|part of the picture", r"to the (?:left|right)|(?:higher|lower)"
    return bool(re.search(f"{count}|{existence}|{place}|{relation}", question))


@needs_photos
@pytest.mark.parametrize("kind", ["conversation", "detail", "complex", "short"])
def test_captions_and_boxes_contradict_nothing(kind: Kind) -> None:
    wrong: list[str] = []
    looked_up = 0
    for scene, pairs in written(kind, photos()):
        found, count = contradictions(pairs, scene)
        wrong, looked_up = wrong + found, looked_up + count
    assert not wrong, f"{len(wrong)} of {looked_up}: " + "\n".join(wrong)
    assert looked_up > {"conversation": 500, "detail": 250, "complex": 20, "short": 300}[kind]


@needs_photos
def test_enough_is_said_and_a_third_of_it_is_asked_for() -> None:
    assert len(photos()) == 116
    talks = [pairs for _, pairs in written("conversation", photos()) if len(pairs) >= 3]
    told = [pairs[0][1] for _, pairs in written("detail", photos()) if pairs]
    reasoned = [pairs for _, pairs in written("complex", photos()) if pairs]
    assert len(talks) >= 100
    assert sum(len(re.findall(r"\.(?: |$)", text)) >= 3 for text in told) >= 80
    assert len(reasoned) >= 50
    questions = [question for pairs in talks for question, _ in pairs]
    assert sum(map(is_checked, questions)) >= 0.3 * len(questions)
    assert len(set(questions)) > len(questions) / 2


@needs_photos
def test_captions_are_not_read_out() -> None:
    for kind in ("conversation", "detail"):
        for scene, pairs in written(kind, photos()):
            text = " ".join(answer for _, answer in pairs).lower()
            whole = [c for c in scene.captions if len(c.split()) > 4 and c.lower().strip(" .") in text]
            assert len(whole) <= 2, (scene.id, whole)


def scene(captions: str, boxes: str = "") -> Scene:
    """Captions a line; boxes as `label x0 y0 x1 y1`, a group with a star."""
    made = []
    for line in filter(None, (line.strip() for line in boxes.split(";"))):
        *label, x0, y0, x1, y1 = line.split()
        name = " ".join(label)
        made.append(Box(name.strip("*"), float(x0), float(y0), float(x1), float(y1), crowd="*" in name))
    return Scene(
        "1", tuple(line.strip() for line in captions.strip().splitlines()), tuple(made), Image("p.jpg"), 640, 480
    )


def reply(kind: Kind, of: Scene) -> str:
    return RulesTeacher().reply(PROMPTS.messages(kind, of)).text


TWO_DOGS = scene(
    """Two dogs running on the grass.
    Two brown dogs run on grass near a bench.
    A pair of dogs is running on the grass.""",
    "dog 0.05 0.5 0.25 0.8; dog 0.4 0.5 0.6 0.8; bench 0.75 0.4 0.95 0.7",
)


def test_the_checker_finds_what_is_false() -> None:
    for question, answer in (
        ("How many dogs are there?", "There are three dogs."),
        ("Is there a cat in the picture?", "Yes, there is a cat."),
        ("Is there a bench in the picture?", "No, there is no bench in the picture."),
        ("Where in the picture is the bench?", "The bench is on the left side of the picture."),
        ("Is the bench to the left of the dog?", "Yes, the bench is to the left of the dog."),
        ("What do you see?", "It shows two dogs and three dogs."),
        ("What is she doing?", "The woman is running."),
        ("Are there any people?", "Nobody can be seen in it. There is a man."),
    ):
        assert contradictions([(question, answer)], TWO_DOGS)[0], answer


def test_agreeing_captions_and_boxes_are_told() -> None:
    talk = reply("conversation", TWO_DOGS)
    assert talk.count("Question:") >= 3
    assert "two dogs" in (talk + reply("detail", TWO_DOGS)).lower()
    told = contradictions([("", reply("detail", TWO_DOGS))], TWO_DOGS)
    assert not told[0]
    assert told[1] >= 3


FACE = "0.1 0.1 0.3 0.9; person 0.5 0.1 0.7 0.9"
DISAGREEING = {
    "a number": (
        "Six bananas and a red fruit.\nA bunch of bananas with an apple.\nSome bananas.",
        "banana 0.1 0.1 0.4 0.4; banana 0.5 0.5 0.9 0.9",
        r"two bananas|six bananas|apple",
    ),
    "a no": (
        "A bathroom with no toilets.\nA room with buckets.\nA shower room.",
        "toilet 0.1 0.1 0.5 0.5",
        r"toilet",
    ),
    "another animal": (
        "Two girls petting goats.\nGirls pet goats in a pen.\nTwo girls with goats.",
        f"sheep 0.1 0.1 0.9 0.9; person {FACE}",
        r"sheep|goat",
    ),
    "a sex": (
        "A man holding a racket.\nThis woman plays tennis.\nA player on a court.",
        "person 0.1 0.1 0.5 0.9; tennis racket 0.6 0.1 0.8 0.3",
        r"\b(?:man|woman|he|she|his|her)\b",
    ),
    "a group": (
        "Horses on a beach.\nA group of horses.\nMany horses on sand.",
        "horse* 0.1 0.1 0.9 0.9; horse 0.1 0.1 0.3 0.3",
        r"one horse|two horses|a horse",
    ),
    "a synonym": (
        "A cat on a sofa.\nA cat sleeping on a couch.\nA cat lying on a sofa.",
        "cat 0.1 0.4 0.5 0.8; couch 0.0 0.3 1.0 1.0",
        r"no couch|no cat|not see a (?:couch|cat)",
    ),
    "a statue": (
        "A statue of two women on a bench.\nA metal statue.\nA sculpture of women.",
        f"person {FACE}; bench 0.1 0.5 0.9 0.9",
        r"two (?:people|women)",
    ),
    "nothing to reason from": (
        "A knife next to a cup.\nA cup and a knife.\nA coffee cup by a knife.",
        "cup 0.1 0.1 0.4 0.5; knife 0.5 0.1 0.6 0.8",
        r"furniture|made for it|because",
    ),
}


@pytest.mark.parametrize(("captions", "boxes", "never"), DISAGREEING.values(), ids=DISAGREEING)
def test_what_disagrees_is_not_said(captions: str, boxes: str, never: str) -> None:
    of = scene(captions, boxes)
    for kind in ("conversation", "detail", "complex", "short"):
        completion = RulesTeacher().reply(PROMPTS.messages(kind, of))
        if completion.finish_reason == "stop":
            assert not re.search(never, completion.text.lower()), completion.text


def test_a_scene_of_which_nothing_is_certain_is_rejected_with_the_reason() -> None:
    of = scene("A bathroom with no toilets.\nA room.\nSome buckets.", "toilet 0.1 0.1 0.5 0.5")
    for kind in ("conversation", "detail", "complex"):
        (result,) = write_conversations_of([of], {kind: 1}, RulesTeacher(), 0, PROMPTS)
        assert isinstance(result, Rejected)
        assert result.reason == "nothing certain to say"
        assert ("toilet" in result.detail) == (kind != "complex")


def test_actions_are_answers_to_questions_that_fit_them() -> None:
    texts: list[str] = []
    for number in range(12):
        last = f"A surfer riding a wave in the ocean{'.' * number}"
        of = scene(
            f"A man riding a wave on a surfboard.\nA man is riding a wave.\n{last}",
            "person 0.3 0.2 0.5 0.6; surfboard 0.3 0.6 0.6 0.7",
        )
        texts.append(reply("conversation", of))
    assert any("What is the man doing?" in text and "riding a wave" in text for text in texts)


def test_a_reason_needs_its_ground() -> None:
    snow = scene("A person skiing down a snowy slope.\nA skier on a ski slope in the snow.\nA skier on snow.",
                 "person 0.4 0.3 0.5 0.6; skis 0.4 0.6 0.6 0.7")  # fmt: skip
    assert "cold" in reply("complex", snow)
    kitchen = scene("A cup on a table.\nA cup.\nA red cup on a table.", "cup 0.4 0.3 0.5 0.6")
    assert RulesTeacher().reply(PROMPTS.messages("complex", kitchen)).finish_reason == "nothing_certain"


def test_captions_alone_are_enough_for_some_questions() -> None:
    told = "A black dog sitting on a couch.\nA dog is sitting on a sofa.\nA black dog on a couch in a living room."
    system = PROMPTS.prompts["conversation"].system
    text = RulesTeacher().reply([Message("system", system), Message("user", told)]).text
    assert "No," not in text
