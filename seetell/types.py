"""The nouns every room shares.

Standard library only, frozen, and hashable where their parts are: a value that crosses a room is one
of these. What can fail by nature is a value too (`Rejected`, `Unscored`) and carries its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Box:
    """A labelled rectangle; corners are fractions of the picture's width and height in [0, 1].

    (x0, y0) is the top left, (x1, y1) the bottom right. `crowd` marks COCO's `iscrowd` regions: a group
    of unknown size, never one thing.
    """

    label: str
    x0: float
    y0: float
    x1: float
    y1: float
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that nobody has opened yet: a file, or the bytes of one (`data` wins when both are set)."""

    path: str = ""
    data: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.path and self.data is None:
            raise ValueError("an Image needs a path or the bytes of a picture; it was given neither")


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known about a picture without looking at it: captions and labelled boxes."""

    id: str
    captions: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    image: Image | None = None
    width_px: int = 0
    height_px: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker's words; a picture is a part among the words, in the order it was given."""

    role: Role
    parts: tuple[str | Image, ...]

    @property
    def text(self) -> str:
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> tuple[Image, ...]:
        return tuple(part for part in self.parts if isinstance(part, Image))


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order; an optional system turn first, then user and assistant by turns."""

    id: str
    turns: tuple[Turn, ...]
    source: str = ""

    @property
    def images(self) -> tuple[Image, ...]:
        return tuple(image for turn in self.turns for image in turn.images)


@dataclass(frozen=True, slots=True)
class Item:
    """A question with its truth: `accepted` answers, the `kind` it is reported under, the `group` that
    is resampled together (questions about one picture share it)."""

    id: str
    question: str
    images: tuple[Image, ...] = ()
    accepted: tuple[str, ...] = ()
    kind: str = ""
    group: str = ""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said to an item; `finish_reason` is "stop", "length", or "refused" where it could not be asked."""

    item_id: str
    text: str
    finish_reason: str = "stop"
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """What was not kept, and why. `reason` is a short phrase that reports count by; `detail` is for people."""

    id: str
    reason: str
    detail: str = ""
    raw: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Unscored:
    """An answer that has no score, and why; it is left out of every mean and counted."""

    item_id: str
    reason: str
    raw: str = field(default="", repr=False)

    @property
    def why(self) -> str:
        """The reason with the first words of what it stands on."""
        words = " ".join(self.raw.split())[:200].rstrip(".")
        return f"{self.reason}: {words}." if words else f"{self.reason}."


@runtime_checkable
class Answerer(Protocol):
    """Whoever is measured. Answers may come in any order; each names its item."""

    @property
    def name(self) -> str: ...

    def answer(self, items: Iterable[Item]) -> Iterator[Answer]: ...
