"""A model folder, ready to be asked.

A folder is what training and import write: weights, and beside them what turns words and pictures into
ids and pixels. Nothing is fetched from anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from seetell.console import say
from seetell.encode.image import ImageProcessor
from seetell.encode.jinja import own_template
from seetell.encode.processor import Processor
from seetell.encode.templates import VICUNA_V1
from seetell.encode.tokenizer import load_tokenizer
from seetell.errors import BadInput, UsageError
from seetell.files import FACTS_FILE
from seetell.infer.engine import Engine
from seetell.infer.pictures import Shown
from seetell.infer.sampling import Sampling
from seetell.infer.session import ChatSession
from seetell.model.adapter import load_any
from seetell.model.device import pick_device
from seetell.model.weights import model_folder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LONGEST_ANSWER_TOKENS = 256


class Model:
    """A model that answers: `ask` it once, or `chat` with it. Greedy unless a temperature is given."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def ask(
        self,
        image: Shown | Sequence[Shown] | None,
        text: str,
        *,
        max_new_tokens: int = LONGEST_ANSWER_TOKENS,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> str:
        """The answer to one question about a picture (a path, bytes or PIL image), several, or none."""
        chat = self.chat(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
        return chat.say(text, image)

    def chat(
        self,
        *,
        max_new_tokens: int = LONGEST_ANSWER_TOKENS,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> ChatSession:
        """A new chat: `say(text, image)` answers and remembers."""
        return ChatSession(self.engine, Sampling(max_new_tokens, temperature, top_p, seed))


def load(folder: str | Path, device: str = "auto", dtype: str = "auto", slots: int = 2) -> Model:
    """Opens a model folder, or an adapter's; `slots` is how many conversations are kept at hand."""
    folder = model_folder(folder)
    place = pick_device(device)
    vlm = load_any(folder, pick_dtype(dtype, place), place)
    processor = open_processor(folder, vlm.slots_per_image)
    wanted = (vlm.image_id, vlm.slots_per_image)
    given = (processor.tokenizer.image_id, processor.slots_per_image)
    if given != wanted:
        raise BadInput(
            f"{folder} does not fit together: its processor gives a picture {given[1]} slots of token {given[0]}, "
            f"its weights expect {wanted[1]} of {wanted[0]}; put the files in that the weights were saved with."
        )
    return Model(Engine(vlm, processor, slots=slots))


def open_processor(folder: Path, slots_per_image: int) -> Processor:
    """The folder's processor. Where nobody wrote down a template: the folder's own, else the one LLaVA-1.5 has."""
    if (folder / FACTS_FILE).exists():
        return Processor.load(folder)
    tokenizer = load_tokenizer(folder)
    try:
        template = own_template(tokenizer)
    except UsageError:
        template = VICUNA_V1
    say(f"{folder} has no {FACTS_FILE}, so prompts are written with the chat template {template.name!r}.")
    return Processor(tokenizer, template, ImageProcessor.load(folder), slots_per_image)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU, whose half types are slow or inexact, and bfloat16 elsewhere."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in DTYPES:
        raise UsageError(f"There is no dtype {name!r}: choose auto, {', '.join(DTYPES)}.")
    return DTYPES[name]
