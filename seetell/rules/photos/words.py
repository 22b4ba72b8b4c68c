"""The English that captions are read with: verbs in their forms, and the words that an answer may repeat.

A word of a caption that is not known here, and that no second caption has, may be a slip of the pen ("a tog"), so a
phrase with it is never repeated.
"""

from __future__ import annotations

from seetell.rules.photos.nouns import CATEGORIES, PEOPLE, plural_of, word_set

COLOURS = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white", "black", "grey", "gray", "tan",
)  # fmt: skip
CLOTHES = (
    "shirt", "t-shirt", "jacket", "coat", "hat", "cap", "dress", "suit", "apron", "shorts", "pants", "jeans", "sweater",
    "helmet", "uniform", "clothing",
)  # fmt: skip
PLURAL_CLOTHES = ("shorts", "pants", "jeans", "clothing")
NUMBER_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "2": 2, "3": 3, "4": 4, "5": 5, "6": 6, "7": 7, "8": 8, "9": 9, "both": 2,
}  # fmt: skip
MANY = word_set(
    """
    several many lots numerous various multiple group bunch bunches rows row pile lot number few
    """
)
NONE = word_set("no without zero missing empty")

_VERBS = """
ride riding|hold holding|sit sitting|stand standing|walk walking|run running|play playing|fly flying|jump jumping
look looking|eat eating|talk talking|take taking|pose posing|ski skiing|surf surfing|skate skating|watch watching
wait waiting|cross crossing|drive driving|travel traveling|lie lying|lay laying|rest resting|lean leaning|cut cutting
pet petting|carry carrying|pull pulling|push pushing|swing swinging|throw throwing|catch catching|hit hitting
serve serving|pitch pitching|prepare preparing|cook cooking|make making|work working|write writing|read reading
drink drinking|smile smiling|gallop galloping|swim swimming|graze grazing|sleep sleeping|perform performing
do doing|balance balancing|feed feeding|share sharing|chase chasing|kneel kneeling|check checking|use using
approach approaching|follow following|slide sliding|glide gliding|bend bending|wear wearing|tow towing
snowboard snowboarding|skateboard skateboarding|deliver delivering|return returning|float floating|peel peeling
wash washing|brush brushing|open opening|turn turning|reach reaching|climb climbing|dance dancing|herd herding
""".replace("\n", "|").strip("|")  # fmt: skip
ING: dict[str, str] = {}
for _pair in _VERBS.split("|"):
    _base, _ing = _pair.split()
    _s = _base + ("es" if _base.endswith(("sh", "ch", "s", "do")) else "s")
    if _base.endswith("y") and _base[-2] not in "aeiou":
        _s = _base[:-1] + "ies"
    ING[_ing] = ING[_s] = ING[_base] = _ing
ING["travelling"] = "traveling"
PLACED = {"sitting", "standing", "lying", "laying", "resting", "leaning", "floating", "kneeling"}
STATES = word_set(
    """
    parked perched tied leashed seated mounted placed surrounded attached stacked docked
    """
)
PREPOSITIONS = word_set(
    """
    on in at by under above behind beside near along down up over across through onto inside outside against
    among around between with next front of to from beneath underneath off into
    """
)
PLACE_STARTS = (
    "on", "in", "at", "by", "under", "behind", "beside", "near", "inside", "between", "next to", "in front of",
    "on top of", "underneath", "surrounded by", "near by",
)  # fmt: skip
STOPS = word_set(
    """
    while as that which who when before after because where there if but so whose and, with, 's during
    """
)
_FUNCTION = word_set(
    """
    a an the his her its their some another other each one and or it itself himself herself them
    top front side back next to of
    """
)
_NOUNS = word_set(
    """
    table desk counter kitchen bathroom bedroom room living dining floor wall walls window windows door doorway
    shelf lamp street road sidewalk city town corner intersection crosswalk curb highway path pavement parking
    lot bridge building buildings fence gate pole post rail sign beach sand ocean sea shore shoreline water lake
    river wave waves surf rock rocks field grass meadow hill hillside mountain mountains slope snow forest woods
    tree trees bush bushes flower flowers garden park yard pen cage enclosure zoo dirt ground sky cloud clouds
    court net stadium game match ball base plate plates mound ramp pipe rail trick tricks air camera picture
    photo photos phone computer monitor monitors video games screen controller suit hat shirt jacket coat pants
    shorts uniform apron leash rope ribbon string bag bags luggage airport terminal tarmac runway gate gates
    station platform track tracks food meal lunch dinner breakfast fruit rice meat noodles bread salad cheese
    sauce soup vegetables beans potatoes soda coffee tea wine water drink drinks glass glasses dish dishes tray
    pan pans pot pots napkin napkins cabinets stove mirror shower tub bathtub curtain carpet blanket pillows
    sheets bed couch box basket bucket buckets hand hands arms arm head face back mouth ear trunk pile row group
    crowd skatepark concrete cement wood platform tower bench shelter statue train traffic tennis baseball
    soccer frisbee day night sunset rain fog shade umbrella umbrellas notepad notebook paper papers book home
    office classroom restaurant market store shop shops barn farm wool fur nose headphones wires cords
    conference lecture
    """
)
_ADJECTIVES = word_set(
    """
    big small large little long short tall high low old young new white black red green blue yellow brown orange
    purple pink grey gray tan wooden metal stone brick glass plastic dirty clean empty full busy crowded sandy
    grassy snowy wet dry dark bright sunny cloudy foggy rainy open closed round square steep dirt modern city
    coffee computer tennis baseball video home public outdoor patterned shallow lush green rocky paved
    cobblestone stuffed fresh close together professional beautiful cute happy
    """
)
KNOWN = (
    _FUNCTION
    | _NOUNS
    | _ADJECTIVES
    | PREPOSITIONS
    | frozenset(ING)
    | STATES
    | frozenset(COLOURS)
    | frozenset(CLOTHES)
    | frozenset(PEOPLE)
    | frozenset(
        word
        for category in CATEGORIES.values()
        for name in category.names
        for form in (name, plural_of(name))
        for word in form.split()
    )
)
ADJECTIVES = _ADJECTIVES | frozenset(COLOURS)
