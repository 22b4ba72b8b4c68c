"""Pretrain the tiny language model: its byte-level BPE, then a Llama of transformers on text alone.

A plain loop: AdamW, cosine; rows of like length side by side, so that the compiled model meets few shapes. The clock,
not a step count, ends it, since that is what the reader has to spend; the schedule follows the share of the time that
is gone.
Shapes: B rows, T tokens.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from seetell.base.text import RECALLED, Piece, documents
from seetell.base.training import compiled, rate, set_rate
from seetell.console import say
from seetell.model.casting import cast_parameters

CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCABULARY = 1024
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WIDTH = 160
CONTEXT = 4096  # none of its own reading is so long; texts of byte-level words may be
MASTERED = 0.88  # the share of answer tokens said rightly from which on the texts grow harder
GROWING_STEPS = 300  # such steps from the easiest texts to the full mixture
WIDTHS_OF = 64  # a batch is as many tokens wide as a multiple of this
LONGEST = 448  # tokens; the few longer documents are left out


def train_tokenizer(documents_read: int = 6000) -> PreTrainedTokenizerFast:
    """A byte-level BPE over the base's own text; every byte is a token, so any text can be said."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(CONTROLS),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = ("".join(piece.text for piece in pieces) for pieces in itertools.islice(documents(seed=-1), documents_read))
    tokenizer.train_from_iterator((part for text in texts for part in _without_controls(text)), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=CHAT_TEMPLATE,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def _without_controls(text: str) -> list[str]:
    for control in CONTROLS:
        text = text.replace(control, "\0")
    return [part for part in text.split("\0") if part]


def build(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama whose start suits its width: at 160, transformers' own start (0.02 for everything) leaves attention flat
    and drowns the words' own vectors in what the first layer adds, and nothing is looked up for a very long time."""
    ids: Any = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=448,
            num_hidden_layers=5,
            num_attention_heads=5,
            num_key_value_heads=5,
            max_position_embeddings=CONTEXT,
            initializer_range=WIDTH**-0.5,
            rms_norm_eps=1e-5,
            bos_token_id=None,
            eos_token_id=ids[0],
            pad_token_id=ids[1],
        )
    )
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=1.0)
    layers: Any = model.model.layers
    for layer in layers:
        for projection in (layer.self_attn.o_proj, layer.mlp.down_proj):
            torch.nn.init.normal_(projection.weight, std=(10 * projection.in_features) ** -0.5)
    return model


def encode(tokenizer: PreTrainedTokenizerFast, pieces: list[Piece]) -> tuple[list[int], list[float]]:
    ids: list[int] = []
    weights: list[float] = []
    for piece, encoded in zip(pieces, tokenizer([piece.text for piece in pieces])["input_ids"], strict=True):
        ids += encoded
        weights += [piece.weight] * len(encoded)
    return ids, weights


def batches(
    tokenizer: PreTrainedTokenizerFast, seed: int, tokens: int, grown: Callable[[], float] = lambda: 1.0
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless (ids [B, T], weights [B, T]) of about `tokens` each; T is a multiple of 64 and B the same for each T."""
    stream = documents(seed, grown)
    for pool in itertools.count():
        by_width: dict[int, list[tuple[list[int], list[float]]]] = {}
        for ids, weights in (encode(tokenizer, pieces) for pieces in itertools.islice(stream, 512)):
            width = -(-len(ids) // WIDTHS_OF) * WIDTHS_OF
            if width <= LONGEST:
                padded = ids + [0] * (width - len(ids)), weights + [0.0] * (width - len(ids))
                by_width.setdefault(width, []).append(padded)
        made: list[tuple[torch.Tensor, torch.Tensor]] = []
        for width, rows in by_width.items():
            count = tokens // width
            for start in range(0, len(rows) - count + 1, count):
                ids, weights = zip(*rows[start : start + count], strict=True)
                made.append((torch.tensor(ids), torch.tensor(weights)))
        random.Random(f"{seed}:{pool}").shuffle(made)
        yield from made


def pretrain(
    out: Path,
    tokenizer: PreTrainedTokenizerFast,
    seconds: float,
    *,
    seed: int = 0,
    tokens: int = 2048,
    peak_lr: float = 1.2e-3,
    start: Path | None = None,
) -> None:
    """Train for `seconds` and save the model and its tokenizer as transformers folders under `out`."""
    torch.manual_seed(seed)
    model = build(tokenizer)
    if start is not None:
        model.load_state_dict(LlamaForCausalLM.from_pretrained(start, dtype=torch.float32).state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_lr, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    lose = compiled(lambda ids, weights: weighted_loss(model, ids, weights))
    started, seen, right, log = time.monotonic(), 0, [], []
    grown = 0.0 if start is None else 1.0  # who goes on is no beginner

    def spent() -> float:
        return (time.monotonic() - started) / seconds

    stream = batches(tokenizer, seed, tokens, grown=lambda: grown)
    for step, (ids, weights) in enumerate(itertools.takewhile(lambda _: spent() < 1, stream)):
        set_rate(optimizer, peak_lr * rate(step, spent()))
        loss, said = lose(ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen += ids.numel()
        answers = weights[:, 1:] >= RECALLED
        if answers.any():
            right.append((said == ids[:, 1:])[answers].float().mean().item())
        if sum(right[-10:]) / 10 > MASTERED:
            grown = min(1.0, grown + 1 / GROWING_STEPS)
        if step % 50 == 49:
            figures = {"step": step + 1, "seconds": round(time.monotonic() - started), "tokens": seen}
            accuracy = round(sum(right[-50:]) / 50, 4)
            log.append(figures | {"loss": round(loss.item(), 4), "right": accuracy, "grown": round(grown, 3)})
            say(" ".join(f"{name} {value}" for name, value in log[-1].items()))
        if step % 200 == 199:
            save(model, tokenizer, out)
    save(model, tokenizer, out)
    (out / "log.json").write_text(json.dumps(log))


def weighted_loss(
    model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean loss of next tokens by their weights, from ids and weights [B, T]; and what was said [B, T - 1]."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    share = weights[:, 1:].flatten()
    return (losses * share).sum() / share.sum(), logits.argmax(-1)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    half = LlamaForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    cast_parameters(half, torch.float16)
    half.save_pretrained(out)
    tokenizer.save_pretrained(out)
