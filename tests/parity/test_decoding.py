"""Answers out of the running batch equal answers computed alone, without a cache, token by token."""

from __future__ import annotations

import random

import torch

from seetell.encode.sample import Sample
from seetell.infer.engine import Completion
from seetell.infer.sampling import Sampling
from seetell.model.vlm import VLM
from seetell.types import Image
from tests.tiny_chat import STOP_ID, TinyImages, tiny_engine, tiny_sample
from tests.tiny_models import IMAGE_ID, SLOTS, tiny_vlm

PROMPTS = 100
NEAR = 1e-4  # two best logits this close may change places by rounding


def mixed_prompts(count: int, seed: int = 0) -> list[Sample]:
    """Few and many words, none to two of four pictures, common beginnings of several lengths."""
    chance = random.Random(seed)
    beginnings = [[chance.randrange(5, 120) for _ in range(length)] for length in (1, 7, 20, 45)]
    prompts: list[Sample] = []
    for number in range(count):
        ids = list(chance.choice(beginnings))
        images = tuple(Image(data=bytes([chance.randrange(4)])) for _ in range(chance.choice((0, 1, 1, 1, 2))))
        for _ in images:
            ids += [IMAGE_ID] * SLOTS + [chance.randrange(5, 8)]
        ids += [chance.randrange(5, 120) for _ in range(chance.choice((0, 1, 2, 9, 30)))]
        prompts.append(tiny_sample(str(number), ids, images))
    return prompts


@torch.no_grad()
def alone(vlm: VLM, prompt: Sample, tokens: int) -> tuple[list[int], list[float]]:
    """Greedy ids by whole forward passes, and how far apart the two best logits were each time."""
    pixels = [TinyImages().pixels(image) for image in prompt.images]
    features = vlm.see(torch.stack([one for one in pixels if isinstance(one, torch.Tensor)])) if pixels else None
    ids = prompt.ids.tolist()
    gaps: list[float] = []
    for _ in range(tokens):
        whole = torch.tensor(ids)
        hidden = vlm(whole, torch.arange(len(ids)), [0, len(ids)], features=features)
        best = vlm.logits(hidden[-1]).topk(2)
        ids.append(int(best.indices[0]))
        gaps.append(float(best.values[0] - best.values[1]))
        if ids[-1] == STOP_ID:
            break
    return ids[len(prompt.ids) :], gaps


def test_a_running_batch_says_what_each_prompt_says_alone() -> None:
    vlm = tiny_vlm()
    prompts = mixed_prompts(PROMPTS)
    engine = tiny_engine(slots=7, vlm=vlm)
    chance = random.Random(1)
    lengths = [chance.choice((1, 2, 5, 12)) for _ in prompts]
    # Rows of different lengths leave at different steps, so others join beside half-finished answers.
    streams = [
        engine.submit(prompt, Sampling(max_new_tokens=length)) for prompt, length in zip(prompts, lengths, strict=True)
    ]
    equal = near = 0
    for stream, prompt, length in zip(streams, prompts, lengths, strict=True):
        stream.result()
        row = stream._row  # ids, not words: this is about numbers
        said = row.ids[row.prompt_tokens :]
        expected, gaps = alone(vlm, prompt, length)
        if said == expected:
            equal += 1
            continue
        first = next(at for at, (one, other) in enumerate(zip(said, expected, strict=False)) if one != other)
        assert gaps[first] < NEAR, (
            f"prompt {prompt.id} differs at token {first}, where the best two logits are {gaps[first]} apart"
        )
        near += 1
    assert equal + near == PROMPTS
    assert near <= 2


def test_sampled_answers_do_not_depend_on_their_neighbours() -> None:
    vlm = tiny_vlm()
    prompts = mixed_prompts(20, seed=3)
    settings = [Sampling(max_new_tokens=8, temperature=0.9, top_p=0.9, seed=seed) for seed in range(20)]
    together = tiny_engine(slots=6, vlm=vlm)
    streams = [together.submit(prompt, wish) for prompt, wish in zip(prompts, settings, strict=True)]
    for stream, prompt, wish in zip(streams, prompts, settings, strict=True):
        [single] = tiny_engine(slots=1, vlm=vlm).generate([prompt], wish)
        assert isinstance(single, Completion)
        assert stream.result() == single
