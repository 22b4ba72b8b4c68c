"""The things that photographs are labelled with, and the words that people use for them in captions.

One row a category of COCO. `names` are words that mean such a thing and nothing else; `hints` are words that make
it doubtful that there is none (a street may hold a car that nobody mentions). `said` is the word for an answer.
General knowledge of English, as a language model has it; it says nothing about any one picture.
"""

from __future__ import annotations

from dataclasses import dataclass


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for tables that are lists of words."""
    return frozenset(text.split())


@dataclass(frozen=True, slots=True)
class Category:
    """A category; `group` gathers what one asks about in the same sort of place."""

    label: str
    said: str
    plural: str
    names: tuple[str, ...]
    hints: frozenset[str]
    group: str


_ROWS = """
bicycle||bicycle,bike,cycle|biker bicyclist cyclist biking cycling rider riding vehicles street|street
car||car,taxi,cab,sedan,minivan|vehicle traffic suv auto jeep van street road parking highway driving|street
motorcycle||motorcycle,motorbike,moped,motor bike|scooter biker bike bikes rider vehicles traffic street|street
airplane|airplane,airplanes|airplane,plane,jet,aircraft,airliner,seaplane,biplane|airport jetliner runway tarmac sky|big
bus|bus,buses|bus|traffic vehicle vehicles transit coach street road station|street
train||train,locomotive|railway rail subway tram station track tracks platform engine|big
truck||truck,pickup truck|lorry vehicle vehicles traffic van street road car trailer|street
boat||boat,ship,canoe,kayak,sailboat,yacht|water lake river harbor ocean sea dock sail marina bay ferry beach|big
traffic light||traffic light,stoplight,stop light,traffic signal|lights signal intersection street road|street
fire hydrant||fire hydrant,hydrant|street sidewalk curb|street
stop sign||stop sign|sign signs street road intersection|street
parking meter||parking meter|meter meters parking street|street
bench|bench,benches|bench|seat seats park sitting benches pew|street
bird||bird,pigeon,seagull,duck,goose,parrot,canary,vulture,turkey,peacock,hen,swan|animal animals owl crow|animal
cat||cat,kitten|animal animals pet catch kitty|animal
dog||dog,puppy,poodle|animal animals pet leash leashed|animal
horse||horse,pony|animal animals equestrian equestrians horseback carriage riders donkey|animal
sheep|sheep,sheep|sheep,lamb|animal animals goat goats wool herd farm|animal
cow||cow,bull|animal animals cattle herd farm calf ox|animal
elephant||elephant|animal animals zoo trunk|animal
bear||bear|animal animals zoo wild teddy grizzly|animal
zebra||zebra|animal animals zoo wild stripes|animal
giraffe||giraffe|animal animals zoo wild|animal
backpack||backpack,rucksack|bag bags pack luggage|carried
umbrella||umbrella,parasol|rain rainy canopy shade beach|carried
handbag||handbag,purse|bag bags luggage|carried
tie||tie,necktie|suit suits tied|carried
suitcase||suitcase|bag bags baggage luggage suit cases|carried
frisbee||frisbee|disc disk|sport
skis|skis,skis|skis|ski skiing skier skiers snow skiis|sport
snowboard||snowboard,snow board|snowboarding snowboarder snow board|sport
sports ball|ball,balls|soccer ball,tennis ball,baseball ball,basketball|ball balls|
kite||kite|flying sky string|sport
baseball bat||baseball bat,bat|batter baseball swing|sport
baseball glove||baseball glove,mitt|glove baseball catcher|sport
skateboard||skateboard,skate board|skateboarding skateboarder skate skating board boards|sport
surfboard||surfboard,surf board|surfing surfer board ocean wave waves beach|sport
tennis racket||tennis racket,tennis racquet,racquet,racket|tennis|sport
bottle||bottle|drink drinks wine beer soda|table
wine glass|wine glass,wine glasses|wine glass,glass of wine|glass glasses wine drinks|table
cup||cup,mug,coffee cup|drink drinks coffee tea glass glasses|table
fork||fork|silverware utensils cutlery|table
knife|knife,knives|knife|silverware utensils cutlery|table
spoon||spoon|silverware utensils cutlery|table
bowl||bowl|dish dishes plate plates|table
banana||banana|fruit fruits food|food
apple||apple|fruit fruits food|food
sandwich|sandwich,sandwiches|sandwich,panini,hamburger,burger|food lunch bread meal|food
orange||orange slice|fruit fruits food orange oranges|
broccoli|broccoli,broccoli|broccoli|vegetable vegetables greens food|food
carrot||carrot|vegetable vegetables food|food
hot dog||hot dog|food sausage|food
pizza||pizza|food pie pies zone|food
donut||donut,doughnut|food dessert pastry cookies|food
cake||cake,birthday cake|food dessert birthday pastry|food
chair||chair|seat seats furniture patio sits sitting seated|room
couch|couch,couches|couch,sofa|seat furniture living sitting|room
potted plant||potted plant,house plant|plant plants flowers flower pot tree vase|room
bed||bed|bedroom furniture pillows bedside|room
dining table|table,tables|dining table,dining room table,kitchen table,table|furniture desk patio counter|
toilet||toilet,commode|bathroom restroom rest tolet|room
tv|television,televisions|tv,television|screen monitor monitors video game living|room
laptop||laptop,laptop computer,macbook,macbook laptop|computer computers desk|room
mouse|computer mouse,computer mice|mouse,computer mouse|computer computers desk laptop|room
remote|remote control,remote controls|remote,remote control|controller living tv game wii|room
keyboard||keyboard,computer keyboard|computer computers desk laptop keys|room
cell phone|phone,phones|cell phone,cellphone,smart phone,smartphone,phone|telephone camera|carried
microwave|microwave oven,microwave ovens|microwave,microwave oven|kitchen appliances oven|kitchen
oven|oven,ovens|oven,stove,stove top oven|kitchen appliances cooker|kitchen
toaster||toaster|kitchen appliances oven|kitchen
sink||sink|bathroom kitchen restroom faucet room|kitchen
refrigerator||refrigerator,fridge,icebox,refrigerator freezer|kitchen appliances freezer|kitchen
book||book|books reading paper papers shelf desk|room
clock||clock|tower time watch|room
vase||vase|flowers flower|room
scissors|pair of scissors,scissors|scissors,pair of scissors|cut cutting|
teddy bear||teddy bear,stuffed bear|bear toy toys stuffed animal|room
hair drier|hair dryer,hair dryers|hair drier,hair dryer|bathroom|
toothbrush|toothbrush,toothbrushes|toothbrush|bathroom|
"""


def _read(row: str) -> Category:
    label, forms, names, hints, group = row.split("|")
    said, plural = forms.split(",") if forms else (label, label + "s")
    return Category(label, said, plural, tuple(names.split(",")), frozenset(hints.split()), group)


CATEGORIES = {category.label: category for category in map(_read, _ROWS.strip().splitlines())}
IRREGULAR = {
    "bus": "buses", "bench": "benches", "couch": "couches", "knife": "knives", "sandwich": "sandwiches",
    "mouse": "mice", "goose": "geese", "puppy": "puppies", "pony": "ponies", "canary": "canaries",
    "glass of wine": "glasses of wine", "wine glass": "wine glasses", "toothbrush": "toothbrushes",
    "pair of scissors": "pairs of scissors", "glass": "glasses", "dish": "dishes", "box": "boxes",
}  # fmt: skip
# Words that are the same for one and for many, or that name stuff: they say nothing about a number.
UNCOUNTED = word_set("sheep broccoli skis scissors luggage aircraft cattle")


def plural_of(name: str) -> str:
    return IRREGULAR.get(name, name if name in ("sheep", "broccoli", "skis", "scissors", "aircraft") else name + "s")


# People: the word, its plural, its sex (m, f, -), its age (adult, child, -).
_PEOPLE = """
man men m adult
woman women f adult
boy boys m child
girl girls f child
guy guys m adult
lady ladies f adult
gentleman gentlemen m adult
person people - -
child children - child
kid kids - child
baby babies - child
toddler toddlers - child
adult adults - adult
player players - -
skier skiers - -
snowboarder snowboarders - -
skateboarder skateboarders - -
surfer surfers - -
batter batters - -
pitcher pitchers - -
catcher catchers - -
bicyclist bicyclists - -
cyclist cyclists - -
biker bikers - -
rider riders - -
equestrian equestrians - -
baker bakers - -
chef chefs - -
cop cops - -
worker workers - -
presenter presenters - -
someone someone - -
"""
PEOPLE: dict[str, tuple[str, str]] = {}
PERSON_SINGULAR: dict[str, str] = {}
PERSON_PLURAL: dict[str, str] = {}
for _row in _PEOPLE.strip().splitlines():
    _one, _many, _sex, _age = _row.split()
    PEOPLE[_one] = PEOPLE[_many] = (_sex, _age)
    PERSON_SINGULAR[_many], PERSON_PLURAL[_one] = _one, _many
GATHERINGS = word_set(
    """
    crowd audience family team spectators onlookers onlooker others dwellers fans friends crew customers
    passengers pedestrians tourists everyone everybody
    """
)
MALE = word_set("he him his himself male") | {word for word, (sex, _) in PEOPLE.items() if sex == "m"}
FEMALE = word_set("she her hers herself female") | {word for word, (sex, _) in PEOPLE.items() if sex == "f"}
# What else speaks of somebody: where one of these stands, nobody says that there are no people.
PERSON_HINTS = word_set(
    """
    hand hands legs leg foot feet face head he she his her him himself herself their selfie game match meal
    players cartoon statue sculpture riding someone somebody lone driver driving street city traffic crowd
    worker
    """
)
# A picture within the picture, or a thing that is not the real one: boxes and words then count different things.
DEPICTIONS = word_set(
    """
    statue statues sculpture sculptures cartoon toy toys lego diorama miniature drawing drawings painting
    paintings poster posters mirror reflection reflections animated cgi illusion surreal surrealistic fake
    stuffed projected presentation film screen pictures identical digital mural figurine figurines
    """
)
# One word's box is another word's caption: where the second stands and the first does not, neither is said.
CONFUSED = {
    "sheep": "goat goats", "cow": "ox oxen buffalo bison bull calf", "dog": "wolf fox tog", "horse": "donkey mule",
    "cup": "glass glasses", "bowl": "plate plates bucket buckets tray container pan pans", "cake": "pie pies bread",
    "couch": "bench seat", "chair": "stool stools bench", "truck": "van car vehicle", "car": "truck van",
    "sports ball": "wool", "tie": "scarf", "dining table": "desk counter surface", "orange": "apple fruit",
    "handbag": "backpack", "suitcase": "backpack", "bird": "plane kite", "remote": "controller wii",
    "knife": "peeler scissors", "sandwich": "pizza", "pizza": "sandwich pie pies zone", "vase": "pot pots pitcher",
    "tv": "monitor monitors screen board laptop", "mouse": "note", "oven": "microwave", "spoon": "clock",
    "bed": "couch", "book": "notepad notebook", "skis": "snowboard", "snowboard": "skis skiing", "bench": "chairs",
    "toilet": "buckets bucket", "boat": "plane", "potted plant": "tree", "banana": "tree",
    "tennis racket": "baseball", "baseball bat": "tennis", "apple": "bananas",
}  # fmt: skip
# Heads of compounds: in "a bus stop" or "a banana tree" the first word is no thing of its own.
HEADS = word_set(
    """
    path tree trees station stop trunk door statue park room top court board lane lanes show track rack pen
    house food fur wool seat seats case area cover frame sheets comforter holder desk counter parked toy game
    ramp trail stand shop print pan pans lot garage driver rider riding player pad cake slope trick tricks ride
    racer signal light lights stops roll peel skin netting controller couch chair lamp tower pole window screen
    suit mixture
    """
)
