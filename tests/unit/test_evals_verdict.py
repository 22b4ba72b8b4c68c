"""Judge replies of real shapes are read as they were meant or refused with a reason; none is misread."""

from __future__ import annotations

import random
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.evals.verdict import Refused, read_grade, read_pair

# {a} and {b} are the scores of Assistant 1 and Assistant 2.
SHAPES = (
    "{a} {b}",
    "{a} {b}\nBoth answers are helpful, but Assistant 2 names 3 more details.",
    "{a}, {b}",
    "{a},{b}\nAssistant 1 is accurate.",
    "{a}/10 {b}/10",
    "{a}/10, {b}/10\nThe first answer is short.",
    "{a}; {b}",
    "({a}, {b})",
    "[{a}, {b}]\nThe order did not matter.",
    "**{a} {b}**\n\nAssistant 1 gave 2 wrong colors.",
    "`{a} {b}`",
    "### {a} {b}\n1. Helpfulness: both fine.\n2. Accuracy: Assistant 2 is better.",
    "Scores: {a} {b}",
    "Score: {a}, {b}\nExplanation: there are 4 people in the picture.",
    "**Scores:** {a} {b}",
    "Final scores: {a} and {b}.",
    "{a} and {b}",
    "Assistant 1: {a}\nAssistant 2: {b}",
    "Assistant 1: {a}/10\nAssistant 2: {b}/10\n\nAssistant 1 misses the dog.",
    "**Assistant 1:** {a}/10\n**Assistant 2:** {b}/10",
    "Assistant 1: {a}/10 Assistant 2: {b}/10",
    "- Assistant 1: {a}\n- Assistant 2: {b}",
    "Assistant 1 Score: {a}\nAssistant 2 Score: {b}",
    "Assistant 1's score: {a}, Assistant 2's score: {b}",
    "Score for Assistant 1: {a}\nScore for Assistant 2: {b}",
    "Assistant 2: {b}\nAssistant 1: {a}",
    "Assistant 1 receives a score of {a}, while Assistant 2 receives a score of {b}.",
    "I would give Assistant 1 a score of {a} and Assistant 2 a score of {b}, since it names 3 things.",
    "I'd give Assistant 1 a {a} and Assistant 2 a {b}.",
    "{a} out of 10 for Assistant 1 and {b} out of 10 for Assistant 2.",
    "Assistant 1 ({a}/10) is brief. Assistant 2 ({b}/10) is thorough.",
    "Assistant 1 - {a}\nAssistant 2 - {b}",
    "Assistant 1 gets {a}/10 because it is right; Assistant 2 gets {b}/10 because it is not.",
    "Both assistants looked at the same 5 captions. Assistant 2 invents a cat.\n\n{a} {b}",
    "After comparing the two answers with the context, here is my rating.\n\n{a}, {b}\n\nAssistant 1 was better.",
    "Here are the scores:\n\n{a} {b}\n\nThe first assistant names two dogs.",
    '{{"assistant_1": {a}, "assistant_2": {b}}}',
    '```json\n{{"Assistant 1": {a}, "Assistant 2": {b}}}\n```',
    "{a}\n{b}",
    "{a}/10\n{b}/10\nAssistant 1 is good.",
    "{a} | {b}",
    "  {a}   {b}  \r\nFine.",
    "{a} {b}.",
    "Ratings: Assistant 1 = {a}, Assistant 2 = {b}",
    "The first assistant: {a}. The second assistant: {b}.",
    "{a} points for Assistant 1, {b} points for Assistant 2",
    "$\\text{{Assistant 1}}: {a}$, Assistant 2: {b}",
    "Overall score: {a} {b}",
)
REFUSED = (
    "",
    "   \n",
    "I am sorry, but I cannot help with that.",
    "Assistant 1 is better.",
    "8",
    "8/10",
    "Both assistants receive a score of 8.",
    "8 9 7",
    "8 9\n\n9 8",
    "-1 -1",
    "11 9",
    "80 90",
    "Assistant 1: 8\nAssistant 2 did not answer.",
    "Assistant 1: 8, then again Assistant 1: 6. Assistant 2: 7.",
    "Assistant 1 gets 2 details wrong and Assistant 2 gets 3 details wrong.",
    "<html><body>502 Bad Gateway</body></html>",
    "[Context] there are 2 dogs and 3 cats",
    "N/A N/A",
    "eight nine",
    "8-9",
)


def replies() -> list[tuple[str, tuple[float, float]]]:
    rng = random.Random(0)
    halves = [number / 2 for number in range(2, 21)]
    written = {half: f"{half:g}" for half in halves}
    found: list[tuple[str, tuple[float, float]]] = []
    for shape in cycle(SHAPES):
        if len(found) == 300 - len(REFUSED):
            return found
        a, b = rng.choice(halves), rng.choice(halves)
        text = shape.format(a=written[a], b=written[b])
        found.append((text, (a, b)))
    raise AssertionError


def test_300_replies_are_read_or_refused_and_none_misread() -> None:
    read = misread = 0
    for text, meant in replies():
        found = read_pair(text)
        read += found == meant
        misread += found != meant and not isinstance(found, Refused)
        if isinstance(found, Refused):
            assert found.reason
    accepted = [text for text in REFUSED if not isinstance(read_pair(text), Refused)]
    assert misread == 0
    assert not accepted
    assert read >= 0.99 * len(replies())


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_read(shape: str) -> None:
    for a, b in ((8, 9), (10, 7.5), (6.5, 10), (1, 10), (10, 10)):
        assert read_pair(shape.format(a=f"{a:g}", b=f"{b:g}")) == (a, b)


@pytest.mark.parametrize(
    ("text", "pair"),
    [("8,5 7", (8.5, 7)), ("8½ 9", (8.5, 9)), ("9,5 7,5\nGut.", (9.5, 7.5)), ("8.0 7.0", (8, 7)), ("0 10", (0, 10))],
)
def test_halves_and_decimal_commas(text: str, pair: tuple[float, float]) -> None:
    assert read_pair(text) == pair


@given(st.text())
def test_any_text_gives_a_pair_on_the_scale_or_a_reason(text: str) -> None:
    found = read_pair(text)
    assert found.reason if isinstance(found, Refused) else all(0 <= score <= 10 for score in found)


@pytest.mark.parametrize(
    "text",
    [
        "Assistant 1: 7-8\nAssistant 2: 9",
        "Assistant 1: 7 – 8, Assistant 2: 8 – 9",
        "Assistant 1: 8, maybe 9\nAssistant 2: 7",
        "1 2\nAssistant 1: 8, Assistant 2: 9",
        "8 9\nAssistant 1: 9\nAssistant 2: 8",
    ],
)
def test_a_verdict_of_more_than_two_numbers_is_refused(text: str) -> None:
    assert isinstance(read_pair(text), Refused)


@pytest.mark.parametrize(
    "text", ["<score>8 9</score>", "8  9 - since the second is right", "8 (Assistant 1)\n9 (Assistant 2)"]
)
def test_a_verdict_in_tags_or_with_names_behind_it_is_read(text: str) -> None:
    assert read_pair(text) == (8, 9)


@pytest.mark.parametrize(
    ("text", "grade"),
    [("0.5", 0.5), ("Correctness: 0.7", 0.7), ("1", 1.0), ("The score is 0.0.", 0.0), ("**0.3**\n", 0.3)],
)
def test_grades(text: str, grade: float) -> None:
    assert read_grade(text) == grade


@pytest.mark.parametrize("text", ["", "good", "7", "0.5 or 0.6", "0.5-0.6", "-", "-0.5"])
def test_no_grade(text: str) -> None:
    assert isinstance(read_grade(text), Refused)
