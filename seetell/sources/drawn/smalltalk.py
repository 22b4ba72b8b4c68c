"""What is said beside questions about a picture: greetings, thanks, who speaks, and what to say without a picture.

The base reads these in text and the demo's tuning rows hold them. The held-out ways to say them are in neither: the
demo says them to the tuned model and reports its replies.
"""

from __future__ import annotations

import random

WHO = "I am a small assistant that talks about pictures."
ABLE = "I can describe a picture and answer questions about what it shows."
NO_PICTURE = "I see no picture. Please show me one."
HELLO = ("Hello! Ask me about a picture.", "Hello! What would you like to know?")
WELCOME = ("You are welcome.",)

SMALL_TALK: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("Hello!", "Hi there.", "Hello.", "Hi!", "Good morning.", "Good day!", "Hey!", "Good evening."), HELLO),
    (("Thank you.", "Thanks!", "Thank you very much.", "Great, thanks.", "Good, thank you."), WELCOME),
    (("Who are you?", "What are you?", "Hi, who are you?", "Tell me who you are.", "Who is there?"), (WHO,)),
    (("What can you do?", "How can you help me?", "What can I ask you?", "Can you help me?"), (ABLE,)),
)
HELD_OUT: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Hello, who are you?", (WHO,)),
    ("Hello there!", HELLO),
    ("Many thanks!", WELCOME),
    ("Tell me what you can do.", (ABLE,)),
)


def small_talk(rng: random.Random) -> tuple[str, str]:
    """Something that is said beside questions, and a reply to it."""
    said, replies = rng.choice(SMALL_TALK)
    return rng.choice(said), rng.choice(replies)
