"""A model, ready to be asked: weights, and beside them what turns words and pictures into ids and pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from seetell.errors import UsageError
from seetell.infer import LONGEST_ANSWER_TOKENS
from seetell.infer.engine import Engine
from seetell.infer.pictures import Shown
from seetell.infer.reading import read_model
from seetell.infer.sampling import Sampling
from seetell.infer.session import ChatSession
from seetell.model.device import pick_device

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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
    """Opens a model, whatever `model/folders.py` and `infer/reading.py` know; `slots` conversations stay at hand."""
    place = pick_device(device)
    vlm, processor = read_model(folder, dtype=pick_dtype(dtype, place), device=place)
    return Model(Engine(vlm, processor, slots=slots))


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU, whose half types are slow or inexact, and bfloat16 elsewhere."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in DTYPES:
        raise UsageError(f"There is no dtype {name!r}: choose auto, {', '.join(DTYPES)}.")
    return DTYPES[name]
