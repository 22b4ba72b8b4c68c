"""Replies: whatever a teacher sends ends as a sound conversation or as a reason, and mending has names."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from seetell.ask.chat import Completion
from seetell.generate.parse import ASKED, Parsed, parse
from seetell.generate.prompts import KINDS, Kind, PromptSet
from seetell.sources.conversations import read_conversations, write_conversations
from seetell.types import Box, Conversation, Image, Rejected, Scene

DATA = Path(__file__).parents[3] / "shared" / "data"
IMAGE = Image("7.jpg")
SCENE = Scene("7", ("A dog runs on grass.", "A brown dog plays."), (Box("dog", 0.1, 0.2, 0.4, 0.9),), IMAGE)
TWO = (
    "Question:\nWhat is it?\n===\nAnswer:\nIt is a dog.\n===\nQuestion:\nWhere is it?\n===\nAnswer:\nOn the grass.\n==="
)
FEW = "fewer pairs than asked"


def read(text: str, kind: Kind = "conversation", finish: str = "stop", scene: Scene = SCENE) -> Parsed | Rejected:
    question = "Describe this picture." if kind == "detail" else None
    return parse(kind, Completion(text, finish), scene, question=question, seed=3)


def pairs(result: Parsed | Rejected) -> list[tuple[str, str]]:
    assert isinstance(result, Parsed), result
    texts = [turn.text for turn in result.conversation.turns]
    return list(zip(texts[::2], texts[1::2], strict=True))


PAIRS = [("What is it?", "It is a dog."), ("Where is it?", "On the grass.")]
MENDED = {
    "as asked": (TWO, set[str]()),
    "no final separator": (TWO.removesuffix("==="), {"final separator supplied"}),
    "blanks after separators": (TWO.replace("===", "===  "), {"separator mended"}),
    "too long separators": (TWO.replace("===", "====="), {"separator mended"}),
    "too short separators": (TWO.replace("===", "=="), {"separator mended"}),
    "rules for separators": (TWO.replace("===", "---"), {"separator mended"}),
    "separators at the ends of lines": (TWO.replace("\n===", " ==="), {"separator mended"}),
    "separators doubled": (TWO.replace("===", "===\n==="), {"separator mended"}),
    "no separators": (TWO.replace("===\n", "").removesuffix("==="), {"separator supplied", "final separator supplied"}),
    "words on the marker's line": (TWO.replace(":\n", ": "), {"marker on the line of its words"}),
    "bold markers": (re.sub(r"(Question|Answer):", r"**\1:**", TWO), {"marker mended"}),
    "bold names": (re.sub(r"(Question|Answer):", r"**\1**:", TWO), {"marker mended"}),
    "numbered markers": (TWO.replace("Question:", "Question 1:"), {"marker mended"}),
    "headings": (TWO.replace("Question:", "### Question:"), {"heading marks removed"}),
    "short markers": (TWO.replace("Question:\n", "Q: ").replace("Answer:\n", "A: "), {"marker mended"}),
    "small markers": (TWO.lower().replace("what", "What").replace("where", "Where").replace("it is", "It is")
                      .replace("on the", "On the"), {"marker mended"}),
    "wide colons": (TWO.replace(":", "："), {"marker mended"}),
    "a fence": (f"```text\n{TWO}\n```", {"code fence removed"}),
    "windows lines": (TWO.replace("\n", "\r\n"), set[str]()),
    "a polite start": (f"Sure! Here it is.\n\n{TWO}", {"words before the first marker dropped"}),
    "a polite end": (f"{TWO}\nI hope that helps!", {"words after the last answer dropped"}),
    "two questions running": (f"Question:\nWho?\n===\n{TWO}", {"unanswered question dropped"}),
    "a question at the end": (f"{TWO}\nQuestion:\nWho?\n===", {"unanswered question dropped"}),
    "an orphan answer": (f"Answer:\nNo.\n===\n{TWO}", {"orphan answer dropped"}),
    "an empty answer": (f"{TWO}\nQuestion:\nWho?\n===\nAnswer:\n\n===", {"empty pair dropped"}),
    "a missing answer marker": (TWO.replace("Answer:\n", "", 1), {"answer marker supplied"}),
    "a repeated question": (f"{TWO}\nQuestion:\nwhat is it\n===\nAnswer:\nA dog.\n===", {"repeated question dropped"}),
    "a leak": (f"{TWO}\nQuestion:\nWho?\n===\nAnswer:\nThe caption says a man.\n===", {"leaking pair dropped"}),
    "coordinates": (f"{TWO}\nQuestion:\nWho?\n===\nAnswer:\nAt [0.1, 0.2].\n===", {"pair with coordinates dropped"}),
    "a refusal in between": (f"{TWO}\nQuestion:\nWho?\n===\nAnswer:\nI'm sorry, I cannot see that.\n===",
                             {"refusing pair dropped"}),
    "an absent thing": (f"{TWO}\nQuestion:\nIs there a cat?\n===\nAnswer:\nYes, it sleeps.\n===",
                        {"pair about an absent thing dropped"}),
    "thoughts": (f"<think>\nThe captions say:\nQuestion: no.\n</think>\n\n{TWO}", {"thoughts removed"}),
    "thoughts begun by the prompt": (f"The captions say:\nQuestion: no.\n</think>\n\n{TWO}", {"thoughts removed"}),
    "odd quotes": (TWO.replace("a dog", "a\u00a0dog\u200b"), {"odd characters replaced"}),
    "control characters": (TWO.replace("a dog", "a dog\x00\ud800"), {"odd characters replaced"}),
}  # fmt: skip


@pytest.mark.parametrize("case", MENDED)
def test_a_reply_that_strays_a_little_is_mended_and_the_mending_named(case: str) -> None:
    text, repairs = MENDED[case]
    result = read(text)
    assert pairs(result) == PAIRS
    assert isinstance(result, Parsed)
    assert set(result.repairs) == repairs | {FEW}


def test_a_separator_within_an_answer_does_not_cut_it() -> None:
    result = read(TWO.replace("It is a dog.", "It is a dog.\n===\nIt runs."))
    assert pairs(result)[0] == ("What is it?", "It is a dog.\n\nIt runs.")
    assert isinstance(result, Parsed)
    assert "separator within an answer dropped" in result.repairs


def test_a_cut_off_reply_keeps_the_pairs_that_came_whole() -> None:
    cut = read(TWO[:-8], finish="length")
    assert pairs(cut) == PAIRS[:1]
    assert isinstance(cut, Parsed)
    assert cut.repairs == ("cut-off pair dropped", FEW)
    assert pairs(read(TWO, finish="length")) == PAIRS
    assert pairs(read(TWO[: TWO.index("Where")], finish="length")) == PAIRS[:1]


ANSWER = "Question:\nWhat is it?\n===\nAnswer:\n{}\n==="
REFUSED: dict[str, tuple[str, Kind, str, str]] = {
    "nothing": (" \n", "conversation", "stop", "empty"),
    "no format": ("It is a dog.", "conversation", "stop", "wrong format"),
    "json": ('[{"question": "What?", "answer": "A dog."}]', "conversation", "stop", "wrong format"),
    "only questions": ("Question:\nWhat?\n===\nQuestion:\nWho?\n===", "conversation", "stop", "wrong format"),
    "a refusal": ("I'm sorry, but I can't help with that.", "conversation", "stop", "refusal"),
    "an apology": (ANSWER.format("As an AI language model, I have no eyes."), "complex", "stop", "refusal"),
    "cut in the first answer": (ANSWER.format("It is a dog")[:-8], "conversation", "length", "cut off"),
    "cut in the first question": ("Question:\nWha", "complex", "length", "cut off"),
    "withheld": ("", "conversation", "content_filter", "withheld by the service"),
    "a leak": (ANSWER.format("The bounding box shows a dog."), "complex", "stop", "leak"),
    "coordinates": (ANSWER.format("It lies at (0.12, 0.5, 0.7, 0.9)."), "complex", "stop", "coordinates"),
    "an image tag": (ANSWER.format("<image> It is a dog."), "conversation", "stop", "control token"),
    "an end token": (ANSWER.format("It is a dog.</s>"), "conversation", "stop", "control token"),
    "a chat token": (ANSWER.format("It is.<|im_end|>"), "conversation", "stop", "control token"),
    "an instruction token": (ANSWER.format("[INST] It is."), "conversation", "stop", "control token"),
    "a role": (ANSWER.format("It is.\nUSER: And then?"), "conversation", "stop", "role word"),
    "a role at the start": (ANSWER.format("Assistant: It is."), "conversation", "stop", "role word"),
    "thoughts alone": (f"<think>\nMaybe so:\n{TWO}", "conversation", "length", "cut off"),
    "a cut description": ("A dog runs over the", "detail", "length", "cut off"),
    "a refused description": ("I am unable to view images.", "detail", "stop", "refusal"),
    "a leaking description": ("Based on the captions, a dog runs.", "detail", "stop", "leak"),
    "a description in numbers": ("A dog is at [0.1, 0.2, 0.4, 0.9].", "detail", "stop", "coordinates"),
    "a description with more": ("A dog runs. There is a cat beside it.", "detail", "stop", "absent thing"),
    "several pairs for a description": (TWO, "detail", "stop", "wrong format"),
    "a token in a description": ("A dog.<image>", "detail", "stop", "control token"),
    "an essay for a short answer": (ANSWER.format("It is a brown dog, and it runs."), "short", "stop", "long answer"),
    "a short answer about nothing there": ("Question:\nHow many cats are there?\n===\nAnswer:\ntwo\n===", "short",
                                           "stop", "absent thing"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_reply_beyond_mending_is_rejected_with_its_reason_and_its_text(case: str) -> None:
    text, kind, finish, reason = REFUSED[case]
    result = read(text, kind, finish)
    assert isinstance(result, Rejected), result
    assert (result.reason, result.raw, result.id) == (reason, text, "7")


def test_complex_keeps_one_pair_and_no_kind_more_than_was_asked_for() -> None:
    result = read(TWO, "complex")
    assert pairs(result) == PAIRS[:1]
    assert isinstance(result, Parsed)
    assert result.repairs == ("surplus pair dropped",)
    many = "\n".join(f"Question:\nWhat is number {n}?\n===\nAnswer:\nThing {n}.\n===" for n in range(12))
    assert len(pairs(read(many))) == ASKED["conversation"][1]


def test_a_description_is_prose_under_the_question_that_was_drawn_for_it() -> None:
    prose = "A dog runs.\n\nIt is brown."
    assert pairs(read(prose, "detail")) == [("Describe this picture.", prose)]
    for text, repair in (
        (f"Question:\nWhat is it?\n===\nAnswer:\n{prose}\n===", "answer taken as the description"),
        (f"Here is a detailed description of the image:\n\n{prose}", "announcement dropped"),
        (f"**Description:** {prose}", "label dropped"),
        (f"{prose}\n===", "separator removed"),
    ):
        result = read(text, "detail")
        assert pairs(result)[0][1] == prose
        assert isinstance(result, Parsed)
        assert repair in result.repairs
    with pytest.raises(ValueError, match="needs the question"):
        parse("detail", Completion(prose), SCENE)
    with pytest.raises(ValueError, match="takes no question"):
        parse("complex", Completion(prose), SCENE, question="What?")


def test_short_answers_lose_their_full_stop() -> None:
    result = read("Question:\nWhat is it?\n===\nAnswer:\ndog.\n===", "short")
    assert pairs(result) == [("What is it?", "dog")]


def test_the_picture_stands_before_or_after_the_first_question_by_the_seed() -> None:
    first = 0
    for number in range(200):
        scene = Scene(str(number), SCENE.captions, SCENE.boxes, IMAGE)
        result = parse("conversation", Completion(TWO), scene, seed=5)
        assert isinstance(result, Parsed)
        assert result == parse("conversation", Completion(TWO), scene, seed=5)
        assert result.conversation.images == (IMAGE,)
        assert set(result.conversation.turns[0].parts) == {IMAGE, "What is it?"}
        first += result.conversation.turns[0].parts[0] == IMAGE
    assert 70 < first < 130


def test_without_a_picture_there_is_no_conversation() -> None:
    result = read(TWO, scene=Scene("7", SCENE.captions))
    assert isinstance(result, Rejected)
    assert result.reason == "no picture"


# Real replies.


@pytest.mark.skipif(not (DATA / "llava_prompts").is_dir(), reason="the published examples are not here")
def test_the_published_examples_are_all_kept() -> None:
    prompts = PromptSet.load(DATA / "llava_prompts")
    kept = 0
    for kind, prompt in prompts.prompts.items():
        for shot, reply in prompt.shots:
            result = read(reply, kind, scene=_scene("shot", shot))
            assert isinstance(result, Parsed), result
            assert set(result.repairs) <= {"final separator supplied"}
            for _, answer in pairs(result):
                assert " ".join(answer.split()) in " ".join(reply.split())
            kept += 1
    assert kept == 8


def _scene(id: str, shot: str) -> Scene:
    captions, _, boxes = shot.partition("\n\n")
    found = (line.rsplit(": ", 1) for line in boxes.splitlines())
    return Scene(id, tuple(captions.splitlines()), tuple(Box(label, *json.loads(at)) for label, at in found), IMAGE)


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "llava_bench" / "coco" / name).read_text().splitlines()]


@pytest.mark.skipif(not (DATA / "llava_bench").is_dir(), reason="the real answers are not here")
def test_real_answers_put_into_the_format_are_all_kept() -> None:
    scenes = {
        row["image"].rsplit("_", 1)[-1]: Scene(
            row["id"],
            tuple(row["captions"]),
            tuple(Box(entry["category"], *entry["bbox"]) for entry in row["instances"]),
            IMAGE,
        )
        for row in _rows("caps_boxes_coco2014_val_80.jsonl")
    }
    asked = [
        (row["image"], row["type"], row["instruction"], row["output"])
        for row in _rows("coco2014_val_gpt4_qa_30x3.jsonl")
    ]
    answers = {row["question_id"]: row["text"] for row in _rows("qa90_gpt4_answer.jsonl")}
    asked += [
        (row["image"], row["category"], row["text"], answers[row["question_id"]])
        for row in _rows("qa90_questions.jsonl")
    ]
    kinds: dict[str, Kind] = {"conv": "conversation", "detail": "detail", "complex": "complex"}
    assert len(asked) == 180
    for image, type, question, answer in asked:
        scene = scenes[image.rsplit("_", 1)[-1]]
        text = answer if type == "detail" else f"Question:\n{question}\n===\nAnswer:\n{answer}\n==="
        result = read(text, kinds[type], scene=scene)
        assert isinstance(result, Parsed), (question, answer, result)
        assert pairs(result)[0][1].split() == answer.split()


# Mutated replies.

SOUP = [
    *("===", "====", "---", "Question:", "Answer:", "question", "**Answer:**", "Q:", "A:", "===Answer:"),
    *("<image>", "</s>", "<|im_end|>", "[INST]", "USER:", "Human:", "###", "Question: Answer:", "1.", "*", "{", "```"),
    *("\n", "\n\n", "\r", "\x00", "\ud800", "\u201c", "\uff1a", "\u2028", "\x85", "\x1c", "\u3000", "\u0130", " "),
    *("[0.1, 0.2, 0.3, 0.4]", "the caption", "As an AI"),
]


MUTATIONS = 5000
BAD = ("<image>", "</s>", "<|im_end|>", "[inst]", "[0.1, 0.2", "\x00", "\r")
BAD_STARTS = ("question:", "answer:", "human:", "###", "q:", "a:", "**answer:")


def mutated(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 6)):
        at, to = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        match rng.randrange(7):
            case 0:
                text = text[:at] + rng.choice(SOUP) + text[at:]
            case 1:
                text = text[:at] + text[min(to, at + rng.randint(1, 12)) :]
            case 2:
                text = text[:at] + text[at:to] * 2 + text[to:]
            case 3:
                lines = text.split("\n")
                rng.shuffle(lines)
                text = "\n".join(lines)
            case 4:
                lines = text.split("\n")
                lines.insert(rng.randrange(len(lines) + 1), rng.choice(SOUP))
                text = "\n".join(lines)
            case 5:
                text = text.replace(
                    rng.choice(("===", "Question:", "Answer:", "\n")), rng.choice(SOUP), rng.randint(1, 3)
                )
            case _:
                text = text[:at]
    return text


def test_no_mutation_crashes_or_yields_a_broken_conversation(tmp_path: Path) -> None:
    rng = random.Random(11)
    replies: list[tuple[Kind, str]] = [
        (kind, reply) for kind, prompt in PromptSet.load().prompts.items() for _, reply in prompt.shots
    ]
    kept: list[Conversation] = []
    for number in range(MUTATIONS):
        kind, reply = rng.choice(replies)
        text, finish = mutated(reply, rng), rng.choice(("stop", "stop", "stop", "length", "weird"))
        result = parse(kind, Completion(text, finish), Scene(str(number), SCENE.captions, (), IMAGE),
                       question="What is it?" if kind == "detail" else None, seed=1)  # fmt: skip
        if isinstance(result, Rejected):
            assert result.reason
            assert result.raw == text
        else:
            assert_sound(result.conversation, kind)
            kept.append(result.conversation)
    assert 0.2 * MUTATIONS < len(kept) < 0.98 * MUTATIONS
    write_conversations(tmp_path / "kept.json", kept)
    assert [
        [turn.text for turn in row.turns]
        for row in read_conversations(tmp_path / "kept.json")
        if isinstance(row, Conversation)
    ] == [[turn.text for turn in row.turns] for row in kept]


@pytest.mark.parametrize(
    "filling", [" ", "\n", "=", "=== ", "*", "#", "A ", "Q", "-", "(0.1", "<|", "\t \n", "there is a ", "the "]
)
def test_a_very_long_run_of_anything_is_read_in_time_that_grows_with_its_length(filling: str) -> None:
    run = filling * (60_000 // len(filling))
    for text in (run, f"Question:\n{run}x\n===\nAnswer:\nA{run}.\n===", f"A{run}:", f"A dog runs.{run}x"):
        for kind in KINDS:
            read(text, kind)


def assert_sound(conversation: Conversation, kind: Kind) -> None:
    """What LLaVA's format asks of a row, checked without the parser's own patterns."""
    turns = conversation.turns
    assert len(turns) >= 2
    assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
    assert len(turns) // 2 <= ASKED.get(kind, (1, 1))[1]
    assert conversation.images == turns[0].images == (IMAGE,)
    assert len(turns[0].parts) == 2
    questions = [turn.text.lower() for turn in turns[::2]]
    assert len(set(questions)) == len(questions)
    for turn in turns:
        assert turn.text
        assert turn.text == turn.text.strip()
        low = turn.text.lower()
        for bad in BAD:
            assert bad not in low, turn.text
        assert "USER:" not in turn.text
        assert not re.search(r"\b(as an ai|the caption)\b", low)
        for line in low.split("\n"):
            assert not line.strip().startswith(BAD_STARTS), turn.text
            assert set(line.strip()) != {"="}, turn.text
        turn.text.encode()
