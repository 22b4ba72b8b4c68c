"""What the base must be able to do before any tuning, measured on held-out scenes.

The tower: a linear probe on the frozen patch features that LLaVA would read names kind, colour and cell of every
thing, from the patch at the thing's centre. The language model: it answers open questions of every type from a
description in its prompt, in wordings it was not drilled on too. Shapes: N things, V tower width.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPVisionModel, LlamaForCausalLM, PreTrainedTokenizerFast

from seetell.base.regions import centre_patch, picture
from seetell.base.text import assistant, describe, request, user
from seetell.base.vision import LAYER, normalized
from seetell.sources.drawn.layout import COLOURS, KINDS, PLACES, Layout, make_layout
from seetell.sources.drawn.questions import EVERY_WORDING, TYPES, Question, ask, is_right


@torch.no_grad()
def thing_features(tower: CLIPVisionModel, split: str, scenes: int, start: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    """Features [N, V] at the things' centres, and their kinds, colours and cells as class numbers [N]."""
    features: list[Tensor] = []
    labels: dict[str, list[int]] = {"kind": [], "colour": [], "cell": []}
    pictures = (picture(make_layout(split, start + i)) for i in range(scenes))
    while batch := list(itertools.islice(pictures, 128)):
        pixels = normalized(torch.stack([each.pixels for each in batch]))
        hidden = tower(pixel_values=pixels, output_hidden_states=True).hidden_states[LAYER][:, 1:]
        for row, each in enumerate(batch):
            for thing in each.things:
                features.append(hidden[row, centre_patch(thing)])
                labels["kind"].append(KINDS.index(thing.kind))
                labels["colour"].append(tuple(COLOURS).index(thing.colour))
                labels["cell"].append(PLACES.index(thing.place))
    return torch.stack(features).float(), {name: torch.tensor(values) for name, values in labels.items()}


def probe(tower: CLIPVisionModel, train_scenes: int = 4000, test_scenes: int = 500) -> dict[str, float]:
    """Accuracy of one linear layer a question, on scenes held out from the tower and from the probe."""
    features, labels = thing_features(tower, "train", train_scenes, start=500_000_000)
    unseen, truth = thing_features(tower, "held-out", test_scenes, start=500_000_000)
    mean, spread = features.mean(0), features.std(0) + 1e-6
    features, unseen = (features - mean) / spread, (unseen - mean) / spread
    return {name: _fit(features, labels[name], unseen, truth[name]) for name in labels}


def _fit(features: Tensor, labels: Tensor, unseen: Tensor, truth: Tensor) -> float:
    torch.manual_seed(0)
    layer = nn.Linear(features.shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    for _ in range(600):
        rows = torch.randint(len(features), (2048,))
        loss = nn.functional.cross_entropy(layer(features[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return (layer(unseen).argmax(1) == truth).float().mean().item()


def exam(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: int = 200, *, later: bool = False
) -> dict[str, float]:
    """By type, the share of `questions` that greedy decoding answers rightly from a description in the prompt; `later`
    asks them as the second turn, after a request to describe and its answer."""
    return {type: _mean(_asked(model, tokenizer, type, questions, later=later)) for type in TYPES}


def _asked(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, type: str, count: int, *, later: bool
) -> Iterable[float]:
    rng = random.Random(f"exam:{type}")
    papers: list[tuple[str, Question]] = []
    index = 0
    while len(papers) < count:
        layout = make_layout("held-out", 600_000_000 + index, pairs="all")
        index += 1
        question = ask(layout.things, type, rng, wordings=EVERY_WORDING)
        if question is not None:
            papers.append((_prompt(layout, question.text, rng, later=later), question))
    for start in range(0, count, 50):
        batch = papers[start : start + 50]
        for (_, question), text in zip(batch, _greedy(model, tokenizer, [prompt for prompt, _ in batch]), strict=True):
            yield float(is_right(text, question.accepted))


def _prompt(layout: Layout, question: str, rng: random.Random, *, later: bool) -> str:
    description = describe(layout, rng)
    if not later:
        return user(f"{description.text}\n{question}").text
    asked, answer = request(layout, rng, description)
    turns = (user(f"{description.text}\n{asked}"), assistant(answer), user(question))
    return "".join(turn.text for turn in turns)


@torch.no_grad()
def _greedy(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str]) -> list[str]:
    encoded = tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt")
    ours: Any = model
    made = ours.generate(**encoded, max_new_tokens=12, do_sample=False)
    return [
        str(tokenizer.decode(row[encoded["input_ids"].shape[1] :], skip_special_tokens=True)).strip() for row in made
    ]


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """All gates on the base in `folder` (its `clip` and `llm`), as fractions."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "llm")
    language = LlamaForCausalLM.from_pretrained(folder / "llm", dtype=torch.float32).eval()
    tower = CLIPVisionModel.from_pretrained(folder / "clip", dtype=torch.float32).eval()
    exams = {"exam": exam(language, tokenizer), "exam_later": exam(language, tokenizer, later=True)}
    return {"probe": probe(tower), **exams}
