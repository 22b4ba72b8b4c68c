"""Short questions through `seetell eval` against `transformers.generate` asked one at a time: speed and text.

    python -m benchmarks.eval_speed MODEL [QUESTIONS]

The questions are those of the drawn task, six a scene; both sides answer all of them, greedily, in float32. Where the
texts differ, the two best logits of transformers at the first different token are looked at: nearer than 1e-4 is a tie.
"""

from __future__ import annotations

import io
import sys
import time
from typing import Any

import PIL.Image
import torch
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from seetell.evals.drawn import items
from seetell.infer.answerers import OurAnswerer
from seetell.infer.loading import load
from seetell.infer.sampling import Sampling
from seetell.types import Item

MOST_TOKENS = 16
TIE = 1e-4


def ours(folder: str, questions: list[Item]) -> dict[str, str]:
    answerer = OurAnswerer(load(folder, slots=64).engine, Sampling(max_new_tokens=MOST_TOKENS))
    return {answer.item_id: answer.text for answer in answerer.answer(questions)}


@torch.inference_mode()
def theirs(folder: str, questions: list[Item]) -> dict[str, tuple[str, list[float]]]:
    """What is said, and how far apart the two best logits were at each token."""
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor: Any = LlavaProcessor.from_pretrained(folder, backend="pil")
    answers = {}
    for item in questions:
        content = [{"type": "image"}, {"type": "text", "text": item.question}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(text=text, images=[picture_of(item)], return_tensors="pt")
        made = model.generate(
            **inputs,
            max_new_tokens=MOST_TOKENS,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        said = processor.decode(made.sequences[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        best = [logits[0].topk(2).values for logits in made.logits]
        answers[item.id] = said.strip(), [float(pair[0] - pair[1]) for pair in best]
    return answers


def picture_of(item: Item) -> PIL.Image.Image:
    data = item.images[0].data
    assert data is not None, "drawn pictures are bytes in memory"
    return PIL.Image.open(io.BytesIO(data))


def main(folder: str, count: int = 2000) -> None:
    questions = items(count // 5)[:count]
    ours(folder, questions[:64])  # both warm
    theirs(folder, questions[:8])
    began = time.perf_counter()
    here = ours(folder, questions)
    between = time.perf_counter()
    there = theirs(folder, questions)
    ended = time.perf_counter()
    differ = [id for id, (text, _) in there.items() if here[id] != text]
    ties = sum(min(there[id][1]) < TIE for id in differ)
    print(f"{len(questions)} questions: here {len(questions) / (between - began):.1f}/s, transformers one at a time "
          f"{len(questions) / (ended - between):.1f}/s, ratio {(ended - between) / (between - began):.2f}")  # fmt: skip
    print(f"different texts: {len(differ)}, of which at a tie: {ties}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
