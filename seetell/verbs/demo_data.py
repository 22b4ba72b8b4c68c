"""The demo's data: drawn scenes, captions to align on, and conversations that the built-in teacher writes about them.

All that is written about one picture becomes one conversation, in random order: short answers, a description, talk in
whole sentences and small talk take turns, so that every kind of question is also asked second and third.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from seetell.console import progress
from seetell.generate.prompts import Kind
from seetell.generate.write import write_conversations_of
from seetell.rules.teacher import RulesTeacher
from seetell.sources.coco import read_coco, write_coco
from seetell.sources.conversations import captions_as_pairs, write_conversations
from seetell.sources.drawn.layout import HELD_OUT_PAIRS
from seetell.sources.drawn.scenes import drawn_scenes
from seetell.sources.drawn.smalltalk import NO_PICTURE, small_talk
from seetell.types import Conversation, Rejected, Scene, Turn

CAPTIONS_EACH = 2  # of the five of a scene, to align on
# Of every scene short answers, which the test asks for; of some each of the paper's three kinds. Descriptions are what
# people ask for first, and what a small model repeats itself in without practice.
MIX: Mapping[Kind, float] = {"short": 1.0, "conversation": 0.15, "detail": 1.0, "complex": 0.1}
SMALL_TALK = 0.25  # the share of conversations with a greeting, thanks or a question who speaks
PICTURE_LATER = 0.5  # of those that begin with small talk: the picture comes with the turn after it
WITHOUT_PICTURE = 0.1  # conversations without a picture, as a share of the scenes

Exchange = tuple[Turn, Turn]  # what the user says, and the reply


def draw(folder: Path, count: int) -> None:
    """Draws the training scenes as a COCO data set."""
    with progress("draw scenes", count) as bar:

        def counted() -> Iterator[Scene]:
            for drawn in drawn_scenes("train", count):
                bar.advance()
                yield drawn.scene

        write_coco(folder, counted())


def write(folder: Path) -> dict[str, int]:
    """Writes `align.json` and `tune.json`; counts by kind what the teacher's replies gave and why others did not."""
    scenes = list(read_coco(folder / "captions.json", folder / "instances.json", folder / "images"))
    pairs = (pair for seed in range(CAPTIONS_EACH) for pair in captions_as_pairs(scenes, seed=seed))
    write_conversations(folder / "align.json", pairs, folder / "images")
    counts: Counter[str] = Counter()
    with progress("write conversations", len(scenes)) as bar:

        def kept() -> Iterator[Conversation]:
            for result in write_conversations_of(scenes, MIX, RulesTeacher(HELD_OUT_PAIRS), seed=0):
                if isinstance(result, Rejected):
                    counts[f"rejected: {result.reason}"] += 1
                else:
                    counts[result.source or "kept"] += 1
                    yield result

        def rows() -> Iterator[Conversation]:
            for _, parts in groupby(kept(), key=lambda conversation: conversation.images):
                bar.advance()
                yield from in_one(list(parts))

        write_conversations(folder / "tune.json", rows(), folder / "images")
    counts["align pairs"] = len(scenes) * CAPTIONS_EACH
    return dict(counts)


def in_one(parts: Sequence[Conversation]) -> Iterator[Conversation]:
    """One conversation about one picture out of several, and now and then one in which the picture is missing."""
    first = parts[0]
    rng = random.Random(f"in one:{first.id}")
    blocks = [block for part in parts for block in _blocks(part, rng)]
    rng.shuffle(blocks)
    exchanges = [exchange for block in blocks for exchange in block]
    shown_at = 0
    if rng.random() < SMALL_TALK:
        at = rng.choice((0, 0, rng.randint(0, len(exchanges))))
        shown_at = int(at == 0 and rng.random() < PICTURE_LATER)
        exchanges.insert(at, _exchange(*small_talk(rng)))
    user, reply = exchanges[shown_at]
    exchanges[shown_at] = (Turn("user", (*first.images, *user.parts)), reply)
    yield Conversation(first.id, tuple(turn for exchange in exchanges for turn in exchange), "one picture")
    if rng.random() < WITHOUT_PICTURE:
        asked = [user.text for block in blocks for user, _ in block]
        yield _without_picture(f"{first.id}-without-picture", asked, rng)


def _blocks(part: Conversation, rng: random.Random) -> list[list[Exchange]]:
    """The exchanges of a conversation, without its picture; a longer one in two parts, so that others come between."""
    turns = [Turn(turn.role, (turn.text.strip(),)) for turn in part.turns]
    exchanges = list(zip(turns[::2], turns[1::2], strict=True))
    cut = rng.randint(1, len(exchanges) - 1) if len(exchanges) > 3 else len(exchanges)
    return [block for block in (exchanges[:cut], exchanges[cut:]) if block]


def _without_picture(id: str, questions: Sequence[str], rng: random.Random) -> Conversation:
    """One to four turns of small talk and of these questions, with nothing to look at."""
    turns: list[Turn] = []
    for question in rng.sample(questions, min(len(questions), rng.randint(1, 4))):
        said, reply = small_talk(rng) if rng.random() < 0.5 else (question, NO_PICTURE)
        turns += _exchange(said, reply)
    return Conversation(id, tuple(turns), "no picture")


def _exchange(said: str, reply: str) -> Exchange:
    return Turn("user", (said,)), Turn("assistant", (reply,))
