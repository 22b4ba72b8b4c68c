"""Pretrain the tiny CLIP: transformers' `CLIPModel`, contrastive on pictures and captions, and on regions and phrases.

Beside the usual loss between a picture's CLS feature and its caption, a patch is contrasted with the phrase of the
thing it shows (`a small red car at the top left`, `nothing on the right`), through the same two towers and
projections, as RegionCLIP does (Zhong et al. 2021, arXiv:2112.09106). It acts on the layer that LLaVA reads, the
last but one, which a loss on CLS alone leaves poor when pictures are few.
Shapes: B pictures, R regions, P patches, T tokens, D width of the shared space.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from seetell.base.regions import GRID, PATCH_PX, Picture, key, phrase, picture, shown_patch, spoken_of
from seetell.base.training import compiled, rate, set_rate
from seetell.console import say
from seetell.model.casting import cast_parameters
from seetell.sources.drawn.layout import COLOURS, KINDS, PLACES, SIZES, Layout, Thing, make_layout
from seetell.sources.drawn.scenes import SIDE_PX
from seetell.sources.drawn.words import SETTING_PHRASES, captions

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
LAYER = -2
END = "<|endoftext|>"  # ends a phrase, and fills up the shorter ones
PATCHES_SHOWN = 3  # of every thing in every step: the one at its centre, and others at random


def build(tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    end = tokenizer.convert_tokens_to_ids(END)
    assert end != 2, "transformers reads a text of CLIP at its highest id, not at its end, where eos_token_id is 2"
    vision = {
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "image_size": SIDE_PX,
        "patch_size": PATCH_PX,
        "projection_dim": 128,
    }
    text = {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 128,
        "projection_dim": 128,
        "eos_token_id": end,
        "bos_token_id": None,
        "pad_token_id": end,
    }
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))
    towers: Any = (model.vision_model, model.text_model)
    for layer in (layer for tower in towers for layer in tower.encoder.layers):
        for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj):  # else attention stays flat for ages
            torch.nn.init.normal_(projection.weight, std=projection.in_features**-0.5)
    model.vision_model.embeddings.position_embedding.weight.data[1:] = 0.5 * plane_waves(GRID, vision["hidden_size"])
    return model


def plane_waves(side: int, width: int) -> Tensor:
    """Sines and cosines of row and column [side * side, width]: neighbours start alike, which speeds learning."""
    speeds = 10.0 ** -torch.linspace(0, 2, width // 4) * math.pi / 2
    angles = torch.arange(side)[:, None] * speeds
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    rows = waves[:, None].expand(-1, side, -1)
    return torch.cat([rows, rows.transpose(0, 1)], -1).flatten(0, 1)


def normalized(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    return (pixels.float() / 255 - mean) / std


def text_features(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Tensor:
    """Unit vectors [len(texts), D]; equal texts are read once."""
    distinct = sorted(set(texts), key=len)
    rows = {text: i for i, text in enumerate(distinct)}
    parts = []
    for start in range(0, len(distinct), 128):
        encoded = tokenizer(
            [text + END for text in distinct[start : start + 128]],
            padding=True,
            truncation=True,
            max_length=128,
            return_tensors="pt",
        )
        read = model.text_model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"])
        parts.append(model.text_projection(read.pooler_output))
    return normalize(torch.cat(parts)[[rows[text] for text in texts]].float(), dim=-1)


def contrast(ours: Tensor, theirs: Tensor, same: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE between rows [N, D]; `same` [N, N] marks pairs that mean the same and are all positive."""
    logits = ours @ theirs.T * scale
    target = same.float()
    rows = -(target * logits.log_softmax(1)).sum(1) / target.sum(1)
    columns = -(target * logits.log_softmax(0)).sum(0) / target.sum(0)
    return (rows.mean() + columns.mean()) / 2


@dataclass(frozen=True, slots=True)
class Losses:
    """What one step lost: pictures against captions; patches against whole phrases, single facets, and settings."""

    caption: Tensor
    phrase: Tensor
    facet: Tensor
    setting: Tensor

    @property
    def total(self) -> Tensor:
        return 0.3 * self.caption + self.phrase + self.facet + 0.3 * self.setting


def see(model: CLIPModel, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """What the tower makes of normalized pixels: the whole [B, V], and CLS and patches [B, 1 + P, V] where they are
    read."""
    seen = model.vision_model(pixel_values=pixels, output_hidden_states=True)
    return seen.pooler_output, seen.hidden_states[LAYER]


def step_losses(
    model: CLIPModel,
    tokenizer: PreTrainedTokenizerFast,
    batch: list[Picture],
    rng: random.Random,
    look: Callable[[CLIPModel, Tensor], tuple[Tensor, Tensor]] = see,
) -> Losses:
    """The three contrasts of a batch of pictures."""
    scale = model.logit_scale.exp().clamp(max=100)
    pooled, layer = look(model, normalized(torch.stack([each.pixels for each in batch])))
    told = [rng.choice(captions(each.layout, each.things, rng)[0:5:2]) for each in batch]
    regions = [(row, region) for row, each in enumerate(batch) for region in spoken_of(each, rng)]
    texts = text_features(model, tokenizer, told + [phrase(region, rng) for _, region in regions])
    captioned, phrased = texts[: len(batch)], texts[len(batch) :].repeat(PATCHES_SHOWN, 1)
    regions = regions * PATCHES_SHOWN
    whole = normalize(model.visual_projection(pooled), dim=-1)
    rows = [row for row, _ in regions]
    columns = [
        1 + shown_patch(region, number < len(regions) // PATCHES_SHOWN, rng)
        for number, (_, region) in enumerate(regions)
    ]
    patches = layer[rows, columns]  # column 0 is CLS
    local = normalize(model.visual_projection(model.vision_model.post_layernorm(patches)), dim=-1)
    keys = {each: i for i, each in enumerate(dict.fromkeys(key(region) for _, region in regions))}
    groups = torch.tensor([keys[key(region)] for _, region in regions])
    return Losses(
        contrast(whole, captioned, torch.eye(len(batch), dtype=torch.bool), scale),
        contrast(local, phrased, groups[:, None] == groups[None], scale),
        facet_loss(model, tokenizer, local, [region.thing for _, region in regions], scale),
        setting_loss(model, tokenizer, local, [None if at.thing else batch[row].layout for row, at in regions], scale),
    )


FACETS: tuple[tuple[str, Sequence[str], str], ...] = (
    ("kind", KINDS, "{}"),
    ("colour", tuple(COLOURS), "something {}"),
    ("place", PLACES, "something at the {}"),
    ("size", tuple(SIZES), "something {}"),
)


FACET_WEIGHTS = {"kind": 4.0, "colour": 0.3, "place": 0.5, "size": 0.3}  # by how hard they are to see


def facet_loss(
    model: CLIPModel, tokenizer: PreTrainedTokenizerFast, local: Tensor, things: Sequence[Thing | None], scale: Tensor
) -> Tensor:
    """Each patch [R, D] against all phrases of one facet (`car`, `something red`): the whole phrase alone tells most
    things apart by colour and place, and would leave the kinds for last."""
    phrases = {name: [form.format(value) for value in values] for name, values, form in FACETS}
    losses = _by_aspect(model, tokenizer, local, things, {name: values for name, values, _ in FACETS}, phrases, scale)
    return torch.stack([FACET_WEIGHTS[name] * loss for name, loss in losses.items()]).sum()


def setting_loss(
    model: CLIPModel, tokenizer: PreTrainedTokenizerFast, local: Tensor, layouts: Sequence[Layout | None], scale: Tensor
) -> Tensor:
    """Each patch [R, D] where nothing is against the grounds, times and weathers. Captions alone leave these in a
    hundredth of the features' variance, where a language model does not find them."""
    values = {name: tuple(phrases) for name, phrases in SETTING_PHRASES.items()}
    phrases = {name: [of_value[0] for of_value in phrases.values()] for name, phrases in SETTING_PHRASES.items()}
    return torch.stack(list(_by_aspect(model, tokenizer, local, layouts, values, phrases, scale).values())).sum()


def _by_aspect(
    model: CLIPModel,
    tokenizer: PreTrainedTokenizerFast,
    local: Tensor,
    shown: Sequence[Thing | Layout | None],
    values: Mapping[str, Sequence[str]],
    phrases: Mapping[str, Sequence[str]],
    scale: Tensor,
) -> dict[str, Tensor]:
    """By aspect the loss of patches [R, D] against the phrases of its values, over the rows that show something."""
    texts = text_features(model, tokenizer, [text for of_aspect in phrases.values() for text in of_aspect])
    rows = local[torch.tensor([each is not None for each in shown])]
    losses: dict[str, Tensor] = {}
    for name, of_aspect in zip(values, texts.split([len(each) for each in phrases.values()]), strict=True):
        labels = torch.tensor([values[name].index(getattr(each, name)) for each in shown if each is not None])
        losses[name] = cross_entropy(rows @ of_aspect.T * scale, labels) if len(labels) else rows.sum()
    return losses


def make_optimizers(model: CLIPModel, lr: float) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the layers' matrices, with updates of AdamW's size, and AdamW for all else (Jordan et al. 2024)."""
    layers: Any = (*model.vision_model.encoder.layers, *model.text_model.encoder.layers)
    matrices = [weight for layer in layers for weight in layer.parameters() if weight.ndim == 2]
    known = {id(weight) for weight in matrices}
    rest = [weight for weight in model.parameters() if id(weight) not in known]
    return (
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.02, fused=True),
    )


def pretrain(
    out: Path,
    tokenizer: PreTrainedTokenizerFast,
    seconds: float,
    *,
    seed: int = 0,
    batch_size: int = 96,
    pool_size: int = 12_000,
    uses: int = 4,
    peak_lr: float = 1e-3,
    start: Path | None = None,
    first: int = 500_000_000,
) -> None:
    """Train for `seconds`, from nothing or on from a folder; every picture (layouts from `first` on) is seen about
    `uses` times before it leaves the pool."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    model = build(tokenizer)
    if start is not None:
        model.load_state_dict(CLIPModel.from_pretrained(start, dtype=torch.float32).state_dict())
    model.set_attn_implementation("eager")  # the CPU's fused attention backward takes 45 % of a step at 65 tokens
    optimizers = make_optimizers(model, peak_lr)
    look = compiled(see)
    started, step, drawn, log = time.monotonic(), 0, 0, []
    pool: list[Picture] = []
    while (spent := (time.monotonic() - started) / seconds) < 1:
        for _ in range(batch_size if len(pool) < 20 * batch_size else batch_size // uses):
            fresh = picture(make_layout("base", first + drawn))
            drawn += 1
            if not fresh.things:
                continue
            if len(pool) < pool_size:
                pool.append(fresh)
            else:
                pool[rng.randrange(pool_size)] = fresh
        losses = step_losses(model, tokenizer, rng.sample(pool, min(batch_size, len(pool))), rng, look)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            set_rate(optimizer, peak_lr * rate(step, spent))
            optimizer.step()
        model.zero_grad(set_to_none=True)
        step += 1
        if step % 25 == 0:
            said = {name: round(getattr(losses, name).item(), 4) for name in ("caption", "phrase", "facet", "setting")}
            seconds_spent = round(time.monotonic() - started)
            log.append({"step": step, "seconds": seconds_spent, "drawn": drawn, "seen": step * batch_size, **said})
            say(" ".join(f"{name} {value}" for name, value in log[-1].items()))
        if step % 200 == 0:
            save(model, tokenizer, out)
    save(model, tokenizer, out)
    (out / "log.json").write_text(json.dumps(log))


def save(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    half = CLIPModel(model.config)
    half.load_state_dict(model.state_dict())
    cast_parameters(half, torch.float16)
    half.save_pretrained(out)
    tokenizer.save_pretrained(out)
    side = {"height": SIDE_PX, "width": SIDE_PX}
    (out / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "CLIPImageProcessor",
                "do_convert_rgb": True,
                "do_resize": True,
                "size": {"shortest_edge": SIDE_PX},
                "resample": 3,
                "do_center_crop": True,
                "crop_size": side,
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": PIXEL_MEAN,
                "image_std": PIXEL_STD,
            },
            indent=2,
        )
    )
