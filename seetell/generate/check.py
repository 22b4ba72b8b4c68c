"""What must not stand in a conversation, whoever wrote it.

Each check names what is wrong, in the phrase that reports count by, or says nothing. A leak shows that the writer had
text and no picture; a control token or a role's name would be read by a chat template as structure; a thing
that neither captions nor boxes have was made up.
"""

from __future__ import annotations

import re
from functools import lru_cache

from seetell.types import Scene

LEAK = "leak"
COORDINATES = "coordinates"
REFUSAL = "refusal"
CONTROL = "control token"
ROLE = "role word"
ABSENT = "absent thing"

_CONTROL = re.compile(
    r"</?(?:s|image|img|video|vision|unk|pad|bos|eos|mask|im_\w+|start_of_\w+|end_of_\w+|[a-z]+_token|[a-z]+_pad)>"
    r"|<\|[^|<>\n]{1,40}\|?>|<｜[^｜<>\n]{1,40}｜>|\[/?(?:INST|IMG|SYSTEM_PROMPT)\]|<</?SYS>>|^[^\S\n]*#{3,}",
    re.IGNORECASE | re.MULTILINE,
)
_ROLE = re.compile(
    r"^[^\w\n]*(?:user|assistant|human|system|gpt|bot|ai)\W{0,4}:|(?-i:USER|ASSISTANT|\bHUMAN|\bSYSTEM|\bGPT)\s*:",
    re.IGNORECASE | re.MULTILINE,
)
_FORMAT = re.compile(
    r"^[^\w\n]*(?:question|answer|q|a)[ \t]{0,3}#?\d{0,2}\W{0,4}[:\uff1a]|^[^\S\n]*=+[^\S\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
_FRACTION = r"[01]?\.\d+"
_COORDINATES = re.compile(
    rf"[\[(]\s*{_FRACTION}\s*,\s*{_FRACTION}|\b{_FRACTION}(?:(?:\s*[,;]\s*|\s+){_FRACTION}){{2}}"
    rf"|\b(?:span|extend|stretch|reach)(?:s|es|ing)? (?:from |between )?0?\.\d+ (?:to|and) {_FRACTION}(?!\d|\s*[a-z%])"
    r"|\b[xy][012]\s*[=:]|\b0\.\d{3}\b",
    re.IGNORECASE,
)
_GIVEN = r"(?:provided|given|supplied|listed)"
_TEXTS = r"(?:captions?|sentences?|descriptions?)"
_SOURCE = rf"(?:{_TEXTS}|text|list|object list|labels?)"
_NOTES = r"(?:annotations?|information|context|data|details|detections?)"
_SOURCES = rf"(?:{_SOURCE}|{_NOTES}|bounding box(?:es)?)"
_SAYS = (
    r"(?:also |all |both )?(?:do(?:es)?(?: not|n't) )?"
    r"(?:say|state|mention|describe|indicate|suggest|note|show|include|list|specify|specifie|call|agree|mark)s?"
)
_THE = r"(?:the|these|those|this|your|its)"
_PICTURE = r"(?:image|picture|photo|photograph|scene)"
# A word on a T-shirt is no source: what follows says that it stands in the picture.
_NOT_PLACED = (
    r"(?! (?:(?:that is |which is )?(?:printed|written|painted|shown|displayed) )?"
    rf"(?:on|under|underneath|beneath|below|beside|above|next to|near) (?!(?:the|this) {_PICTURE}))"
)
_LEAK = re.compile(
    # boxes and their numbers
    rf"\bbounding[ -]?box|\bb-?box(?:es)?\b|\bobject detect(?:ions?|ors?)\b|\bdetected objects?\b"
    rf"|\bobjects? (?:that (?:was|were|is|are) )?detected\b|\bobject locations? {_GIVEN}\b"
    rf"|\b(?:the|these|those|object|box|its|their|by|normali[sz]ed|given|exact|[xy]) coordinates\b"
    rf"|\bthe box(?:es)? (?:{_SAYS} that|indicates?|suggests?)\b"
    rf"|\bthe box(?:es)? (?:around|enclosing|surrounding) (?:the|each)\b"
    # captions
    rf"|\b(?:the|these|those|this|your|my|its|their|one|two|three|four|five|each|every|another|other|all|both|most|some"
    rf"|several|many|which|with) (?:(?!word\b)\w+ )?captions{_NOT_PLACED}\b"
    rf"|\b(?:the|this|your|my|its|one|each|every|another|other|which) (?:(?!word\b)\w+ )?caption\b{_NOT_PLACED}"
    rf"|\bcaptions? {_SAYS}\b|\b(?:{_PICTURE}|it) (?:is|was|has been) captioned\b"
    # descriptions, sentences, texts, lists
    rf"|\b(?:the|image|{_THE}) descriptions? (?:(?:of|for) (?:the|this) {_PICTURE} )?{_SAYS}\b"
    rf"|\b(?:the|five|these) (?:five )?sentences\b{_NOT_PLACED}"
    rf"|\b(?:one|another|each|every|the (?:first|second|third|fourth|fifth|last)) sentence {_SAYS}\b"
    rf"|\bone of {_THE} (?:\w+ )?sentences\b{_NOT_PLACED}"
    rf"|\b(?:the|these) (?:\w+ )?(?:annotations?|detections|labels) (?:indicates?|{_SAYS})\b"
    rf"|\bthe text (?:describes|mentions|do(?:es)?(?: not|n't) (?:say|state|mention|specify))\b"
    rf"|\bobject list\b|\blist of (?:the )?objects\b"
    # what is said of them
    rf"|\b(?:provided|the {_GIVEN}) {_SOURCES}\b|\b{_TEXTS} (?:that (?:was|were|is|are) )?{_GIVEN}\b"
    rf"|\b(?:according to|based on|from) the {_NOTES} (?:that (?:was|were|is|are) )?{_GIVEN}\b"
    rf"|\b(?:according to|based on) {_THE} (?:\w+ )?(?:{_SOURCE}|annotations?|detections?)\b{_NOT_PLACED}"
    rf"|\baccording to the information\b{_NOT_PLACED}"
    rf"|\baccording to what (?:is|was) (?:written|{_GIVEN}|described)\b{_NOT_PLACED}"
    rf"|\b(?:from|in|given|judging (?:by|from)) {_THE} (?:\w+ )?(?:{_TEXTS}|annotations?)\b{_NOT_PLACED}"
    rf"(?! of (?!the {_PICTURE}))"
    rf"|\bas (?:described|mentioned|stated|noted) (?:in|by) {_THE} {_SOURCES}\b{_NOT_PLACED}"
    rf"|\bas (?:described|mentioned|stated)(?: above)?(?=[,.;])"
    rf"|\b(?:mentioned|stated|specified|described|indicated|noted|listed) (?:anywhere )?in (?:any of )?"
    rf"(?:the|these|any|your) (?:\w+ )?{_SOURCE}\b{_NOT_PLACED}"
    rf"|\bmention (?:is made )?of [^.!?]{{1,40}} in (?:any of )?{_THE} (?:\w+ )?{_SOURCE}\b{_NOT_PLACED}",
    re.IGNORECASE,
)
_OWN_WORD = re.compile(rf"{_SOURCE}|annotation|\bbox(?=(?:es)? (?:around|enclosing|surrounding))", re.IGNORECASE)
_REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model|text-based)\b"
    r"|^\W*(?:i(?:'m| am) (?:really |very |so )?sorry|sorry\b|i apologi[sz]e|unfortunately, i)"
    r"|\bi(?:'m| am) (?:\w+ )?(?:unable|not able) to\b|\bi (?:won't|will not|would not|wouldn't) be able to\b"
    r"|\bi(?:'ll| will| must| have to| need to) (?:\w+ )?decline\b"
    r"|\bi (?:can(?:'t|not| not)|do(?:n't| not) have the ability to) (?:\w+ )?"
    r"(?:see|view|help|assist|provide|answer|comply|fulfil?l?|describe|analy[sz]e|access|create|generate|process)\b",
    re.IGNORECASE,
)


def poison(text: str) -> str:
    """Structure that would be taken for a template's own: a control token, a role, or a marker of the format."""
    if _CONTROL.search(text):
        return CONTROL
    return ROLE if _ROLE.search(text) else ""


def has_format_marks(text: str) -> bool:
    """Whether a question or an answer still holds a separator or a marker."""
    return _FORMAT.search(text) is not None


def refuses(text: str) -> bool:
    return _REFUSAL.search(text) is not None


def leaks(text: str, scene: Scene) -> str:
    """The writer's sources showing through; a word that the captions themselves use is no leak."""
    if _COORDINATES.search(text):
        return COORDINATES
    found = _LEAK.search(text)
    if not found:
        return ""
    noun = _OWN_WORD.search(found[0].lower())
    return "" if noun and noun[0].removesuffix("s") in _words_of(scene) else LEAK


# Nouns that are looked for: the word, and what else in captions or labels makes it true. People go by too many names.
_KNOWN: dict[str, str] = {
    **dict.fromkeys(("bear", "zebra", "giraffe", "elephant", "sheep", "mouse", "fish", "mushroom", "balloon"), ""),
    **dict.fromkeys(("fire hydrant", "parking meter", "toothbrush", "hair drier", "toaster", "microwave"), ""),
    **dict.fromkeys(("surfboard", "skateboard", "snowboard", "frisbee", "kite", "tennis racket", "umbrella"), ""),
    **dict.fromkeys(("refrigerator", "toilet", "pizza", "broccoli", "banana", "hot dog", "scissors", "teddy bear"), ""),
    "dog": "puppy puppies pup hound",
    "cat": "kitten kittens kitty",
    "horse": "pony ponies foal",
    "cow": "cattle bull bulls calf calves ox oxen",
    "bird": "pigeon pigeons seagull seagulls gull gulls duck ducks parrot parrots goose geese owl chicken chickens "
    "hen hens rooster eagle crow swan swans flamingo",
    "airplane": "plane planes jet jets aircraft",
    "train": "locomotive railway subway tram",
    "bus": "coach",
    "boat": "ship ships yacht yachts canoe kayak sailboat sailboats ferry",
    "motorcycle": "motorbike motorbikes bike bikes scooter scooters moped",
    "bicycle": "bike bikes cyclist cyclists",
}
_PLURALS = {"mouse": "mice", "fish": "fish", "sheep": "sheep", "toothbrush": "toothbrushes", "bus": "buses"}
_NOUN_OF = {form: noun for noun in _KNOWN for form in (noun, _PLURALS.get(noun, noun + "s"))}
_NOUN = rf"({'|'.join(sorted(map(re.escape, _NOUN_OF), key=len, reverse=True))})"
_MENTION = re.compile(rf"\b{_NOUN}\b")
_THERE_IS = re.compile(
    r"\bthere (?:is|are) (?:also )?(?:a|an|one|two|three|four|five|six|some|several|many)(?: (?!no\b)[a-z]+){0,2}? "
    rf"{_NOUN}\b(?! (?:of|in shape|shape|print|statue|picture|toy|logo|pattern|stop|station))"
)
_IS_THERE = re.compile(
    rf"^(?:is|are) there (?:a|an|any|some|one)(?: [a-z]+)? {_NOUN}\b|^(?:do|can) you see [a-z ]*?{_NOUN}\b"
)
_NO = re.compile(r"^\W*(?:no|none|zero|0|nothing|nowhere|not)\b")


def absent(question: str, answer: str, scene: Scene, *, short: bool = False) -> str:
    """The noun of a thing that this pair says is there although the scene, which has boxes, does not hold it."""
    if not scene.boxes:
        return ""
    question, answer = question.lower(), answer.lower()
    said = [_NOUN_OF[found[1]] for found in _THERE_IS.finditer(answer)]
    if short and not _NO.match(answer):
        said += [_NOUN_OF[word] for word in (*_MENTION.findall(question), *_MENTION.findall(answer))]
    elif (found := _IS_THERE.match(question)) and answer.startswith("yes"):
        said.append(_NOUN_OF[found[1] or found[2]])
    return next((noun for noun in said if not _holds(scene, noun)), "")


def _holds(scene: Scene, noun: str) -> bool:
    known = _words_of(scene)
    if noun.split()[-1] in known or _PLURALS.get(noun, noun + "s").split()[-1] in known:
        return True
    return any(word in known for word in _KNOWN[noun].split())


@lru_cache(maxsize=8)
def _words_of(scene: Scene) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]+", " ".join((*scene.captions, *(box.label for box in scene.boxes))).lower()))
