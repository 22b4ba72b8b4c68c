"""BLIP-2 as an `Answerer`, by transformers' own class: a baseline of the papers, asked as its authors ask it.

The prompt is `Question: … Answer:` after the picture's query tokens. It sees one picture, the item's first; an item
without a picture that opens is answered with nothing, as "refused".

Source: Li et al. 2023, arXiv:2301.12597.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from seetell.errors import UsageError
from seetell.infer.loading import pick_dtype
from seetell.model.device import pick_device
from seetell.model.folders import located
from seetell.pictures import open_picture
from seetell.types import Answer, Item, Rejected


class Blip2Answerer:
    """Greedy, one item at a time: its class pads on the left only by hand, and a baseline need not be fast."""

    def __init__(self, folder: str | Path, max_new_tokens: int, device: str = "auto", dtype: str = "auto") -> None:
        from transformers import (
            AutoImageProcessor,
            AutoTokenizer,
            Blip2ForConditionalGeneration,
            Blip2Processor,
        )

        self.folder, self.max_new_tokens = Path(folder), max_new_tokens
        self.device = pick_device(device)
        place = located(folder)
        try:
            model: Any = Blip2ForConditionalGeneration.from_pretrained(place, dtype=pick_dtype(dtype, self.device))
            pictures = AutoImageProcessor.from_pretrained(place, backend="pil")
            tokenizer = AutoTokenizer.from_pretrained(place)
        except (OSError, ValueError) as error:
            raise UsageError(f"{folder} is no BLIP-2 model that can be loaded: {str(error).splitlines()[0]}") from None
        self.model = model.to(self.device).eval()
        self.processor = Blip2Processor(pictures, tokenizer, num_query_tokens=model.config.num_query_tokens)

    @property
    def name(self) -> str:
        return self.folder.name

    def answer(self, items: Iterable[Item]) -> Iterator[Answer]:
        for item in items:
            picture = open_picture(item.images[0]) if item.images else Rejected(item.id, "no picture")
            if isinstance(picture, Rejected):
                yield Answer(item.id, "", finish_reason="refused")
            else:
                yield self._answer(item, picture)

    @torch.no_grad()
    def _answer(self, item: Item, picture: Any) -> Answer:
        prompt = f"Question: {item.question} Answer:"
        processor: Any = self.processor
        inputs = processor(images=picture, text=prompt, return_tensors="pt").to(self.device, self.model.dtype)
        ids = self.model.generate(**inputs, do_sample=False, max_new_tokens=self.max_new_tokens)[0].tolist()
        if not self.model.language_model.config.is_encoder_decoder:
            ids = ids[inputs["input_ids"].shape[1] :]  # a decoder repeats the prompt
        words = self.processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
        return Answer(item.id, words, "length" if len(ids) >= self.max_new_tokens else "stop", len(ids))
