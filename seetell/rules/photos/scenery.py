"""What captions say of the whole picture: the sort of place, the hour and the weather, the game that is played.

A table has the words for a thing and what contradicts it. What one caption says and another contradicts is not said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from seetell.rules.photos.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Saying:
    """`shape` finds it in a caption, `against` finds what speaks against it; `least` captions have to say it."""

    name: str
    shape: str
    against: str = r"(?!)"
    least: int = 2


PLACES = (
    Saying("kitchen", r"kitchens?", r"classroom|bathroom|bedroom|living room|diorama|toy|lego"),
    Saying("bathroom", r"bath ?rooms?|rest ?room|shower room", r"closet|kitchen|bedroom"),
    Saying("bedroom", r"bed ?rooms?", r"kitchen|bathroom|hut|living room"),
    Saying("living room", r"living room", r"kitchen|bedroom|office"),
    Saying("dining room", r"dining room", r"restaurant|kitchen"),
    Saying("airport", r"airports?"),
    Saying("beach", r"beach", r"lake|river|street|pool"),
    Saying("tennis court", r"tennis court|clay court|blue court|on a court"),
    Saying("skate park", r"skate ?park", r"street"),
    Saying("baseball field", r"baseball (?:field|game)|home plate|playing baseball", r"tennis"),
    Saying("ski slope", r"ski slope|skiing down|slope", r"snow ?board|hillside"),
    Saying("snowy slope", r"snowy (?:hill|slope)|down a slope", r"\bskis?\b|skiing"),
    Saying("city street", r"city street|city road|street corner|city intersection", r"beach"),
    Saying("street", r"street|road|crosswalk", r"beach|field|park\b"),
    Saying("field", r"fields?\b", r"street|court|beach|forest|woods"),
    Saying("park", r"\bpark\b", r"skate|street|city"),
    Saying("forest", r"forest|woods", r"street|beach"),
    Saying("grassy place", r"grass|grassy|meadow|lawn", r"street|court|beach|slope|concrete|sidewalk"),
)  # fmt: skip
SPORTS = (
    Saying("tennis", r"tennis", r"baseball|soccer|badminton"),
    Saying("baseball", r"baseball|batter|pitcher", r"tennis|soccer|cricket"),
    Saying("frisbee", r"frisbees?"),
    Saying("a video game", r"video ?games?|game controller"),
)
TIMES = (
    Saying("night", r"at night|night scene|night time", r"sunny|daytime|during the day|dusk|twilight", 1),
    Saying("evening", r"dusky?|twilight|evening|sunset", r"sunny|night\b|midday|dark of night", 1),
    Saying("day", r"sunny day|during the day|daytime|clear day|sunny", r"night|dusk|twilight|sunset|evening", 1),
)
WEATHERS = (
    Saying("sunny", r"sunny", r"rain|fog|cloudy|snow|grey sky|gray sky|overcast", 1),
    Saying("foggy", r"foggy?|misty?", r"sunny|clear", 1),
    Saying("rainy", r"\brain\b|rainy|raining|rain covered|wet (?:day|road|street)", r"sunny|clear|fog", 1),
)
SNOW = Saying("snow", r"snow(?!\s?board)|snowy", r"sand|beach", 1)


def holds(evidence: Evidence, saying: Saying) -> bool:
    texts = [" ".join(words) for words in evidence.words]
    said = sum(re.search(rf"\b(?:{saying.shape})(?![a-z])", text) is not None for text in texts)
    return said >= max(1, min(saying.least, len(texts))) and not any(re.search(saying.against, text) for text in texts)


def the_one(evidence: Evidence, sayings: tuple[Saying, ...]) -> str:
    """The first of the sayings that holds; empty where none does."""
    return next((saying.name for saying in sayings if holds(evidence, saying)), "")


def place_of(evidence: Evidence) -> str:
    return "" if evidence.depicted and "mirror" not in evidence.all_words else the_one(evidence, PLACES)


def sport_of(evidence: Evidence) -> str:
    return the_one(evidence, SPORTS)


def weather_of(evidence: Evidence) -> str:
    return the_one(evidence, WEATHERS)


def time_of(evidence: Evidence) -> str:
    return the_one(evidence, TIMES)
