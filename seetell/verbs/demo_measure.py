"""What the demo measures: first questions at every stage, then what a talk with the tuned model is like.

Later turns are the same questions asked second and third, with the model's own greedy replies before them. The same
turns without the picture stand beside them, since a true description can be read instead of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from seetell.console import progress
from seetell.evals import drawn as task
from seetell.evals import drawn_descriptions
from seetell.evals.drawn_talks import TURNS, Talk, first_turn, talks, without_picture
from seetell.generate.prompts import PromptSet
from seetell.infer.engine import Completion, Engine
from seetell.infer.sampling import Sampling
from seetell.model.device import pick_device
from seetell.sources.drawn.questions import TYPES
from seetell.sources.drawn.scenes import drawn_scenes
from seetell.sources.drawn.smalltalk import HELD_OUT
from seetell.train.recipe import Recipe
from seetell.train.start import stage_processor, start_model
from seetell.types import Answer, Conversation, Item, Turn

STAGES = ("before", "aligned", "tuned", "blind")
SHORT = Sampling(max_new_tokens=16)
LONG = Sampling(max_new_tokens=256)
SLOTS = 64


@dataclass
class Measured:
    """What each stage of the model said to the same questions, and what the tuned one says in a talk."""

    items: list[Item]
    unseen_questions: int
    answers: dict[str, dict[str, str]] = field(default_factory=dict)  # stage -> item id -> text
    accuracy: dict[str, task.Accuracy] = field(default_factory=dict)
    unseen: float = 0.0
    later: dict[str, float] = field(default_factory=dict)  # turn -> share right
    later_blind: dict[str, float] = field(default_factory=dict)
    later_after: dict[str, float] = field(default_factory=dict)  # what the second turn came after -> share right
    described: dict[str, tuple[str, str]] = field(default_factory=dict)  # scene -> the request, its description
    descriptions: Mapping[str, float | int] = field(default_factory=dict)
    small_talk: dict[str, str] = field(default_factory=dict)  # what was said -> the reply


class Talker:
    """A model that is talked with: greedy replies, many talks at a time, no turn answered twice."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[tuple[Turn, ...], Completion] = {}

    def replies(self, asked: Sequence[tuple[Turn, ...]], settings: Sampling) -> list[Completion]:
        """What is said to the last turn of each."""
        new = [turns for turns in dict.fromkeys(asked) if turns not in self._known]
        encode = self._engine.processor.encode_prompt
        prompts = (encode(Conversation(str(number), turns)) for number, turns in enumerate(new))
        for turns, reply in zip(new, self._engine.generate(prompts, settings), strict=True):
            assert isinstance(reply, Completion), reply  # drawn pictures open, and short talks fit the context
            self._known[turns] = reply
        return [self._known[turns] for turns in asked]

    def up_to_last(self, users: Sequence[tuple[Turn, ...]]) -> list[tuple[Turn, ...]]:
        """The talks, with a reply after every turn of the user but the last."""
        made = [turns[:1] for turns in users]
        for at in range(1, max(map(len, users), default=0)):
            replies = iter(self.replies([turns for turns, all in zip(made, users, strict=True) if len(all) > at], LONG))
            made = [
                (*turns, Turn("assistant", (next(replies).text,)), all[at]) if len(all) > at else turns
                for turns, all in zip(made, users, strict=True)
            ]
        return made


def measure(recipe: Recipe, out: Path, device: str, test_scenes: int, unseen_scenes: int) -> Measured:
    """Asks every stage of the model the same questions about scenes that no training drew, and talks with the last."""
    from seetell.model.weights import load_model

    items = task.items(test_scenes)
    unseen = [item for item in task.items(unseen_scenes, pairs="unseen") if item.facts["unseen"] == "yes"]
    measured = Measured(items, unseen_questions=len(unseen))
    assert recipe.tune is not None
    untrained = start_model(recipe, pick_device(device))
    processor = stage_processor(recipe.model, recipe.tune, untrained)

    def talker_of(folder: str) -> Talker:
        model = load_model(out / folder, device=pick_device(device)) if folder else untrained
        return Talker(Engine(model.eval(), processor, slots=SLOTS))

    with progress("measure", len(STAGES) + 4) as bar:

        def asked(talker: Talker, questions: Sequence[Item]) -> dict[str, str]:
            replies = talker.replies([(first_turn(item),) for item in questions], SHORT)
            bar.advance()
            return {item.id: reply.text for item, reply in zip(questions, replies, strict=True)}

        measured.answers["before"] = asked(talker_of(""), items)
        measured.answers["aligned"] = asked(talker_of("aligned"), items)
        talker = talker_of("model")
        measured.answers["tuned"] = asked(talker, items)
        measured.answers["blind"] = asked(talker, task.blind(items))
        measured.unseen = task.aggregate(unseen, _answers(asked(talker, unseen))).overall
        for part in (_describe, _ask_later, _small_talk):
            part(measured, talker)
            bar.advance()
    for stage, texts in measured.answers.items():
        measured.accuracy[stage] = task.aggregate(items, _answers(texts))
    return measured


def _requests(items: Sequence[Item]) -> dict[str, str]:
    """The words by scene in which its description is asked for: the teacher's requests take turns."""
    pool = PromptSet.load().detail_questions
    scenes = dict.fromkeys(item.group for item in items)
    return {scene: pool[number % len(pool)] for number, scene in enumerate(scenes)}


def _describe(measured: Measured, talker: Talker) -> None:
    requests = _requests(measured.items)
    one_each = {item.group: item for item in measured.items}
    turns = [(first_turn(one_each[scene], request),) for scene, request in requests.items()]
    replies = dict(zip(requests, talker.replies(turns, LONG), strict=True))
    measured.described = {scene: (requests[scene], reply.text) for scene, reply in replies.items()}
    drawn = {each.scene.id: each for each in drawn_scenes("held-out", len(requests))}
    measured.descriptions = drawn_descriptions.aggregate(
        drawn_descriptions.read(reply.text, reply.finish_reason, drawn[scene]) for scene, reply in replies.items()
    )


def _ask_later(measured: Measured, talker: Talker) -> None:
    for turn in TURNS:
        planned = talks(measured.items, turn, _requests(measured.items))
        conversations = talker.up_to_last([talk.users for talk in planned])
        replies = talker.replies(conversations, LONG)
        measured.later[turn] = _accuracy(planned, replies)
        blind = talker.replies([without_picture(turns) for turns in conversations], LONG)
        measured.later_blind[turn] = _accuracy(planned, blind)
        if turn == "second":
            by_way: dict[str, list[tuple[Talk, Completion]]] = {}
            for talk, reply in zip(planned, replies, strict=True):
                by_way.setdefault(talk.after[-1], []).append((talk, reply))
            measured.later_after = {way: _accuracy(*zip(*those, strict=True)) for way, those in by_way.items()}


def _accuracy(planned: Sequence[Talk], replies: Sequence[Completion]) -> float:
    """The fraction of right answers to the last turns."""
    said = {talk.item.id: reply.text for talk, reply in zip(planned, replies, strict=True)}
    return round(task.aggregate([talk.item for talk in planned], _answers(said)).overall, 6)


def _small_talk(measured: Measured, talker: Talker) -> None:
    """Without a picture: small talk in words that no training held, a request and a question."""
    said = [*(text for text, _ in HELD_OUT), "Describe the picture.", measured.items[0].question]
    replies = talker.replies([(Turn("user", (text,)),) for text in said], LONG)
    measured.small_talk = {text: reply.text for text, reply in zip(said, replies, strict=True)}


def summary(measured: Measured, seconds: Mapping[str, float], model: Path) -> dict[str, object]:
    """report.json: fractions, counts, seconds and where the model is."""
    accuracy = measured.accuracy
    return {
        "vqa_accuracy": {stage: round(accuracy[stage].overall, 6) for stage in STAGES},
        "later_turns": measured.later,
        "later_turns_blind": measured.later_blind,
        "second_turn_after": measured.later_after,
        "descriptions": dict(measured.descriptions),
        "small_talk": measured.small_talk,
        "by_type": {type: {stage: round(accuracy[stage].by_type[type], 6) for stage in STAGES} for type in TYPES},
        "unseen_pairs": {"tuned": round(measured.unseen, 6), "n_questions": measured.unseen_questions},
        "best_constant": {type: round(share, 6) for type, share in task.best_constant(measured.items).items()},
        "n_questions": len(measured.items),
        "n_scenes": len({item.group for item in measured.items}),
        "seconds": dict(seconds),
        "model": str(model),
    }


def as_table(measured: Measured) -> Table:
    table = Table(title=f"Right answers to {len(measured.items)} open questions about scenes never drawn in training")
    for column in ("questions", *STAGES):
        table.add_column(column, justify="left" if column == "questions" else "right")
    for type in TYPES:
        table.add_row(type, *(f"{measured.accuracy[stage].by_type[type]:.3f}" for stage in STAGES))
    table.add_row("all", *(f"{measured.accuracy[stage].overall:.3f}" for stage in STAGES), style="bold")
    table.add_row("pairs never shown", "", "", f"{measured.unseen:.3f}", "")
    for turn, share in measured.later.items():
        table.add_row(f"all, asked {turn}", "", "", f"{share:.3f}", f"{measured.later_blind[turn]:.3f}")
    said = measured.descriptions
    table.add_row("statements of descriptions that are true", "", "", f"{said['true']:.3f}", "")
    table.add_row("things that descriptions name", "", "", f"{said['named']:.3f}", "")
    return table


def _answers(texts: Mapping[str, str]) -> Iterator[Answer]:
    return (Answer(item_id, text) for item_id, text in texts.items())
