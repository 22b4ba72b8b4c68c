"""The ways in which the tiny language model is asked while it is pretrained.

A language model has met many ways to ask before anyone tunes it. The tiny one meets those of the questions, the others
here, and terse ones in drills; the held-out wordings of the test are in none of them.
"""

from __future__ import annotations

from seetell.sources.drawn.questions import WORDINGS

TERSE: dict[str, tuple[str, ...]] = {
    "existence": ("any {a}",),
    "count": ("number {plural}",),
    "colour": ("colour {kind}",),
    "kind": ("kind {colour}",),
    "kind at": ("kind {place}",),
    "place": ("place {thing}",),
    "columns": ("side {one} {other}",),
    "rows": ("height {one} {other}",),
}
SETTING: dict[str, tuple[str, ...]] = {
    "ground": ("What sort of place is this?", "What is the ground?", "Where is all this?", "What is on the ground?"),
    "time": ("What time of day is it?", "Is it day or night here?", "Which part of the day is it?"),
    "weather": ("How is the weather?", "What is the weather like?", "What weather do they have here?"),
}
SIZE = ("How big is the {kind}?", "Is the {kind} small, medium or large?", "What size is the {kind}?")
_OTHERS: dict[str, tuple[str, ...]] = {
    "existence": (
        "Does the scene show {a}?",
        "Does the picture have {a} in it?",
        "Tell me whether there is {a}.",
        "Is there {a} in the scene?",
        "Is {a} to be found here?",
        "Can {a} be seen?",
        "Is {a} shown here?",
        "Does it show {a}?",
        "There is {a}, yes or no?",
        "Is {a} to be seen here?",
        "Please say if you see {a}.",
    ),
    "count": (
        "How many {plural} does the scene have?",
        "Tell me how many {plural} there are.",
        "Please count the {plural}.",
        "How many {plural} are shown?",
        "Name the number of {plural}.",
        "Say how many {plural} you see.",
        "How many {plural} can be seen?",
        "What number of {plural} does the picture show?",
    ),
    "colour": (
        "Name the colour of the {kind}.",
        "Tell me which colour the {kind} has.",
        "Which colour is the {kind}?",
        "Say what colour the {kind} is.",
        "Tell me what colour the {kind} is.",
        "Please name the {kind}'s colour.",
        "The colour of the {kind} is what?",
        "What colour does the picture show the {kind} in?",
    ),
    "kind": (
        "Tell me which thing is {colour}.",
        "Say what is {colour}.",
        "What is {colour}?",
        "Name what is {colour}.",
        "Tell me what the {colour} thing is.",
        "The {colour} thing is what?",
        "What kind of thing is {colour}?",
        "Please name the thing that is {colour}.",
        "Tell me the name of the {colour} thing.",
    ),
    "kind at": (
        "Tell me what is {place}.",
        "Name what you see {place}.",
        "Say what is {place}.",
        "What is shown {place}?",
        "Which thing do you see {place}?",
        "What is the thing {place}?",
        "What does the picture show {place}?",
        "Please name the thing you see {place}.",
        "Tell me the name of the thing {place}.",
    ),
    "place": (
        "Say where the {thing} is.",
        "Tell me the place of the {thing}.",
        "Where in the picture is the {thing}?",
        "What is the place of the {thing}?",
        "Tell me where you see the {thing}.",
        "Name the place of the {thing}.",
        "Where is the {thing} to be seen?",
        "Where does the picture show the {thing}?",
        "Tell me in which part the {thing} is.",
        "Please say where you find the {thing}.",
    ),
    "columns": (
        "Is the {one} on the left or on the right of the {other}?",
        "Left or right of the {other}: where is the {one}?",
        "Tell me whether the {one} is left or right of the {other}.",
        "Do you find the {one} left or right of the {other}?",
        "Does the {one} lie left or right of the {other}?",
        "Seen from the {other}, is the {one} left or right?",
        "Do you see the {one} to the left or to the right of the {other}?",
    ),
    "rows": (
        "Does the picture show the {one} above or below the {other}?",
        "Above or below the {other}: where is the {one}?",
        "Tell me whether the {one} is above or below the {other}.",
        "Do you find the {one} above or below the {other}?",
        "Is the {one} to be found above or below the {other}?",
        "Seen from the {other}, is the {one} above or below?",
        "Do you see the {one} higher or lower than the {other}?",
    ),
}
WIDER = {key: WORDINGS[key] + others for key, others in _OTHERS.items()}
