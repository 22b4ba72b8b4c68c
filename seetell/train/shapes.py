"""The sizes of a model's parts that work and memory follow from, read off its modules, weights or none.

Counted are matrices, which do nearly all the work. Decoders are dense here: one with experts would be counted as
if every token met all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from torch import nn
from transformers.pytorch_utils import Conv1D  # GPT-2's linear layers, whose weights lie the other way

from seetell.model.vlm import VLM

PRUNED = {"q_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}  # a last layer of Llama's shape, but keys and values


@dataclass(frozen=True, slots=True)
class Shapes:
    """Sizes. `vision_products` are the multiplications of one picture up to the layer that is read.

    `block_matrices` are a decoder block's weights, `last_matrices` those of the last one that all tokens must meet:
    keys and values, where the rest is computed for targets alone; `end_matrix` is a block's last, before which
    recomputation stops. `lora_sides` is the sum of both sides of all of a
    block's matrices, which times a rank is what LoRA adds.
    """

    vision_parameters: int
    vision_products: int
    vision_tokens: int
    vision_width: int
    vision_mlp: int
    side_px: int
    slots: int
    connector_matrices: tuple[int, ...]
    connector_parameters: int
    layers: int
    width: int
    block_matrices: int
    last_matrices: int
    end_matrix: int
    lora_sides: int
    attention_width: int
    language_parameters: int
    table: int
    head: int
    vocabulary: int

    @property
    def prunes(self) -> bool:
        """Whether the last layer can leave out what nobody reads."""
        return self.last_matrices < self.block_matrices

    @property
    def parameters(self) -> int:
        return self.vision_parameters + self.connector_parameters + self.language_parameters


def shapes_of(vlm: VLM) -> Shapes:
    """The sizes of a model's parts."""
    vision: Any = vlm.vision.config
    text: Any = vlm.language.config
    used = vlm.layers_used
    tokens = (vlm.side_px // vlm.patch_px) ** 2 + int(vlm.keep_cls or vlm.drops_cls)
    tower_layers = _layers(vlm.vision)
    tower_matrices = sum(_matrices(layer) for layer in tower_layers[:used])
    patches = (vlm.side_px // vlm.patch_px) ** 2 * 3 * vlm.patch_px**2 * vision.hidden_size
    tower_attention = used * 2 * tokens**2 * vision.hidden_size
    blocks = _layers(vlm.language.base_model)
    last = dict(_linears(blocks[-1]))
    is_llama = {name.split(".")[-1] for name in last} == {*PRUNED, "k_proj", "v_proj"}
    kept = sum(one.weight.numel() for name, one in last.items() if name.split(".")[-1] not in PRUNED)
    return Shapes(
        vision_parameters=_parameters(vlm.vision),
        vision_products=tower_matrices * tokens + patches + tower_attention,
        vision_tokens=tokens,
        vision_width=vision.hidden_size,
        vision_mlp=max(one.weight.shape[0] for _, one in _linears(tower_layers[0])),
        side_px=vlm.side_px,
        slots=vlm.slots_per_image,
        connector_matrices=tuple(one.weight.numel() for _, one in _linears(vlm.connector)),
        connector_parameters=_parameters(vlm.connector),
        layers=len(blocks),
        width=text.hidden_size,
        block_matrices=_matrices(blocks[-1]),
        last_matrices=kept if is_llama else _matrices(blocks[-1]),
        end_matrix=list(last.values())[-1].weight.numel(),
        lora_sides=sum(sum(one.weight.shape) for one in last.values()),
        attention_width=_attention_width(text),
        language_parameters=_parameters(vlm.language),
        table=vlm.embedding.weight.numel(),
        head=vlm.head.weight.numel(),
        vocabulary=vlm.head.weight.shape[0],
    )


def _attention_width(text: Any) -> int:
    """Of all query heads; where layers differ in it, which some configs refuse to average, as wide as the decoder."""
    try:
        return text.num_attention_heads * (getattr(text, "head_dim", None) or 0) or text.hidden_size
    except Exception:  # each family's config has its own
        return text.hidden_size


def _layers(part: nn.Module) -> list[nn.Module]:
    """The longest list of modules inside: a transformer's layers."""
    lists = [list(module) for module in part.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len)


def _linears(module: nn.Module) -> list[tuple[str, nn.Linear]]:
    return [(name, cast(nn.Linear, one)) for name, one in module.named_modules() if isinstance(one, nn.Linear | Conv1D)]


def _matrices(module: nn.Module) -> int:
    return sum(one.weight.numel() for _, one in _linears(module))


def _parameters(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())
