"""The built-in teacher: it reads the prompt alone, and what it writes is true of the scene, not only of the prompt."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from seetell.ask.chat import ChatModel, Message
from seetell.generate.prompts import KINDS, Kind, PromptSet
from seetell.generate.write import write_conversations_of
from seetell.rules.drawn.short import WORDINGS
from seetell.rules.drawn.talk import OVERVIEWS
from seetell.rules.read import read_facts
from seetell.rules.teacher import RulesTeacher
from seetell.rules.words import COLOURS, DRAWN_KINDS, PLACE_PHRASES, PLACES, number, plural
from seetell.sources.drawn import layout as drawn_layout
from seetell.sources.drawn import words as drawn_words
from seetell.sources.drawn.layout import HELD_OUT_PAIRS, Layout, make_layout
from seetell.sources.drawn.questions import HELD_OUT
from seetell.types import Box, Conversation, Image, Scene

DATA = Path(__file__).parents[3] / "shared" / "data"
SCENES = 1000


def scene_of(layout: Layout) -> Scene:
    """A drawn scene without its picture: nothing here opens one."""
    told = drawn_words.captions(layout, layout.things, random.Random(layout.id))
    boxes = tuple(Box(thing.kind, *edges_of(thing), crowd=False) for thing in layout.things)
    return Scene(layout.id, told, boxes, Image("drawn.png"), 96, 96)


def edges_of(thing: drawn_layout.Thing) -> tuple[float, float, float, float]:
    half_width, half_height = thing.width / 2, thing.height / 2
    return thing.x - half_width, thing.y - half_height, thing.x + half_width, thing.y + half_height


LAYOUTS = [make_layout("train", index) for index in range(SCENES)]


def written(kind: Kind, layouts: list[Layout]) -> Iterator[tuple[Layout, list[tuple[str, str]]]]:
    results = write_conversations_of(map(scene_of, layouts), {kind: 1}, RulesTeacher(HELD_OUT_PAIRS))
    for layout, result in zip(layouts, results, strict=True):
        assert isinstance(result, Conversation), result
        yield layout, pairs_of(result)


def pairs_of(conversation: Conversation) -> list[tuple[str, str]]:
    texts = [turn.text for turn in conversation.turns]
    return list(zip(texts[::2], texts[1::2], strict=True))


# What is true of a layout, found again from the layout by code that shares nothing with the teacher's.

PLACE_OF = {phrase: place for place, phrases in drawn_words.PLACE_PHRASES.items() for phrase in phrases}
COUNTS = {word: count for count, word in enumerate(drawn_words.NUMBERS)} | {"a": 1, "an": 1, "no": 0}
SINGULAR = {drawn_words.plural(kind): kind for kind in drawn_layout.KINDS} | {kind: kind for kind in drawn_layout.KINDS}


def matching(words: str, layout: Layout) -> list[drawn_layout.Thing]:
    """The things that `the large red car` or `red things` or `cat at the top left` can mean."""
    found = list(layout.things)
    for phrase in sorted(PLACE_OF, key=len, reverse=True):
        if words.endswith(phrase):
            found = [thing for thing in found if thing.place == PLACE_OF[phrase]]
            words = words.removesuffix(phrase).strip()
            break
    for word in words.split():
        if word in drawn_layout.COLOURS:
            found = [thing for thing in found if thing.colour == word]
        elif word in drawn_layout.SIZES:
            found = [thing for thing in found if thing.size == word]
        elif word in SINGULAR:
            found = [thing for thing in found if thing.kind == SINGULAR[word]]
        else:
            assert word in ("a", "an", "the", "thing", "things", "one"), f"{word!r} in {words!r} is not understood"
    return found


def the_one(words: str, layout: Layout) -> drawn_layout.Thing:
    found = matching(words, layout)
    assert len(found) == 1, f"{words!r} means {len(found)} things"
    return found[0]


def pattern(wording: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(wording)))


SHAPES = [(type, wording, pattern(wording)) for type, wordings in WORDINGS.items() for wording in wordings]


@cache
def shape_of(question: str) -> tuple[str, str, dict[str, str]]:
    """The wording that leaves the fewest words to its gaps."""
    fitting = (
        (type, wording, shape.fullmatch(question)) for type, wording, shape in SHAPES if question[0] == wording[0]
    )
    told = [(type, wording, found.groupdict()) for type, wording, found in fitting if found]
    return min(told, key=lambda shape: sum(map(len, shape[2].values())))


def true_answer(question: str, layout: Layout) -> tuple[str, str]:
    """The answer that the layout gives, and the question's shape."""
    type, wording, said = shape_of(question)
    match type:
        case "existence":
            return ("yes" if matching(said["a"], layout) else "no"), wording
        case "count":
            return drawn_words.NUMBERS[len(matching(said["plural"], layout))], wording
        case "colour" | "colour at":
            return the_one(said.get("kind") or said["place"], layout).colour, wording
        case "kind" | "kind at":
            return the_one(said.get("colour") or said["place"], layout).kind, wording
        case "place":
            return the_one(said["thing"], layout).place, wording
        case _:
            one, other = the_one(said["one"], layout), the_one(said["other"], layout)
            way = "column" if type == "columns" else "row"
            assert getattr(one, way) != getattr(other, way)
            words = ("left", "right") if type == "columns" else ("above", "below")
            return words[getattr(one, way) > getattr(other, way)], wording


def test_short_answers_are_true_of_the_scene_and_many_in_shape() -> None:
    shapes: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    types: Counter[str] = Counter()
    wrong = []
    for layout, pairs in written("short", LAYOUTS):
        assert len({question for question, _ in pairs}) == len(pairs)
        for question, answer in pairs:
            true, shape = true_answer(question, layout)
            shapes[shape] += 1
            answers[answer] += 1
            types[shape_of(question)[0].split()[0]] += 1
            wrong += [(layout, question, answer)] * (true != answer)
    assert not wrong
    assert len(shapes) >= 40
    assert sum(answers.values()) >= 7.5 * SCENES
    assert 0.45 < answers["yes"] / (answers["yes"] + answers["no"]) < 0.55
    relation = types["columns"] + types["rows"]
    assert min(*(types[type] for type in ("existence", "count", "colour", "kind", "place")), relation) > 0.9 * SCENES


def test_held_out_wordings_and_pairs_are_never_written() -> None:
    held_out = [pattern(wording) for wordings in HELD_OUT.values() for wording in wordings]
    for kind in KINDS:
        for _, pairs in written(kind, LAYOUTS[:100]):
            for question, answer in pairs:
                assert not any(shape.fullmatch(question) for shape in held_out), question
                for kind_of, colour in HELD_OUT_PAIRS:
                    assert not re.search(rf"\b{colour} {kind_of}\b", f"{question} {answer}")


PHRASE = rf"(?:{'|'.join(sorted(map(re.escape, PLACE_OF), key=len, reverse=True))})"
NAME = r"(?:an? |the )?(?:(?:small|medium|large) )?(?:[a-z]+ )?[a-z]+"
SKY = {
    "clear": r"clear",
    "rain": r"rain(?:ing|y)?",
    "snow": r"snow(?:ing|s)|snow is falling|falling snow",
    "fog": r"fog",
}
HOUR = {"day": r"it is day\b|by day|in the daytime", "evening": r"evening|dusk", "night": r"\bnight\b"}
GROUND = {"grass": "grass|meadow", "sand": "sand", "street": "street|road",
          "snow": "snow on the ground|full of snow|snow (carries|is cold)|on the snow|snowy ground",
          "water": r"water everywhere|water to cross|\blake|water below|on the water"}  # fmt: skip


def false_claims(text: str, layout: Layout) -> Iterator[str]:
    """The statements of some prose that the layout contradicts, or that are not understood."""
    claims: list[tuple[str, bool]] = []
    low = text.lower()
    for said in re.finditer(rf"\b(an? [a-z ]*?[a-z]+) (?:is )?({PHRASE})", low):
        claims.append((said[0], bool(matching(f"{said[1].split(' is ')[-1]} {said[2]}", layout))))
    for said in re.finditer(rf"({PHRASE}) there is (an? [a-z ]+?)(?=[,.]| and )", low):
        claims.append((said[0], bool(matching(f"{said[2]} {said[1]}", layout))))
    for said in re.finditer(
        r"\bthe ([a-z ]*?) is (to the left of|to the right of|above|below) the ([a-z ]+?)(?=[,.])", low
    ):
        one, other = the_one(said[1], layout), the_one(said[3], layout)
        true = {"to the left of": one.column < other.column, "to the right of": one.column > other.column,
                "above": one.row < other.row, "below": one.row > other.row}[said[2]]  # fmt: skip
        claims.append((said[0], true))
    for said in re.finditer(
        r"\b(no|one|two|three|four|five|six|an?) (?:(?:small|medium|large) )?((?:[a-z]+ )?[a-z]+)", low
    ):
        words = said[2].split()
        if words[-1] not in SINGULAR and words[0] in SINGULAR:
            words = words[:1]
        if all(word in SINGULAR or word in drawn_layout.COLOURS for word in words) and words[-1] in SINGULAR:
            there, count = len(matching(" ".join(words), layout)), COUNTS[said[1]]
            true = there >= 1 if said[1] in ("a", "an") else there == count
            claims.append(
                (
                    said[0],
                    true
                    or bool(
                        re.search(rf"(?:not see|no,).*{said[0]}|a {words[-1]}, but|take an umbrella|need a lamp", low)
                    ),
                )
            )
    for said in re.finditer(
        rf"\bthe ((?:[a-z]+ )?[a-z]+) is ({'|'.join((*drawn_layout.COLOURS, *drawn_layout.SIZES))})\b", low
    ):
        thing = the_one(said[1], layout)
        claims.append((said[0], said[2] in (thing.colour, thing.size)))
    for said in re.finditer(r"\b(\w+) of them are (\w+)|because (\w+) are (\w+) and", low):
        counted, word = (said[1], said[2]) if said[1] else (said[3], said[4])
        claims.append((said[0], len(matching(word, layout)) == COUNTS[counted]))
    for said in re.finditer(r"the ([a-z ]+) is the largest", low):
        claims.append((said[0], all(the_one(said[1], layout).width >= thing.width for thing in layout.things)))
    for said in re.finditer(
        r"(on the left|in the middle between left and right|on the right),? because (.*) things are there", low
    ):
        column = ("on the left", "in the middle between left and right", "on the right").index(said[1])
        claims.append(
            (said[0], COUNTS[said[2].replace("all ", "").split()[0]] == sum(t.column == column for t in layout.things))
        )
    if "nothing here is alive" in low:
        claims.append((low, not {thing.kind for thing in layout.things} & {"cat", "dog", "bird", "fish", "person"}))
    for truth, table in ((layout.weather, SKY), (layout.time, HOUR), (layout.ground, GROUND)):
        for name, shape in table.items():
            if name != truth and (said := re.search(shape, low)) and not _meant_otherwise(said[0], low, layout):
                claims.append((f"{said[0]!r} of {name}", False))
    return (f"{claim!r} of {layout.id}: {text}" for claim, true in claims if not true)


def is_short(question: str) -> bool:
    """Whether a short answer would do, too."""
    other = question in OVERVIEWS or re.search("weather|time of day|sort of place|as seen from|in relation", question)
    return not other and any(shape.fullmatch(question) for _, _, shape in SHAPES)


def agrees(answer: str, true: str, shape: str) -> bool:
    """Whether a sentence gives the answer that is true in short."""
    low = answer.lower().rstrip(".")
    if true in PLACES and shape in WORDINGS["place"]:
        return any(low.endswith(f" {phrase}") for phrase, place in PLACE_OF.items() if place == true)
    return re.search(rf"\b{true}\b", low) is not None


def _meant_otherwise(said: str, text: str, layout: Layout) -> bool:
    """Words for weather, hour and ground that speak of something else here."""
    if said == "snow" and layout.ground == "snow":
        return True
    return (
        "neither rain nor snow" in text or ("clear things away" in text) or ("enough light" in text and said == "night")
    )


@pytest.mark.parametrize("kind", ["conversation", "detail", "complex"])
def test_prose_says_nothing_that_the_scene_contradicts(kind: Kind) -> None:
    wrong: list[str] = []
    for layout, pairs in written(kind, LAYOUTS):
        for question, answer in pairs:
            wrong += false_claims(answer, layout)
            if is_short(question):
                wrong += [f"{question} {answer}"] * (not agrees(answer, *true_answer(question, layout)))
    assert not wrong, f"{len(wrong)}: {wrong[:5]}"


def test_the_check_of_prose_finds_what_is_false() -> None:
    layout = LAYOUTS[0]
    thing = layout.things[0]
    elsewhere = next(place for place in PLACE_OF if PLACE_OF[place] != thing.place)
    other_weather = next(name for name in ("rain", "fog") if name != layout.weather)
    for false in (
        f"A {thing.colour} {thing.kind} is {elsewhere}.",
        f"There are {number(5)} {plural(thing.kind)}.",
        f"{elsewhere} there is a {thing.colour} {thing.kind}.",
        {"rain": "It is raining.", "fog": "There is fog in the air."}[other_weather],
    ):
        assert list(false_claims(false, layout)), false


def test_the_lexicon_agrees_with_the_drawn_scenes() -> None:
    assert set(COLOURS) == set(drawn_layout.COLOURS)
    assert set(DRAWN_KINDS) == set(drawn_layout.KINDS)
    assert PLACES == drawn_layout.PLACES
    assert dict(zip(PLACES, PLACE_PHRASES, strict=True)) == drawn_words.PLACE_PHRASES
    assert all(plural(kind) == drawn_words.plural(kind) for kind in drawn_layout.KINDS)


def test_captions_are_read_word_by_word_and_boxes_by_number() -> None:
    for layout in LAYOUTS[:100]:
        facts = read_facts(PromptSet.load().messages("detail", scene_of(layout)))
        assert sorted((t.kind, t.colour, t.size, PLACES[t.cell]) for t in facts.things) == sorted(
            (t.kind, t.colour, t.size, t.place) for t in layout.things
        )
        assert (facts.ground, facts.time, facts.weather) == (layout.ground, layout.time, layout.weather)
        assert len(facts.regions) == len(layout.things)


def test_captions_that_disagree_are_not_taken_for_the_whole_truth() -> None:
    told = "A red car on the left.\nA red car on the right."
    assert not read_facts([Message("user", told)]).things
    assert read_facts([Message("user", "A red car on the left.\nA small red car at the left side.")]).things
    assert not read_facts(
        [Message("user", "A red car on the left.\nA red car on the left.\n\ndog: [0.1, 0.2, 0.3, 0.4]")]
    ).things


def test_the_same_prompt_has_the_same_reply_and_reads_only_text() -> None:
    teacher = RulesTeacher()
    assert isinstance(teacher, ChatModel)
    messages = PromptSet.load().messages("short", scene_of(LAYOUTS[1]))
    first = asyncio.run(teacher.complete(messages))
    assert first == RulesTeacher().reply(messages)
    assert first.text != teacher.reply([Message("system", messages[0].content + " "), *messages[1:]]).text


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_that_says_nothing_gets_an_empty_reply(kind: Kind) -> None:
    system = PromptSet.load().prompts[kind].system
    assert RulesTeacher().reply([Message("system", system), Message("user", "")]).text == ""
