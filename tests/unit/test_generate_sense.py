"""Replies without sense, as a small model writes them, are rejected; good ones and real ones are kept."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from seetell.ask.chat import Completion
from seetell.ask.loops import REPEATS
from seetell.generate import sense
from seetell.generate.parse import Parsed, parse
from seetell.types import Box, Image, Rejected, Scene

CAPTIONS = (
    "A brown dog runs over the wet grass.",
    "A dog playing with a red ball in a park.",
    "The dog chases a ball near two children.",
    "A small dog on a lawn with kids behind it.",
    "Two children watch their dog run in the park.",
)
SCENE = Scene("7", CAPTIONS, (Box("dog", 0.1, 0.2, 0.4, 0.9),), Image("7.jpg"))
DATA = Path(__file__).parents[3] / "shared" / "data"
GOOD = (
    "A brown dog is running across a wet lawn after a red ball. Two children stand behind it and watch, one of them "
    "with a raised hand. The ball is a step ahead of the dog. The trees at the back suggest that it is a park.",
    "The dog is in the middle of the lawn. It is not on a leash, so it can run freely. The children are behind it. "
    "There is a ball in front of the dog. It is red.",
    "Two children are watching their dog play. The older child points at the ball, while the younger one laughs. The "
    "grass is wet, and small drops fly up where the dog's paws touch it. Nobody else is near.",
    "There are two children in the picture. There are no adults near them. The child on the left wears a blue coat. "
    "The child on the right wears a yellow coat. Both coats look warm.",
    "The dog seems to be happy. Its ears are up, its mouth is open, and its tail is high. It is likely that it has "
    "played this game before, since it does not wait for the ball to land.",
    "It is probably autumn, because there are leaves on the grass. The leaves are brown and yellow. The light is soft, "
    "so the sky may be covered by clouds. The children do not wear gloves.",
)  # fmt: skip
WRITTEN = (
    "It is not a double-breasted chair. It is a double-breasted chair.",
    "The man isn't wearing a hat. The man is wearing a hat and a coat. The man is wearing a hat.",
    "There are no toilets in the room. On the left there is a toilet next to the sink.",
    "There are two bananas in the picture. The light is good. There are six bananas in the picture.",
    "The yellow balloon is to the right of the yellow balloon.",
    "The cup is on top of the cup.",
    "\n".join(CAPTIONS) + "\nThese are a couple of the stories, one from a woman and one from a man.",
    "The image shows " + " ".join(CAPTIONS[:3]),
    "- " + "\n- ".join(CAPTIONS),
    " ".join(CAPTIONS[1:3]),
    "a dog, a dog, a dog, " * 10,
    "The dog runs. " * 20,
    "\n".join(f"{number}. The dog is running in the park." for number in range(1, 9)),
    "the the the the " * 10,
    "The dog has a ball. The dog does not have a ball.",
    "The children can see the dog. The children can't see the dog.",
    "A brown dog runs over some grass.\nA dog playing with a ball in the park.\n"
    "The dog chases a ball near the children.",
    "This is a scene of a park with a dog. The dog on the lawn is in the park, making its way through the park. It is "
    "in a park scene. The dog on the lawn is in a park scene. The park scene is the one with the dog on the lawn. The "
    "park scene is the one with the dog in the park scene.",
)


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text.strip())


def mutated(text: str, rng: random.Random) -> Iterator[str]:
    """The reply as a small model would spoil it."""
    parts = sentences(text)
    some = rng.choice([part for part in parts if len(part.split()) > 5] or parts)
    yield f"{text} {(some + ' ') * 6}"
    yield f"{text} {some}"
    yield f"{' '.join(parts[:2])} {' '.join(CAPTIONS)}"
    yield f"{text}\n" + "\n".join(rng.sample(CAPTIONS, 3))
    words = some.rstrip(".").split()
    yield f"{text} " + " ".join(words[-4:] * 10)
    for verb in ("is", "are"):
        if found := next((part for part in parts if f" {verb} " in part and " not " not in part), None):
            yield f"{text} {found.replace(f' {verb} ', f' {verb} not ', 1)}"
            break


def spoiled(texts: tuple[str, ...]) -> list[str]:
    rng = random.Random(0)
    return [reply for text in texts for reply in mutated(text, rng)]


def rejected(text: str, scene: Scene = SCENE) -> str:
    return sense.without_sense(text, scene)[0]


def talk(*pairs: tuple[str, str]) -> Parsed | Rejected:
    text = "\n".join(f"Question:\n{question}\n===\nAnswer:\n{answer}\n===" for question, answer in pairs)
    return parse("conversation", Completion(text), SCENE)


def test_good_replies_are_kept() -> None:
    assert [text for text in GOOD if rejected(text)] == []


def test_every_reply_without_sense_that_was_written_down_is_rejected() -> None:
    assert [text for text in WRITTEN if not rejected(text)] == []


def test_nine_of_ten_spoiled_replies_are_rejected() -> None:
    replies = spoiled(GOOD)
    assert len(replies) >= 30
    assert sum(bool(rejected(reply)) for reply in replies) >= 0.9 * len(replies)


def test_the_reason_says_what_is_wrong() -> None:
    assert rejected(WRITTEN[0]) == sense.CONTRADICTS
    assert rejected(WRITTEN[6]) == sense.COPIED
    assert rejected(WRITTEN[11]) == REPEATS
    assert not rejected(CAPTIONS[0])  # one caption may well be an answer
    assert not rejected("Is the dog brown? No, the dog is not brown. It is white.")
    assert not rejected("There is a cup on the left. There is no cup on the right.")
    assert not rejected("There are two people near the bus. There are three people on the bench.")


def test_turns_that_say_the_same_or_contradict_each_other() -> None:
    same = "The dog runs over the wet grass behind a ball."
    result = talk(("What is shown?", same), ("What is it about?", same))
    assert isinstance(result, Rejected)
    assert result.reason == REPEATS
    result = talk(("What is shown?", same), ("What is it about?", same), ("Who watches?", "Two children."))
    assert isinstance(result, Parsed)
    assert "repeated answer dropped" in result.repairs
    result = talk(("Is it wet?", "Yes, the grass is wet."), ("Can one sit there?", "Yes. The grass is not wet."))
    assert isinstance(result, Rejected)
    assert result.reason == sense.CONTRADICTS


def test_a_reply_that_was_cut_because_it_repeats_itself_is_rejected_as_such() -> None:
    text = "Question:\nWhat is shown?\n===\nAnswer:\nA dog on wet grass.\n==="
    result = parse("conversation", Completion(text, REPEATS), SCENE)
    assert isinstance(result, Rejected)
    assert result.reason == REPEATS == "repeats itself"
    assert isinstance(
        parse("conversation", Completion(f"{text}\n" * 9), SCENE), Rejected
    )  # of a service with no stream


def real() -> tuple[str, ...]:
    """GPT-4's replies: the published examples, and the answers of two benchmarks."""
    texts = [path.read_text() for path in sorted(DATA.glob("llava_prompts/*/*_conv.txt"))]
    for name, field in (
        ("coco/qa90_gpt4_answer", "text"),
        ("coco/coco2014_val_gpt4_qa_30x3", "output"),
        ("wild/answers_gpt4", "text"),
    ):
        rows = (DATA / "llava_bench" / f"{name}.jsonl").read_text().splitlines()
        texts += [json.loads(row)[field] for row in rows]
    answers = (answer.split("===")[0].strip() for text in texts for answer in text.split("Answer:\n")[-99:])
    return tuple(dict.fromkeys(answer for answer in answers if answer and not answer.startswith("Question:")))


@pytest.mark.skipif(not (DATA / "llava_bench").is_dir(), reason="the benchmark's answers are not here")
def test_real_replies_are_kept_and_what_is_made_of_them_is_not() -> None:
    texts = real()
    assert len(texts) > 170
    assert len([text for text in texts if rejected(text)]) <= 0.01 * len(texts)
    replies = spoiled(tuple(text for text in texts if len(sentences(text)) > 2))
    found = sum(bool(rejected(reply)) for reply in replies)
    assert len(replies) > 400
    assert found >= 0.9 * len(replies)
