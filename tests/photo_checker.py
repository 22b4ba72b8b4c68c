"""A checker of statements about photographs: it reads them out of questions and answers and looks each up in the scene.

It shares no table with the built-in teacher, whose rows it is for: its vocabulary is its own and smaller.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from seetell.types import Box, Scene

Pairs = list[tuple[str, str]]

# The checker's own English.
NUMBERS = {
    word: n
    for n, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
}
OTHER_WORDS = {
    "man": "person", "men": "person", "woman": "person", "women": "person", "boy": "person", "boys": "person",
    "girl": "person", "girls": "person", "child": "person", "children": "person", "people": "person",
    "player": "person", "skateboarder": "person", "bicyclist": "person", "persons": "person",
    "stove": "oven", "stoves": "oven", "microwave oven": "microwave", "microwave ovens": "microwave",
    "remote control": "remote", "television": "tv", "computer mouse": "mouse", "phone": "cell phone",
    "phones": "cell phone", "table": "dining table", "tables": "dining table", "pair of scissors": "scissors",
    "pair of skis": "skis", "ball": "sports ball", "balls": "sports ball", "knives": "knife",
    "hair dryer": "hair drier",
}  # fmt: skip
# What captions may call a thing, beyond its own name: for the checker alone.
SYNONYMS = {
    "person": "man men woman women boy boys girl girls child children kid kids guy guys lady people player players "
    "batter pitcher skier skateboarder snowboarder rider riders equestrians baby adult adults family someone cop "
    "biker bicyclist baker presenter dwellers audience crowd",
    "airplane": "plane planes jet jets airliner seaplane biplane", "bicycle": "bike bikes", "car": "taxi cab sedan",
    "motorcycle": "motor motorbike", "couch": "sofa", "tv": "television", "cell phone": "cellphone smartphone",
    "dog": "poodle puppy", "cat": "kitten", "oven": "stove stoves", "refrigerator": "fridge icebox", "cup": "mug",
    "suitcase": "luggage", "handbag": "purse purses", "bird": "seagull geese goose pigeons vultures peacocks turkeys "
    "parakeet canary", "sheep": "lamb goat goats", "sandwich": "panini hamburger hamburgers", "truck": "pickup",
    "donut": "doughnut", "toilet": "commode", "cow": "cattle bull", "horse": "pony horeses", "boat": "ship canoe",
}  # fmt: skip
LABELS = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
]
FORMS = {form: label for label in LABELS for form in (label, label + "s", label + "es")} | OTHER_WORDS
NOUN = "(" + "|".join(sorted(map(re.escape, FORMS), key=len, reverse=True)) + r")(?![\w-])"
SPOT = r"(?:on the|in the) (?:(upper|lower) )?(?:(left|right) )?(?:(middle)|side|part) of the picture"
BEFORE = rf"\b(a|an|{'|'.join(NUMBERS)}|many) ((?:[a-z-]+ )??){NOUN}"
MEN, WOMEN = r"\b(?:man|men|boys?|he|him|his|guys?)\b", r"\b(?:woman|women|girls?|she|her|lady|ladies)\b"


class Truth:
    """A scene as the checker reads it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.captions = [" ".join(caption.lower().split()) for caption in scene.captions]
        self.said = " ".join(self.captions)
        self.boxes = Counter(box.label for box in scene.boxes)
        self.crowds = {box.label for box in scene.boxes if box.crowd}

    def spoken_of(self, label: str) -> bool:
        words = [label, *(form for form, meant in FORMS.items() if meant == label), *SYNONYMS.get(label, "").split()]
        return any(re.search(rf"\b{re.escape(word)}s?\b", self.said) for word in words)

    def numbers(self, form: str) -> set[int]:
        """Numbers that captions put before the word or before another word for the same."""
        forms = [other for other, label in FORMS.items() if label == FORMS[form]]
        found = re.findall(
            rf"\b({'|'.join(NUMBERS)}|no|\d) (?:[a-z]+ )?(?:{'|'.join(map(re.escape, forms))})\b", self.said
        )
        return {0 if word == "no" else NUMBERS.get(word) or int(word) for word in found}

    def one(self, form: str) -> Box | None:
        boxes = [box for box in self.scene.boxes if box.label == FORMS[form]]
        return boxes[0] if len(boxes) == 1 and not boxes[0].crowd else None


def contradictions(pairs: Pairs, scene: Scene) -> tuple[list[str], int]:
    """What the scene does not bear out, and how many statements were looked up."""
    truth, wrong, looked_up = Truth(scene), list[str](), 0
    for question, answer in pairs:
        for claim, true in claims_of(question, answer.lower(), truth):
            looked_up += 1
            wrong += [f"{scene.id}: {claim!r} in {question!r} {answer!r}"] * (not true)
    text = " ".join(f"{question} {answer}" for question, answer in pairs).lower()
    wrong += [f"{scene.id}: {claim}" for claim in inconsistent(text, truth)]
    return wrong, looked_up


def claims_of(question: str, answer: str, truth: Truth) -> Iterator[tuple[str, bool]]:
    asked = question.lower()
    if found := re.match(rf"(?:is|are) there (?:an?|any) {NOUN}|(?:do|can) you see (?:an?|any) {NOUN}", asked):
        form = found[1] or found[2]
        yield asked, holds(truth, form) if answer.startswith("yes") else absent(truth, form)
    for found in re.finditer(rf"\bno {NOUN}|not see an? {NOUN}", answer):
        form = found[1] or found[2]
        yield found[0], absent(truth, form)
    if "nobody can be seen" in answer:
        yield "nobody", absent(truth, "people")
    positive = re.sub(rf"\bno {NOUN}|not see an? {NOUN}", "", answer)
    for found in re.finditer(BEFORE, positive):
        word, form = found[1], found[3]
        after = positive[found.end() :]
        if form == "orange" and re.match(" [a-z]", after):  # the colour
            continue
        if found[2].strip() in ("and", "of", "or", "with", "in") or re.match(
            r" (?:tree|park|stop|court|player)", positive[found.end() :]
        ):
            continue
        yield found[0], holds(truth, form) and counted(truth, word, form)
    for found in re.finditer(rf"\bthe {NOUN} (?:is|are) {SPOT}|\ban? {NOUN} {SPOT}", answer):
        form, row, column, middle = found.groups()[:4] if found[1] else found.groups()[4:]
        yield found[0], placed(truth, form, row, column, middle)
    way = r"(to the left of|to the right of|higher up in the picture than|lower in the picture than)"
    subject = re.search(rf"^is the {NOUN} (?:to the|higher|lower)", asked)
    for found in re.finditer(rf"\b(?:the {NOUN}|it) is {way} the {NOUN}", answer):
        yield found[0], related(truth, found[1] or (subject[1] if subject else ""), found[2], found[3])
    if (found := re.search(rf"^is the {NOUN} {way} the {NOUN}", asked)) and " or " not in asked:
        yield asked, related(truth, *found.groups()) == answer.startswith("yes")
    if (found := re.match(rf"how many {NOUN}", asked)) and (n := re.search(rf"\b({'|'.join(NUMBERS)})\b", answer)):
        yield asked, truth.boxes[FORMS[found[1]]] == NUMBERS[n[1]]


def holds(truth: Truth, form: str) -> bool:
    """A box marks it, and no caption denies it; where there is no box at all, captions must speak of it."""
    label = FORMS[form]
    return 0 not in truth.numbers(form) and (
        truth.boxes[label] > 0 or (label == "dining table" and "table" in truth.said)
    )


def absent(truth: Truth, form: str) -> bool:
    return not truth.boxes[FORMS[form]] and not truth.spoken_of(FORMS[form])


def counted(truth: Truth, word: str, form: str) -> bool:
    boxes, label = truth.boxes[FORMS[form]], FORMS[form]
    if word in ("a", "an"):
        return True
    if word == "many":
        return boxes >= 7
    return boxes == NUMBERS[word] and label not in truth.crowds and truth.numbers(form) <= {NUMBERS[word]}


def placed(truth: Truth, form: str, row: str | None, column: str | None, middle: str | None) -> bool:
    box = truth.one(form)
    if not box:
        return False
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    across = {"left": x < 0.4, "right": x > 0.6, None: not middle or 0.4 < x < 0.6}[column]
    return across and {"upper": y < 0.4, "lower": y > 0.6, None: not middle or 0.35 < y < 0.65}[row]


def related(truth: Truth, form: str, way: str, other: str) -> bool:
    one, two = truth.one(form) if form else None, truth.one(other)
    if not one or not two:
        return False
    true = {
        "to the left of": one.x1 <= two.x0,
        "to the right of": one.x0 >= two.x1,
        "higher up in the picture than": one.y1 <= two.y0,
        "lower in the picture than": one.y0 >= two.y1,
    }
    return true[way]


def inconsistent(text: str, truth: Truth) -> Iterator[str]:
    """What contradicts itself: two numbers of one thing, and a sex that captions do not agree on."""
    counts: dict[str, set[str]] = {}
    for word, _, form in re.findall(rf"\b({'|'.join(list(NUMBERS)[2:])}) ((?:[a-z]+ )?){NOUN}", text):
        counts.setdefault(FORMS[form], set()).add(word)
    yield from (f"{label}: {' and '.join(words)}" for label, words in counts.items() if len(words) > 1)
    said = {sex for sex, shape in (("m", MEN), ("f", WOMEN)) if re.search(shape, truth.said)}
    told = {sex for sex, shape in (("m", MEN), ("f", WOMEN)) if re.search(shape, text)}
    if told and (told - said or (len(said) > 1 and told)):
        yield f"the sex {told} where captions say {said}"
