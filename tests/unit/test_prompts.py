"""Prompts: the messages that ask for a conversation about a scene."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from seetell.ask.chat import Completion, Message
from seetell.errors import BadInput, UsageError
from seetell.generate.parse import Parsed, parse
from seetell.generate.prompts import KINDS, SHIPPED, Kind, PromptSet, context
from seetell.rules.read import read_kind
from seetell.types import Box, Image, Scene

DATA = Path(__file__).parents[3] / "shared" / "data"
PUBLISHED = DATA / "llava_prompts"
FOLDER_NAMES: dict[Kind, str] = {
    "conversation": "conversation",
    "detail": "detail_description",
    "complex": "complex_reasoning",
}
SCENE = Scene(
    "7",
    ("A dog runs.\n", "The  dog is brown."),
    (Box("dog", 0.1, 0.25, 0.3334, 1.0), Box("person", -0.0, 0.5, 0.6, 0.7, crowd=True)),
    Image("7.jpg"),
)


def test_the_context_is_captions_then_boxes_with_three_decimals() -> None:
    told = "A dog runs.\nThe  dog is brown."  # as the release has it: a caption's blanks are its own
    assert context(SCENE, boxes=False) == told
    assert context(SCENE) == f"{told}\n\ndog: [0.1, 0.25, 0.333, 1.0]\na group of person: [0.0, 0.5, 0.6, 0.7]"


@pytest.mark.parametrize("kind", KINDS)
def test_what_never_changes_comes_first_and_the_scene_last(kind: Kind) -> None:
    prompts = PromptSet.load()
    messages = prompts.messages(kind, SCENE)
    other = prompts.messages(kind, Scene("8", ("A cat.",), (Box("cat", 0, 0, 1, 1),), Image("8.jpg")))
    assert messages[:-1] == other[:-1]
    assert "".join(message.role[0] for message in messages) == "s" + "ua" * (len(messages) // 2 - 1) + "u"
    assert messages[-1] == Message("user", context(SCENE, boxes="boxes" in prompts.needs(kind)))
    assert read_kind(messages) == kind


def test_conversations_see_captions_alone_unless_boxes_are_switched_on() -> None:
    plain, both = PromptSet.load(), PromptSet.load(conversation_boxes=True)
    assert not any(re.search(r": \[", message.content) for message in plain.messages("conversation", SCENE))
    users = [message for message in both.messages("conversation", SCENE) if message.role == "user"]
    assert all(re.search(r": \[", message.content) for message in users)
    assert plain.needs("conversation") == {"captions"}
    assert both.needs("conversation") == plain.needs("detail") == {"captions", "boxes"}


def test_a_scene_that_lacks_something_is_named_by_what_it_lacks() -> None:
    prompts = PromptSet.load()
    assert prompts.lacks("detail", SCENE) == ""
    assert prompts.lacks("detail", Scene("1", ("A dog.",), (), Image("1.jpg"))) == "no boxes"
    assert prompts.lacks("conversation", Scene("1", ("A dog.",), (), Image("1.jpg"))) == ""
    assert prompts.lacks("conversation", Scene("1", (), SCENE.boxes, Image("1.jpg"))) == "no captions"
    assert prompts.lacks("complex", Scene("1", SCENE.captions, SCENE.boxes)) == "no picture"


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_examples_are_in_the_format_that_is_asked_for(kind: Kind) -> None:
    prompts = PromptSet.load()
    assert 2 <= len(prompts.prompts[kind].shots) <= 3
    for shot, reply in prompts.prompts[kind].shots:
        captions, boxes = shot.split("\n\n")
        assert len(captions.splitlines()) == 5
        scene = Scene(
            "shot", tuple(captions.splitlines()), tuple(_box(line) for line in boxes.splitlines()), Image("s.jpg")
        )
        assert context(scene) == shot
        question = "Describe it." if kind == "detail" else None
        result = parse(kind, Completion(reply), scene, question=question)
        assert isinstance(result, Parsed), result
        assert not result.repairs


def _box(line: str) -> Box:
    label, corners = line.rsplit(": ", 1)
    return Box(label, *json.loads(corners))


def test_detail_questions_come_from_the_pool_and_differ_by_scene_and_seed() -> None:
    prompts = PromptSet.load()
    scenes = [Scene(str(number)) for number in range(200)]
    drawn = [prompts.detail_question(scene, 1) for scene in scenes]
    assert set(drawn) == set(prompts.detail_questions)
    assert drawn == [prompts.detail_question(scene, 1) for scene in scenes]
    assert drawn != [prompts.detail_question(scene, 2) for scene in scenes]


def test_a_users_folder_is_read_with_its_own_pool_and_its_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no prompts"):
        PromptSet.load(tmp_path)
    folder = tmp_path / "detail_description"
    folder.mkdir()
    (folder / "system_message.txt").write_text("Describe it.\n")
    (folder / "000_caps.txt").write_text("A dog.\n\ndog: [0.0, 0.0, 1.0, 1.0]\n")
    with pytest.raises(BadInput, match=r"000_conv\.txt is missing"):
        PromptSet.load(tmp_path)
    (folder / "000_conv.txt").write_text("There is a dog.\n")
    prompts = PromptSet.load(tmp_path)
    assert prompts.detail_questions == PromptSet.load().detail_questions
    (folder / "questions.txt").write_text("What is it?\n")
    assert PromptSet.load(tmp_path).detail_question(SCENE) == "What is it?"
    assert [message.content for message in prompts.messages("detail", SCENE)][:-1] == [
        "Describe it.",
        "A dog.\n\ndog: [0.0, 0.0, 1.0, 1.0]",
        "There is a dog.",
    ]
    with pytest.raises(UsageError, match="'complex'"):
        prompts.messages("complex", SCENE)


def test_the_package_holds_every_prompt_file() -> None:
    assert all((SHIPPED / kind / "system_message.txt").is_file() for kind in KINDS)


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "llava_bench" / "coco" / name).read_text().splitlines()]


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published prompts are not here")
def test_the_published_prompts_assemble_as_the_paper_says_for_the_benchmark_photos() -> None:
    prompts = PromptSet.load(PUBLISHED)
    assert set(prompts.prompts) == {"conversation", "detail", "complex"}
    rows = [
        json.loads(line)
        for line in (DATA / "llava_bench/coco/caps_boxes_coco2014_val_80.jsonl").read_text().splitlines()
    ]
    asked = {
        json.loads(line)["image"] for line in (DATA / "llava_bench/coco/qa90_questions.jsonl").read_text().splitlines()
    }
    rows = [row for row in rows if row["image"].rsplit("_", 1)[-1] in asked]
    assert len(rows) == 30
    for row in rows:
        boxes = tuple(Box(entry["category"], *entry["bbox"]) for entry in row["instances"])
        scene = Scene(row["id"], tuple(row["captions"]), boxes, Image(row["image"]))
        for kind, name in FOLDER_NAMES.items():
            expected = [("system", (PUBLISHED / name / "system_message.txt").read_text().strip())]
            for number in range(2 if kind == "conversation" else 3):
                expected.append(("user", (PUBLISHED / name / f"{number:03}_caps.txt").read_text().strip()))
                expected.append(("assistant", (PUBLISHED / name / f"{number:03}_conv.txt").read_text().strip()))
            query = list(row["captions"])
            if kind != "conversation":
                query += [
                    "",
                    *(f"{entry['category']}: {[float(edge) for edge in entry['bbox']]}" for entry in row["instances"]),
                ]
            expected.append(("user", "\n".join(query)))
            messages = prompts.messages(kind, scene)
            assert [(message.role, message.content) for message in messages] == expected
            assert read_kind(messages) == kind
