"""The names that tensors have in files, and what they are called in our modules.

Four layouts of one model are in the world (`*` stands for what is the same in all):

    in our VLM            hub file                           transformers 4.52 and later
    vision.*              vision_tower.vision_model.*        model.vision_tower.[vision_model.]*
    connector.linear_1.*  multi_modal_projector.linear_1.*   model.multi_modal_projector.linear_1.*
    language.model.*      language_model.model.*             model.language_model.*
    language.lm_head.*    language_model.lm_head.*           lm_head.*

    in our VLM            liuhaotian/*
    vision.*              model.vision_tower.vision_tower.vision_model.*   (often left out)
    connector.linear_1.*  model.mm_projector.0.*   or, for a connector of one layer, model.mm_projector.*
    connector.linear_2.*  model.mm_projector.2.*
    language.*            *

A model made new in transformers 5 saves the hub's names without `vision_model`. We write the hub's. The
table for transformers' names is one function, `module_name`: a name is read the same whatever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# A connector's name and its depth; here, where no torch is needed, because recipes are checked by it.
CONNECTORS: dict[str, int] = {"linear": 1} | {f"mlp{depth}": depth for depth in range(1, 9)}

# Tables that old files carry and that are computed anew: neither missing nor surplus.
COMPUTED = re.compile(r"(^|\.)(position_ids|rotary_emb\.inv_freq|attn\.(bias|masked_bias))$")


def module_name(name: str, base: str = "model") -> str | None:
    """A tensor's name in our VLM, from any of transformers' layouts; None when it is of no LLaVA.

    `base` is what the language model's family calls its body (`model` nearly always).
    """
    name = re.sub(r"^model\.(?=(language_model|vision_tower|multi_modal_projector)\.)", "", name)
    part, _, rest = name.partition(".")
    if part == "lm_head":
        return f"language.{name}"
    if part == "language_model":
        if rest.startswith("lm_head."):
            return f"language.{rest}"
        return f"language.{base}.{rest.removeprefix('model.')}"
    if part == "vision_tower":
        return f"vision.{rest.removeprefix('vision_model.')}"
    if part == "multi_modal_projector":
        return f"connector.{rest}"
    return None


def hub_name(name: str, base: str, vision_family: str) -> str:
    """The hub's name of a tensor of our VLM."""
    part, _, rest = name.partition(".")
    if part == "language":
        body = rest.removeprefix(f"{base}.")
        return f"language_model.{rest}" if body == rest else f"language_model.model.{body}"
    if part == "vision":
        inner = "vision_model." if vision_family in ("clip_vision_model", "siglip_vision_model") else ""
        return f"vision_tower.{inner}{rest}"
    return f"multi_modal_projector.{rest}"


def transformers_name(name: str, base: str) -> str:
    """What transformers 4.52 and later calls a tensor of our language model's body or of our connector in memory."""
    part, _, rest = name.partition(".")
    if part == "language":
        return f"model.language_model.{rest.removeprefix(f'{base}.')}"
    return f"model.multi_modal_projector.{rest}"


def module_name_of_original(name: str) -> str | None:
    """A tensor's name in our VLM, from the layout of `liuhaotian/*`; None when it is of no LLaVA."""
    if (found := re.fullmatch(r"(?:.*\.)?mm_projector\.(?:(\d+)\.)?(weight|bias)", name)) is not None:
        place, kind = found.groups()
        return f"connector.linear_{int(place or 0) // 2 + 1}.{kind}"
    if name.startswith("model.vision_tower.vision_tower."):
        return f"vision.{name.removeprefix('model.vision_tower.vision_tower.').removeprefix('vision_model.')}"
    if name.startswith(("model.", "lm_head.")):
        return f"language.{name}"
    return None


def name_in_file(name: str, held: Mapping[str, str], usual: str) -> str:
    """What a file calls a tensor of our VLM; where it lacks that one: as it calls the nearest, else the `usual` name.

    `held` are its tensors' names by ours.
    """
    if name in held:
        return held[name]
    stem = name
    while "." in stem:
        stem = stem.rpartition(".")[0]
        for ours, theirs in held.items():
            rest = ours.removeprefix(stem)
            if rest != ours and theirs.endswith(rest):
                return theirs.removesuffix(rest) + name.removeprefix(stem)
    return usual


def original_name(name: str, depth: int) -> str:
    """The name in the layout of `liuhaotian/*` of a tensor of our VLM with a connector of `depth` layers."""
    part, _, rest = name.partition(".")
    if part == "language":
        return rest
    if part == "vision":
        return f"model.vision_tower.vision_tower.vision_model.{rest}"
    layer, _, kind = rest.partition(".")
    place = 2 * (int(layer.removeprefix("linear_")) - 1)
    return f"model.mm_projector.{kind}" if depth == 1 else f"model.mm_projector.{place}.{kind}"
