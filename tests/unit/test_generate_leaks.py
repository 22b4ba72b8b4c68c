"""The leak check, judged on replies that show the writer's sources and on innocent ones, written and real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seetell.generate import check
from seetell.types import Box, Image, Scene

SCENE = Scene("7", ("A dog runs on grass.", "A brown dog plays."), (Box("dog", 0.1, 0.2, 0.4, 0.9),), Image("7.jpg"))
BENCH = Path(__file__).parents[3] / "shared" / "data" / "llava_bench" / "coco" / "qa90_gpt4_answer.jsonl"

LEAKS = """
The picture is best described by its captions.
It is a scene described by its five captions.
It shows what is described by the captions.
According to the captions, a dog runs over the grass.
According to its captions, the man holds a bat.
According to one caption, the man holds a bat.
According to most captions, the train is red.
According to the description, a dog runs.
According to the given description, there are two dogs.
According to the sentences, the dog is brown.
According to what is written, the dog is brown.
According to the bounding boxes, the dog is on the left.
According to the labels, there are two dogs.
According to the object list, there is a dog.
According to the information, there are two people.
According to the given information, there are two people.
The bounding boxes show two people beside the bench.
The bounding box of the dog is large.
The boxes show that the cup is on the left of the plate.
The boxes indicate two dogs.
The box coordinates place it on the left.
The coordinates suggest that the dog is near the middle.
Judging by the coordinates, the cup is small.
Judging from the captions, it is a warm day.
Judging from the description, it is a warm day.
Its position is given by coordinates.
As described, the dog is brown.
As described above, the dog is brown.
As described in the captions, the dog is brown.
As mentioned, the man wears a tie.
As mentioned above, the man wears a tie.
As mentioned in the description, the man wears a tie.
As stated in the sentences, the man wears a tie.
As noted in the captions, it is a sunny day.
As the caption says, the dog is brown.
As the captions suggest, it is a sunny day.
As the description mentions, the man holds a bat.
As the sentences state, there is a bus.
The description mentions a brown dog.
The description says that the dog runs.
The description does not mention any other animal.
The descriptions mention a brown dog.
The description of the image mentions a bench.
The description indicates a bench.
The descriptions do not say what he holds.
Based on the given sentences, it is a park.
Based on the sentences, it is a park.
Based on these sentences, it is a park.
Based on the captions, it is a park.
Based on the image captions, it is a park.
Based on the description provided, it is a park.
Based on your description, it is a park.
Based on the descriptions, it is a park.
Based on the coordinates, the dog stands on the left.
Based on the provided information, it is a park.
Based on the object locations given, it is a park.
Given the captions, it is likely a park.
Given the description, it is likely a park.
Given these descriptions, it is likely a park.
From the captions, we can see that it is a park.
From these captions it is clear that the dog is happy.
From the sentences one can tell that it rains.
From the given sentences one can tell that it rains.
The caption states that the dog is brown.
The first caption says that the dog is brown.
One caption mentions a frisbee.
One of the captions mentions a frisbee.
Another caption calls it a puppy.
Some captions mention a frisbee.
Several captions mention a frisbee.
Two of the captions mention a frisbee.
None of the captions mention a frisbee.
The captions do not mention his age.
The captions describe a man at a desk.
The sentences describe a man at a desk.
The given sentences describe a man at a desk.
One of the sentences says that the man sits.
One sentence says that the man sits.
The text describes a man at a desk.
The text mentions that the man sits.
The provided text says so.
The list of objects includes a cup.
The object list includes a cup.
The annotations mark two dogs.
The annotation says that it is a dog.
The labels indicate two dogs.
It is not mentioned in the captions.
It is not mentioned in the description.
It is not stated in the sentences.
His age is not specified in the description.
His age is not mentioned in the text.
There is no mention of a cat in the captions.
There is no mention of it in the description.
No mention is made of a cat in the description.
This is a description of the image with captions.
The captions provided show a dog.
The image is captioned as a dog on grass.
What do the captions say about the dog?
What does the description say about the dog?
How many objects are in the bounding boxes?
What do the coordinates tell us?
Which caption describes the dog best?
The detected objects are a dog and a cup.
The objects detected include a dog and a cup.
The object detector found two dogs.
These captions tell of a dog.
Five different captions call it a dog.
In the captions, the dog is brown.
In the description, the dog is brown.
The captions all agree that it is a dog.
The caption for this image is about a dog.
The caption of the image says it is a dog.
The normalized coordinates are small.
The dog's bounding box covers the left half.
The x and y coordinates show that it is on the left.
"""
INNOCENT = """
There is a caption on the T-shirt that says hello.
A caption on the T-shirt reads: run.
The T-shirt has a funny caption printed on it.
A caption below the cartoon reads hello.
The description on the sign is in French.
There is a description of the dish on the menu.
The sign gives a short description of the bird.
The man reads a description of the painting beside it.
The menu lists descriptions of the dishes.
The text on the sign says stop.
The text on the bus mentions a museum.
The text on the shirt describes a place.
The sentence on the board is in French.
The sentences on the blackboard are in chalk.
She writes a sentence in her notebook.
One sentence on the board is underlined.
The label on the bottle says water.
The labels on the jars show fruit.
The box on the table is open.
The boxes show the name of a shop.
The boxes on the shelf contain fruit.
A cardboard box stands beside the dog.
The boxes around him are full of books.
The list on the fridge includes milk and bread.
The information board shows the times of trains.
The information on the screen is for travellers.
The screen shows information about flights.
The map shows coordinates along its edge.
Her shoes match and her outfit coordinates well with the hat.
He coordinates the traffic with a whistle.
According to the clock it is half past three.
According to the sign, the street is closed.
According to the text on the sign, the street is closed.
Based on the shadows, it is around noon.
Based on the style of the cars, the photo is old.
Judging by the clothes, it is a cold day.
From the window one can see the sea.
From the look on his face one can tell that he is happy.
Given the weather, an umbrella is useful.
As mentioned on the poster, the concert is tonight.
The man is described as a hero on the poster.
The book describes a journey.
The page has a picture with a caption beneath it.
The newspaper has a caption under each photo.
The museum's sign describes the statue.
A woman gives a description of the thief to the police officer.
The scene is beyond description.
The annotations on the blueprint are in red.
The notes mention a meeting at noon.
The letter says that he comes home.
The detective is looking at the scene.
A metal detector stands at the entrance.
The smoke detector on the ceiling is white.
The objects on the table are a cup and a plate.
The object in his hand is a racket.
The sign mentions that dogs are not allowed.
The sentence he serves is long.
The image shows a dog on a sofa.
The image suggests that it is winter.
The photo depicts a street at night.
The picture captures a moment of joy.
In the picture, the dog is brown.
As seen in the image, the dog is brown.
As shown in the picture, the dog is brown.
The position of the dog suggests that it waits.
The details of the carving are fine.
The data center has many screens.
The context suggests a birthday party.
The list of stops is on the side of the bus.
The speaker's text is on the lectern.
The subtitles at the bottom say hello.
The word caption is written on the wall.
"""


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


def test_every_phrase_that_shows_the_sources_is_found_wherever_it_stands() -> None:
    found = [line for line in lines(LEAKS) if check.leaks(line, SCENE)]
    assert found == lines(LEAKS)
    for line in lines(LEAKS):
        assert check.leaks(f"The dog is brown. {line} It looks happy.", SCENE), line


def test_the_same_words_in_the_picture_are_no_leak() -> None:
    assert [line for line in lines(INNOCENT) if check.leaks(line, SCENE)] == []


@pytest.mark.skipif(not BENCH.is_file(), reason="the benchmark's answers are not here")
def test_real_replies_are_kept_and_with_a_leak_put_into_them_are_not() -> None:
    replies = [json.loads(line)["text"] for line in BENCH.read_text().splitlines()]
    assert len(replies) == 90
    assert [reply for reply in replies if check.leaks(reply, SCENE)] == []
    leaks = lines(LEAKS)
    for number, reply in enumerate(replies):
        first, mark, rest = reply.partition(". ")
        assert check.leaks(f"{first}. {leaks[number]} {rest if mark else ''}", SCENE), leaks[number]
