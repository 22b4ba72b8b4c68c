"""From a scene to the messages that ask for a conversation about it.

The words are text files, a folder a kind: `system_message.txt`, then examples `NNN_caps.txt` (what is known of a
picture) with `NNN_conv.txt` (the reply that was wished for). What never changes comes first and the scene
last, so that a service that keeps the beginnings of prompts reads them once. The published folder of LLaVA has the
same layout and is read as it is.

Source: Liu et al. 2023 (arXiv:2304.08485), table 13 for the order of messages.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from seetell.ask.chat import Message
from seetell.errors import BadInput, UsageError
from seetell.types import Box, Scene

Kind = Literal["conversation", "detail", "complex", "short"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FOLDERS: dict[Kind, tuple[str, ...]] = {
    "conversation": ("conversation",),
    "detail": ("detail", "detail_description"),
    "complex": ("complex", "complex_reasoning"),
    "short": ("short",),
}
SHIPPED = Path(__file__).parent / "prompts"
DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Prompt:
    """The part of a kind's prompt that never changes; a shot is a context and the reply to it."""

    system: str
    shots: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PromptSet:
    """The prompts of the kinds that a folder holds. With `conversation_boxes` the context of conversations has boxes
    too; the release shows them captions alone."""

    prompts: Mapping[Kind, Prompt]
    detail_questions: tuple[str, ...]
    conversation_boxes: bool = False

    @classmethod
    def load(cls, folder: str | Path | None = None, *, conversation_boxes: bool = False) -> PromptSet:
        """The shipped prompts, or a folder's in the same layout; a kind that a folder lacks cannot be asked for."""
        root = Path(folder) if folder is not None else SHIPPED
        prompts: dict[Kind, Prompt] = {kind: _read_prompt(path) for kind in KINDS if (path := _folder_of(root, kind))}
        if not prompts:
            known = ", ".join(name for names in FOLDERS.values() for name in names)
            raise BadInput(f"{root} holds no prompts: it needs at least one of the folders {known}.")
        own = (path / "questions.txt" for name in FOLDERS["detail"] for path in (root / name,))
        pool = next((path for path in own if path.is_file()), SHIPPED / "detail" / "questions.txt")
        return cls(prompts, tuple(_read(pool).splitlines()), conversation_boxes)

    def needs(self, kind: Kind) -> frozenset[str]:
        """What a scene must have for this kind: "captions", "boxes"."""
        boxes = kind != "conversation" or self.conversation_boxes
        return frozenset(("captions", "boxes") if boxes else ("captions",))

    def lacks(self, kind: Kind, scene: Scene) -> str:
        """Why this scene must be skipped, as reports count it; empty if it need not be."""
        if scene.image is None:
            return "no picture"
        return next(
            (f"no {need}" for need in ("captions", "boxes") if need in self.needs(kind) and not getattr(scene, need)),
            "",
        )

    def messages(self, kind: Kind, scene: Scene) -> tuple[Message, ...]:
        """System message, the shots as user and assistant by turns, and the scene as the last user message."""
        if kind not in self.prompts:
            raise UsageError(f"These prompts have no folder for {kind!r}: they hold {', '.join(self.prompts)}.")
        prompt, boxes = self.prompts[kind], "boxes" in self.needs(kind)
        messages = [Message("system", prompt.system)]
        for shot, reply in prompt.shots:
            messages += [Message("user", shot if boxes else _captions_of(shot)), Message("assistant", reply)]
        return (*messages, Message("user", context(scene, boxes=boxes)))

    def detail_question(self, scene: Scene, seed: int = 0) -> str:
        """The question that a detailed description answers; no teacher writes it, it is drawn from the pool."""
        return random.Random(f"detail question:{seed}:{scene.id}").choice(self.detail_questions)


def context(scene: Scene, *, boxes: bool = True) -> str:
    """Captions, one a line; after an empty line the boxes."""
    captions = [" ".join(caption.strip().splitlines()) for caption in scene.captions]
    lines = [_box_line(box) for box in scene.boxes] if boxes else []
    return "\n".join([*captions, "", *lines] if lines else captions)


def _box_line(box: Box) -> str:
    corners = ", ".join(str(round(edge + 0.0, DECIMALS)) for edge in (box.x0, box.y0, box.x1, box.y1))
    return f"{'a group of ' if box.crowd else ''}{box.label}: [{corners}]"


def _captions_of(shot: str) -> str:
    """A shot's context up to its empty line, which is where boxes begin."""
    return shot.split("\n\n", 1)[0]


def _folder_of(root: Path, kind: Kind) -> Path | None:
    return next((root / name for name in FOLDERS[kind] if (root / name / "system_message.txt").is_file()), None)


def _read_prompt(folder: Path) -> Prompt:
    shots: list[tuple[str, str]] = []
    for caps in sorted(folder.glob("*_caps.txt")):
        conv = caps.with_name(caps.name.replace("_caps", "_conv"))
        if not conv.is_file():
            raise BadInput(f"{caps} has no reply beside it: {conv.name} is missing.")
        shots.append((_read(caps), _read(conv)))
    return Prompt(_read(folder / "system_message.txt"), tuple(shots))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as a prompt's text: {error}") from None
