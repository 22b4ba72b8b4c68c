"""The relations that hold in the world, for questions that take thinking about a photograph.

A row says what must be certain (things that boxes and captions agree on, and words that captions have), what one may
ask then, and the answer: its ground in the picture first, then what follows. General knowledge, as anybody has it.
"""

from __future__ import annotations

from dataclasses import dataclass

from seetell.rules.photos.mentions import PERSON


@dataclass(frozen=True, slots=True)
class Reason:
    """`things` are cut at commas, all of them needed, one of those between bars; `words` is a shape that `least`
    captions have; `without` is one that none has; `scene` is a place, a game, an hour or a weather."""

    question: str
    answer: str
    things: str = ""
    words: str = ""
    least: int = 2
    without: str = r"(?!)"
    scene: str = ""


VEHICLES = "car|bus|truck|motorcycle"
FOOD = "pizza|sandwich|cake|broccoli|hot dog|donut"
REASONS = (
    Reason(
        "What should the drivers here be careful about?",
        "The road is wet, so tyres grip less than usual and it takes longer to stop. The drivers should go "
        "slowly and keep more distance from the vehicle in front of them.",
        VEHICLES,
        r"\bwet\b|rain",
        scene="rainy",
    ),
    Reason(
        "Why is it dangerous to go fast here?",
        "It is foggy, so nobody can see far ahead. Whatever is on the road comes into view late, and somebody"
        " who goes fast could not stop in time.",
        VEHICLES,
        r"\bfog",
    ),
    Reason(
        "How should one dress for this place, and why?",
        "There is snow on the slope, so it must be cold. Warm clothes that keep the wet out, with gloves and "
        "a hat, would be right.",
        "skis|snowboard|",
        r"snow|ski",
        without=r"sand|beach",
        scene="ski slope|snowy slope",
    ),
    Reason(
        "What does the one in the air have to do right in the next moment?",
        "The jump ends on the snow, so the landing matters most: the skis have to point downhill and the "
        "knees have to bend, to take up the shock.",
        "skis",
        r"jump|\bair\b|flies|flying|aerial",
    ),
    Reason(
        "What is likely to happen next?",
        "A batter stands ready with a bat, so the pitcher will throw the ball, and the batter will try to hit it.",
        "baseball bat",
        r"batter|swing|pitch",
        scene="baseball",
    ),
    Reason(
        "What is likely to happen next?",
        "The pitcher is getting ready to throw, so the ball will fly towards the batter, who will try to hit it.",
        "",
        r"pitcher|pitch\b",
        without=r"swing|batter|runs",
        scene="baseball",
    ),
    Reason(
        "What is the glove good for in this game?",
        "In baseball the ball is hard and comes fast. The glove protects the hand and makes the ball easier to catch.",
        "baseball glove",
        scene="baseball",
    ),
    Reason(
        "What will the player probably have to do right after this?",
        "The player is serving, so the ball will go over the net and may come back. The player has to get "
        "ready at once to return it.",
        "tennis racket",
        r"serv(?:e|es|ing)",
        scene="tennis",
    ),
    Reason(
        "What does it take to be good at what is going on here?",
        "Tennis is being played, and that takes quick feet to reach the ball, a good eye, a sure hand with "
        "the racket, and stamina, since a match can last for hours.",
        PERSON,
        r"tennis",
        without=r"pos(?:e|es|ing)|stand",
        scene="tennis",
    ),
    Reason(
        "Why could the dog not simply walk away?",
        "It is tied up, so it can only go as far as the line lets it. Somebody tied it there, "
        "so its owner is probably close by and will come back for it.",
        "dog",
        r"tied|leashed",
    ),
    Reason(
        "What can be said about the wind, and why?",
        "A kite is being flown, and a kite only stays up in moving air. So there must be at least a steady breeze.",
        "kite",
        r"fl(?:y|ying|ies)",
        without=r"kitchen|\broom\b",
    ),
    Reason(
        "What might these people be celebrating?",
        "There is a birthday cake on the table, so it is probably somebody's birthday. Perhaps they are "
        "waiting until the cake is cut.",
        f"cake,{PERSON}",
        r"birthday",
        without=r"poster",
    ),
    Reason(
        "What are the people here probably about to do?",
        "They are at an airport and have luggage with them, so they are most likely travelling: either they "
        "are on their way to a flight, or they have just arrived.",
        PERSON,
        r"luggage|baggage|\bbags\b",
        scene="airport",
    ),
    Reason(
        "Is this meal ready to be eaten?",
        "It looks like it: the food has been served, and there is cutlery beside it to eat it with.",
        f"{FOOD},fork|knife|spoon",
        r"plate|bowl|table",
        without=r"stove|oven|market",
    ),
    Reason(
        "What is going to happen at this table?",
        "The table is set with plates and cups, but nobody is eating yet. So people will probably sit down to"
        " a meal soon.",
        "dining table",
        r"\bset (?:for|with|up)\b|place settings",
    ),
    Reason(
        "What is this desk probably used for?",
        "There is a laptop on the desk with a keyboard beside it, so it is probably used for work at the "
        "computer, such as writing.",
        "laptop,keyboard",
        r"\bdesk\b",
        without=r"\bcat\b",
    ),
    Reason(
        "What trouble could the cat cause here?",
        "The cat is right beside the laptop. If it walked over the keys it would type letters that nobody "
        "wanted, and it might push something off the table.",
        "cat,laptop",
        r"laptop|computer",
    ),
    Reason(
        "What trouble could the cat cause here?",
        "The cat is right beside the keyboard. If it stepped on the keys, it would type letters that nobody wanted.",
        "cat,keyboard",
        r"keyboard",
    ),
    Reason(
        "How could somebody without a car get around here?",
        "There is a bus on the street, so there is public transport: one could walk to the next stop and take a bus.",
        "bus",
        r"\bbus(?:es)?\b",
        scene="street|city street",
    ),
    Reason(
        "Why have the people stopped walking?",
        "They want to cross the street at an intersection, and cars may be passing. It is safe to go only "
        "when the light changes, so they wait.",
        PERSON,
        r"wait(?:ing)? to cross|wait to|stop light|crosswalk",
        scene="street",
    ),
    Reason(
        "What does the driver have to do before going on?",
        "There is a stop sign. The driver has to come to a full stop, let others pass who have the right of "
        "way, and go on only when the road is free.",
        "stop sign,car|truck|bus",
        r"stop sign",
    ),
    Reason(
        "Why should nobody park a car right at this spot?",
        "There is a fire hydrant. If a fire breaks out, firefighters need to get at it at once, so the place "
        "in front of it has to stay free.",
        "fire hydrant",
        r"hydrant",
    ),
    Reason(
        "What do these riders have to be good at?",
        "They are riding horses, so they need good balance, and they have to guide the animals calmly with "
        "reins and legs. A horse that is frightened could throw them off.",
        f"horse,{PERSON}",
        r"rid(?:e|es|ing|ers)|horseback",
    ),
    Reason(
        "What has probably been done shortly before?",
        "A sheep stands beside a pile of wool, so it has probably just been shorn.",
        "sheep",
        r"\bwool\b|shorn|shaved",
    ),
    Reason(
        "Could somebody still use these toilets?",
        "No. The toilets are broken and stand out in the open, where no pipes bring water to them or take it "
        "away. They were probably thrown out.",
        "toilet",
        r"broken",
        without=r"bathroom",
    ),
    Reason(
        "Why would a helmet and pads be a good idea here?",
        "Tricks on a skateboard often go wrong, and the ground is hard. A helmet and pads would keep a fall "
        "from ending in a serious injury.",
        "skateboard",
        r"trick|jump|\bair\b|ramp",
    ),
    Reason(
        "Why does it take practice to do this?",
        "A skateboard rolls away easily under the feet. Whoever rides it has to keep the weight over the "
        "board and steer by leaning, and that needs balance.",
        f"skateboard,{PERSON}",
        r"rid(?:e|es|ing)",
        without=r"trick|jump",
    ),
    Reason(
        "What does the net tell about this place?",
        "The bed is covered by a mosquito net, so there are probably mosquitoes here, as in many warm "
        "regions. The net keeps them away from people who sleep.",
        "bed",
        r"mosquito|\bnet\b|netting",
    ),
    Reason(
        "Could somebody prepare a whole meal here?",
        "Yes. There is a stove to cook on and a sink for washing, so one could prepare the food, cook it and "
        "clean up afterwards.",
        "oven,sink",
        r"\bstove",
        1,
        scene="kitchen",
    ),
    Reason(
        "Could somebody prepare a whole meal here?",
        "Yes. There is a stove to cook on, and the refrigerator keeps what one needs for it fresh.",
        "oven,refrigerator",
        r"\bstove",
        1,
        scene="kitchen",
    ),
    Reason(
        "What needs to be done before this room is as it should be?",
        "Parts of the shower are broken or missing, and water could get into the wall there. So the wall and "
        "its tiles should be repaired first.",
        "",
        r"broken wall|missing tile|fixed up|shabby",
        scene="bathroom",
    ),
    Reason(
        "What are the buses here probably for?",
        "They stand beside airplanes at an airport, so they probably take passengers between the terminal and"
        " the planes.",
        "airplane,bus",
        r"airport|tarmac",
        scene="airport",
    ),
    Reason(
        "What must be special about this airplane?",
        "It is on the water and does not sink, so it must have floats or a hull like a boat, and it can "
        "probably start and land on water.",
        "airplane",
        r"\bwater\b|\blake\b",
        without=r"flying",
    ),
    Reason(
        "Why would somebody choose to sit down here?",
        "The bench stands outdoors with trees to look at, so it is a good place to rest for a while and enjoy"
        " the view.",
        "bench",
        r"\btrees?\b",
        without=r"statue|sculpture",
    ),
    Reason(
        "What are the umbrellas good for here?",
        "The tables stand outside near the beach, where there is little shade."
        " Under the umbrellas people can sit without being burnt by the sun.",
        "umbrella,dining table",
        r"beach|patio",
        scene="beach",
    ),
    Reason(
        "What could be the occasion?",
        "A ribbon is being cut with a large pair of scissors. That is usually done in public when something "
        "new is opened, such as a shop, a road or a building.",
        f"scissors,{PERSON}",
        r"ribbon",
    ),
    Reason(
        "Are these bananas ready to be eaten?",
        "They are yellow, and bananas turn from green to yellow when they ripen. So they are probably ripe.",
        "banana",
        r"yellow bananas",
        1,
        without=r"cake|phone",
    ),
    Reason(
        "Why does each suitcase need a tag?",
        "There are many suitcases in one place, and some look much alike. A tag says whose it is and where it"
        " belongs, so that nobody takes the wrong one.",
        "suitcase",
        r"\btags?\b",
    ),
    Reason(
        "Where might the owner of the bicycle be?",
        "The bicycle is parked and nobody is riding it. Its owner has probably gone somewhere on foot nearby "
        "and will come back for it.",
        "bicycle",
        r"(?:bike|bicycle)s? (?:is )?(?:parked|rests)|parked bikes",
        without=r"rid(?:ing|er)",
    ),
    Reason(
        "Is this animal living in the wild?",
        "Probably not. The elephant is in a pen, and wild elephants roam freely. People keep it and feed it, "
        "perhaps in a zoo.",
        "elephant",
        r"\bpen\b|enclosure|exhibit",
    ),
    Reason(
        "What would the horses find to eat here?",
        "They are out on grass, and grass is what horses naturally eat. So they can graze where they are.",
        "horse",
        r"grass|meadow",
        scene="grassy place",
    ),
    Reason(
        "Why might he not notice what goes on around him?",
        "He is talking on the phone, so his mind is on the one he is talking to. People on the phone easily "
        "overlook what happens near them.",
        "cell phone",
        r"\bman\b.*(?:phone|cellphone)",
    ),
    Reason(
        "Is this more likely a match or an ordinary practice?",
        "It is more likely a match, because a crowd has come to watch. Few people come to see an ordinary practice.",
        PERSON,
        r"crowd|spectators|in the stands",
        1,
        scene="tennis|baseball",
    ),
    Reason(
        "What might be the use of the clock at this place?",
        "The clock hangs on the outside of a building, so everybody who passes can see what time it is.",
        "clock",
        r"building",
    ),
    Reason(
        "What should be kept in mind by somebody who comes across this animal?",
        "A bear is strong and can run faster than people do. One should keep far away, move back slowly, and "
        "never feed it.",
        "bear",
        r"bear",
    ),
    Reason(
        "Why do the lights stand out so clearly?",
        "It is evening, so the sky is getting dark, and lamps that would hardly be noticed by day are then "
        "easy to see.",
        "traffic light",
        r"lights?",
        scene="evening",
    ),
    Reason(
        "Why is it good that the two animals are calm?",
        "Cats often hunt birds, and here a cat and a bird eat next to one another. If the cat grew playful or"
        " hungry for more, the bird would be in danger.",
        "cat,bird",
        r"eating|dinner|feeding",
    ),
    Reason(
        "What does this animal seem to be used to?",
        "Somebody is riding on the elephant, and it lets that happen. So it seems to be tame and used to people.",
        f"elephant,{PERSON}",
        r"riding|rider",
    ),
)
