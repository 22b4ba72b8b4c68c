"""Our model as an `Answerer`: whoever is measured reads a question with its pictures and says words.

Pictures stand before the question, as in training. An item that cannot be asked (a picture that
does not open, a prompt beyond the context) gives an empty answer with finish reason "refused": every item
is answered once, and none is lost in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from seetell.errors import SeetellError
from seetell.infer.engine import Engine
from seetell.infer.sampling import Sampling
from seetell.types import Answer, Conversation, Item, Rejected, Turn

if TYPE_CHECKING:
    from seetell.encode.sample import Sample


class OurAnswerer:
    """Answers items in a running batch, each as soon as it is done, in whatever order that is."""

    def __init__(self, engine: Engine, settings: Sampling | None = None, name: str = "seetell") -> None:
        self.engine = engine
        self.settings = settings or Sampling()
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def answer(self, items: Iterable[Item]) -> Iterator[Answer]:
        """One answer for each item."""
        asked: list[str] = []
        for number, completion in self.engine.finished(self._prompts(items, asked), self.settings):
            if isinstance(completion, Rejected):
                yield Answer(asked[number], "", finish_reason="refused")
            else:
                yield Answer(asked[number], completion.text, completion.finish_reason, completion.tokens)

    def _prompts(self, items: Iterable[Item], asked: list[str]) -> Iterator[Sample | Rejected]:
        """The items as prompts; their ids are written down in `asked` as they are read."""
        for item in items:
            asked.append(item.id)
            turn = Turn("user", (*item.images, item.question))
            try:
                yield self.engine.processor.encode_prompt(Conversation(item.id, (turn,)))
            except (SeetellError, UnicodeEncodeError) as error:
                yield Rejected(item.id, "cannot be asked", str(error))
