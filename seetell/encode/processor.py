"""Conversation to Sample: where ids and their mask are born together.

A rendered conversation is a row of spans. What stands between two control tokens is read by the tokenizer as
one text, so that the ids are those of the whole prompt, and each id takes its mask from the characters it
covers. No length is ever added up and no prefix is read twice: that is how masks slip. A token that covers
supervised and unsupervised characters raises; a template and a tokenizer that lead to one, or whose ids would
differ from those of the exported tokenizer, are refused when the processor is built.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from math import isqrt
from pathlib import Path
from typing import Any

import torch

import seetell
from seetell.config import pick
from seetell.encode.image import ImageProcessor
from seetell.encode.jinja import JinjaTemplate, own_template
from seetell.encode.sample import Sample
from seetell.encode.templates import (
    IMAGE_TOKEN,
    OWN,
    TEMPLATES,
    BadTurns,
    ImageSlot,
    Rendered,
    Span,
    Template,
    first_rounds,
    render,
    render_prompt,
    rounds_of,
)
from seetell.encode.tokenizer import Tokenizer, load_tokenizer
from seetell.errors import BadInput, HalfSupervised, UsageError
from seetell.files import FACTS_FILE, read_json, write_atomic, write_json
from seetell.types import Conversation, Image, Rejected, Turn


@dataclass(frozen=True)
class Processor:
    """A tokenizer, a template, how pictures are made ready, and how many slots a picture takes in the ids."""

    tokenizer: Tokenizer
    template: Template
    image_processor: ImageProcessor
    slots_per_image: int

    def __post_init__(self) -> None:
        if self.slots_per_image < 1:
            raise UsageError(f"a picture needs at least one image token, not {self.slots_per_image}")
        _probe(self)

    def encode(self, conversation: Conversation, max_tokens: int = 2048) -> Sample | Rejected:
        """The answered rounds with their mask. What is too long loses whole rounds from its end."""
        try:
            sample = self._sample(conversation, render(conversation, self.template))
            if len(sample) > max_tokens:
                fewer = range(1, len(rounds_of(conversation)[1]))
                kept = bisect_right(fewer, max_tokens, key=lambda count: self.length(first_rounds(conversation, count)))
                conversation = first_rounds(conversation, max(kept, 1))
                sample = self._sample(conversation, render(conversation, self.template))
        except BadTurns as error:
            return Rejected(conversation.id, str(error))
        if len(sample) > max_tokens:
            detail = f"the first answer ends after {len(sample)} tokens, {max_tokens} are allowed"
            return Rejected(conversation.id, "too long", detail)
        if not sample.supervised.any():
            return Rejected(conversation.id, "nothing supervised", "no assistant's turn answers a user's")
        return sample

    def encode_prompt(self, conversation: Conversation) -> Sample:
        """The conversation up to where the assistant begins; nothing is supervised."""
        try:
            return self._sample(conversation, render_prompt(conversation, self.template))
        except BadTurns as error:
            raise UsageError(f"conversation {conversation.id!r} is no prompt: {error}") from error

    def length(self, conversation: Conversation) -> int:
        """How many tokens all answered rounds take, with nothing dropped and no picture opened."""
        return len(self._tokens(render(conversation, self.template), self.slots_per_image)[0])

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer: the template's and the language model's own."""
        ids = [self.tokenizer.control(piece.token) for piece in self.template.stop if not isinstance(piece, str)]
        return self.tokenizer.stop_ids.union(*ids)

    @cached_property
    def stop_strings(self) -> tuple[str, ...]:
        """Texts that end an answer, for templates whose stop is no control token."""
        stop = self.template.stop
        if any(not isinstance(piece, str) for piece in stop):
            return ()
        return ("".join(piece for piece in stop if isinstance(piece, str)),)

    def save(self, folder: str | Path) -> None:
        """Everything that turns messages into these ids, for us and, if pictures take a square of slots, for
        transformers' `LlavaProcessor` and what reads its folders."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        bos, eos = self.tokenizer.bos or "", self.tokenizer.eos or ""
        self.tokenizer.save(folder)
        self.image_processor.save(folder)
        write_atomic(folder / "chat_template.jinja", self.template.jinja(bos, eos))
        facts: dict[str, Any] = {
            "version": seetell.__version__,
            "template": self.template.name,
            "image_mode": self.image_processor.mode,
            "slots_per_image": self.slots_per_image,
        }
        if isinstance(self.template, JinjaTemplate):
            facts["chat_template"] = self.template.source
        write_json(folder / FACTS_FILE, facts)
        if (grid := _grid(self.image_processor.side_px, self.slots_per_image)) is not None:
            write_json(folder / "processor_config.json", {**grid, "image_processor": self.image_processor.settings()})

    @classmethod
    def load(cls, folder: str | Path) -> Processor:
        """From a folder that `save` wrote."""
        path = Path(folder) / FACTS_FILE
        try:
            facts = read_json(path)
            name, slots = str(facts["template"]), int(facts["slots_per_image"])
        except FileNotFoundError as error:
            raise BadInput(f"{folder} has no {FACTS_FILE}: it was not written by seetell; import it first") from error
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{path} does not hold what seetell writes there ({error}); save the model again") from error
        tokenizer = load_tokenizer(folder)
        source = facts.get("chat_template")
        template = JinjaTemplate(source, tokenizer, name) if source else template_named(name, tokenizer)
        return cls(tokenizer, template, ImageProcessor.load(folder), slots)

    def _sample(self, conversation: Conversation, rendered: Rendered) -> Sample:
        ids, supervised = self._tokens(rendered, self.slots_per_image)
        if supervised:
            supervised[0] = False  # nothing stands before it that could predict it
        images = tuple(piece.image for piece in rendered if isinstance(piece, ImageSlot))
        return Sample(conversation.id, torch.tensor(ids, dtype=torch.int64), torch.tensor(supervised), images)

    def _tokens(self, rendered: Rendered, slots: int) -> tuple[list[int], list[bool]]:
        """Ids and their mask, stretch by stretch between control tokens."""
        ids = list(self.tokenizer.prefix_ids)
        supervised = [False] * len(ids)
        stretch: list[Span] = []
        swallowed = False

        def close(swallows_left: bool = False) -> None:
            new_ids, new_mask = self._stretch(stretch, swallowed, swallows_left)
            ids.extend(new_ids)
            supervised.extend(new_mask)
            stretch.clear()

        for piece in rendered:
            if isinstance(piece, ImageSlot):
                close()
                ids.extend([self.tokenizer.image_id] * slots)
                supervised.extend([False] * slots)
                swallowed = False
            elif piece.control:
                left, right = self.tokenizer.swallows(piece.text)
                close(left)
                ids.extend(self.tokenizer.control(piece.text))
                supervised.append(piece.supervised)
                swallowed = right
            else:
                stretch.append(piece)
        close()
        return ids, supervised

    def _stretch(self, spans: Sequence[Span], lstrip: bool, rstrip: bool) -> tuple[list[int], list[bool]]:
        """One text between control tokens; some control tokens swallow the white space beside them."""
        text = "".join(span.text for span in spans)
        flags = b"".join((b"\1" if span.supervised else b"\0") * len(span.text) for span in spans)
        if lstrip:
            flags = flags[len(text) - len(text := text.lstrip()) :]
        if rstrip:
            flags = flags[: len(text := text.rstrip())]
        if not text:
            return [], []
        encoding = self.tokenizer.pieces(text)
        if flags.count(flags[0]) == len(flags):
            return encoding.ids, [bool(flags[0])] * len(encoding.ids)
        mask: list[bool] = []
        for start, end in encoding.offsets:
            covered = flags[start : max(end, start + 1)]
            learnt = covered.count(1)
            if 0 < learnt < len(covered):
                raise HalfSupervised(
                    f"one token covers {text[start:end]!r}, of which only a part is supervised, "
                    f"with the template {self.template.name!r}"
                )
            mask.append(learnt > 0)
        return encoding.ids, mask


def template_named(name: str, tokenizer: Tokenizer, today: date | None = None) -> Template:
    """A template of the table, one from a module ("package.module:thing"), or "own": the language model's.

    With `today`, one that asks for the date has that date in it, and no other ever after.
    """
    found: object = own_template(tokenizer, today) if name == OWN else pick(TEMPLATES, name, "template")
    if isinstance(found, type) or not isinstance(found, Template):
        raise UsageError(
            f"{name} is no chat template: name a seetell.encode.templates.ChatTemplate, or what acts as one."
        )
    return found


def _grid(side_px: int, slots: int) -> dict[str, Any] | None:
    """What makes `LlavaProcessor` count as many slots; None if it cannot."""
    for strategy, with_cls in (("default", 0), ("full", 1)):
        edge = isqrt(slots - with_cls)
        if edge and edge * edge == slots - with_cls and (side_px // (side_px // edge)) == edge:
            return {
                "processor_class": "LlavaProcessor",
                "image_token": IMAGE_TOKEN,
                "patch_size": side_px // edge,
                "num_additional_image_tokens": 1,
                "vision_feature_select_strategy": strategy,
            }
    return None


_PICTURE = Image(data=b"")
_PROBE = Conversation(
    "probe",
    (
        Turn("user", (_PICTURE, "What is this?")),
        Turn("assistant", ("A cat, I'd say.",)),
        Turn("user", ("Where? \n Is it  asleep", _PICTURE)),
        Turn("assistant", ("- on a mat\n\n- yes",)),
        Turn("user", ("3 + 4?",)),
        Turn("assistant", ("7",)),
    ),
)


def _probe(processor: Processor) -> None:
    """Refuses a template and a tokenizer that do not go together, before anything is trained with them."""
    tokenizer, template = processor.tokenizer, processor.template
    try:
        rendered = render(_PROBE, template)
        ids, _ = processor._tokens(rendered, slots=1)
        prompts = [replace(_PROBE, turns=_PROBE.turns[: 2 * count + 1]) for count in range(3)]
        starts = [processor._tokens(render_prompt(prompt, template), slots=1)[0] for prompt in prompts]
    except HalfSupervised as error:
        raise UsageError(f"the template {template.name!r} and this tokenizer do not go together: {error}") from error
    except BadTurns as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"the chat template {template.name!r} cannot be trained on: {error}; choose another template"
        ) from error
    whole = tokenizer.hf(_text(rendered, tokenizer))["input_ids"]
    if ids != whole:
        raise UsageError(
            f"the template {template.name!r} and this tokenizer do not go together: read as one text, a prompt gives "
            "other ids than read piece by piece, so a trained model would be asked in other ids than it learned"
        )
    if any(ids[: len(start)] != start for start in starts):
        raise UsageError(
            f"the template {template.name!r} and this tokenizer do not go together: the ids of a prompt are not the "
            "beginning of the ids that are trained on"
        )


def _text(rendered: Rendered, tokenizer: Tokenizer) -> str:
    """The prompt as one text, control tokens spelled out: what other software hands to its tokenizer."""
    texts: list[str] = []
    for piece in rendered:
        if isinstance(piece, ImageSlot):
            texts.append(IMAGE_TOKEN)
        else:
            texts.append(tokenizer.control_text(piece.text) if piece.control else piece.text)
    return "".join(texts)
