"""What a step holds beside weights and the gradients it keeps, counted: it is rehearsed on the meta device.

Tower, connector, decoder and head run forward and back in a stage's own arrangement (what learns, LoRA with its
dropout, recomputation, the last layer by rows) without a number being computed, and every storage is counted for as
long as it lives (`storages.py`). The decoder has at most three blocks there, its first, its last, and one that stands
for all between them. On the meta device autocast does nothing, so the inputs of products are cast here as it would.
Attention saves what every fused kernel does: queries, keys, values, its output and one number a row.

Shapes  T tokens, R rows wanted, N images, P slots of an image, S supervised tokens, H heads, G key-value heads,
        E and F head widths.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import AutoModel, AutoModelForCausalLM, LlamaConfig
from transformers.initialization import no_init_weights

from seetell.model.attention import Packed
from seetell.model.casting import cast_parameters
from seetell.model.computing import set_computing
from seetell.model.connector import build_connector
from seetell.model.last_layer import blocks, prune
from seetell.model.tower import width
from seetell.model.vlm import VLM
from seetell.train.recipe import Stage
from seetell.train.shapes import shapes_of
from seetell.train.start import ready_model
from seetell.train.storages import Storages
from seetell.train.work import Load

BLOCKS = 3
# The products of a mixture's experts, by the names that this torch has.
GROUPED = [getattr(home, name, None) for home, name in ((nn.functional, "grouped_mm"), (torch, "_grouped_mm"))]


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes beside the weights, of a decoder of so many `blocks`, at the fullest of four moments.

    `tower`: the tower runs. `turn`: forward through the decoder and the head, and back through the head. `backward`:
    back through the last two blocks. `end`: from there on. A block more in the middle adds `block` to `turn` and to
    `backward`. Gradients of weights
    live only until they are added where they belong, or count from when they are made (`Rehearsal.held`).
    """

    blocks: int
    tower: int
    turn: int
    backward: int
    end: int
    block: int


class Rehearsal:
    """A stage's step of any load, on the meta device."""

    def __init__(self, vlm: VLM, stage: Stage, precision: str, on_gpu: bool) -> None:
        """Of the model the shapes are taken; it may be on the meta device itself, and is left alone."""
        self._vlm, self._on_gpu = vlm, on_gpu
        self._half = precision == "bfloat16"
        lora = stage.lora and replace(stage.lora, bits=16)  # beside what activations need, bits change nothing
        self._stage = replace(stage, lora=lora, sharding="auto", fp8=False)
        self._as_llama = False
        self._models: dict[bool, _Model] = {}
        self._known: dict[tuple[object, ...], Held] = {}

    def held(self, load: Load, checkpointing: str, accumulates: bool, narrow: bool = False) -> Held:
        """Where gradients `accumulate`, they are counted elsewhere once they are added to those that are there.

        A decoder that is `narrow` is bfloat16 throughout, as shards are on a GPU.
        """
        asked = (load.slots, load.targets, load.pictures, checkpointing, accumulates, narrow)
        if asked not in self._known:
            try:
                held = self._model(narrow).step(load, checkpointing, accumulates)
            except (RuntimeError, NotImplementedError):
                # Some families look at numbers on their way, which the meta device lacks.
                self._as_llama, self._models = True, {}
                held = self._model(narrow).step(load, checkpointing, accumulates)
            self._known[asked] = held
        return self._known[asked]

    def _model(self, narrow: bool) -> _Model:
        if narrow not in self._models:
            outline = _outline(self._vlm, self._as_llama)
            self._models[narrow] = _Model(outline, self._stage, self._half, self._on_gpu, narrow)
        return self._models[narrow]


def shortened(config: Any, layers: int) -> Any:
    """A config of fewer layers."""
    config = copy.deepcopy(config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    return config


class _Model:
    """The model without numbers, as a stage arranges it."""

    def __init__(self, outline: VLM, stage: Stage, half: bool, on_gpu: bool, narrow: bool) -> None:
        self.half, self.split = half, not on_gpu
        kind = torch.bfloat16 if half else torch.float32
        self.vlm = ready_model(outline, stage, kind, 0, "meta")
        if narrow:
            cast_parameters(self.vlm.connector, kind)
            cast_parameters(self.vlm.language, kind)
        for module in self.vlm.language.modules():
            if isinstance(
                getattr(module, "rope_type", None), str
            ):  # others choose frequencies by the numbers of the positions
                setattr(module, "rope_type", "default")  # noqa: B010
        self.pruned = not prune(self.vlm.language, tries=False)
        self.gradients = _Gradients()
        for weight in self.vlm.parameters():
            if weight.requires_grad:  # a hook that held the model would keep it for ever
                weight.register_post_accumulate_grad_hook(self.gradients.made)
        self.vlm.train()

    def step(self, load: Load, checkpointing: str, accumulates: bool) -> Held:
        """One forward and backward pass."""
        set_computing(self.vlm.language, checkpointing if blocks(self.vlm.language) else "off")
        self.gradients.frees = accumulates
        storages, casting = Storages(), _Casting(self.half)
        storages.add([list(self.vlm.parameters()), list(self.vlm.buffers())])
        weights = storages.next_moment()
        layers = _layers(self.vlm.language)
        entered: list[int] = []
        passed: list[int] = []  # the fullest moments before and after the head's and the last two blocks' backward pass
        side_px = self.vlm.side_px

        def next_moment(_: Tensor) -> None:
            passed.append(storages.next_moment())

        def enter(layer: nn.Module, args: Any, given: Any) -> None:
            entered.append(storages.bytes)
            hidden = args[0] if args else given["hidden_states"]
            if layer is layers[max(len(layers) - 2, 0)] and hidden.requires_grad:
                hidden.register_hook(next_moment)

        def leave(_layer: nn.Module, _args: Any, out: Any) -> None:
            hidden = out if isinstance(out, Tensor) else out[0]
            if hidden.requires_grad:
                hidden.register_hook(next_moment)

        hooks = [layer.register_forward_pre_hook(enter, with_kwargs=True) for layer in layers]
        hooks.append(layers[-1].register_forward_hook(leave))
        try:
            with storages, casting:
                pixels = torch.zeros(load.pictures, 3, side_px, side_px, dtype=torch.uint8, device="meta")
                tower = [self.vlm.tower_features(pixels)]
                seen = storages.next_moment()
                loss = _Loss.apply(self._forward(tower, load))
                casting.forget()
                # `backward` would leave `casting` for as long as it runs, and what is recomputed would not be cast.
                engine: Any = torch.autograd.Variable._execution_engine
                engine.run_backward((loss,), (torch.ones_like(loss),), False, False, (), True, True)
                passed.append(storages.next_moment())
        finally:
            for hook in hooks:
                hook.remove()
            for weight in self.vlm.parameters():
                weight.grad = None
        block = entered[-1] - entered[-2] if len(entered) == BLOCKS else 0
        turn, backward, end = passed[0] - weights, passed[1] - weights, passed[-1] - weights
        return Held(len(layers), seen - weights, turn, backward, end, block)

    def _forward(self, tower: list[Tensor], load: Load) -> Tensor:
        """[N, P, V], which is then held by nobody but the graph -> logits [S, vocabulary]"""
        vlm, slots = self.vlm, load.slots
        ids, rows = (torch.zeros(n, dtype=torch.int64, device="meta") for n in (slots, max(load.targets, 1)))
        image_rows = torch.zeros(load.pictures * vlm.slots_per_image, dtype=torch.int64, device="meta")
        embeddings = vlm.merge(ids, vlm.connector(tower.pop()), image_rows)
        attending = _Attending(slots, rows, self.half, self.split)
        body: Any = vlm.language.base_model
        given = {"use_cache": False, "attending": attending}
        hidden = body(inputs_embeds=embeddings[None], position_ids=ids[None], **given).last_hidden_state[0]
        del embeddings
        return vlm.logits(hidden if self.pruned else hidden[rows])


class _Gradients:
    """What becomes of a weight's gradient once it is made."""

    frees = False

    def made(self, weight: Tensor) -> None:
        if self.frees:
            weight.grad = None


def _outline(vlm: VLM, as_llama: bool = False) -> VLM:
    """The same parts without weights, the decoder with few blocks; or a Llama of the decoder's sizes in its place."""
    vision: Any = vlm.vision.config
    text: Any = vlm.language.config
    if as_llama:
        shapes, side = shapes_of(vlm), text.hidden_size
        inner = max((shapes.block_matrices - 4 * side**2) // (3 * side), side)
        text = LlamaConfig(
            vocab_size=shapes.vocabulary,
            hidden_size=side,
            intermediate_size=inner,
            num_hidden_layers=shapes.layers,
            num_attention_heads=text.num_attention_heads,
            pad_token_id=None,
        )
    text = shortened(text, min(BLOCKS, text.num_hidden_layers))
    with torch.device("meta"), no_init_weights():
        tower = AutoModel.from_config(vision, dtype=torch.float32)
        language = AutoModelForCausalLM.from_config(text, dtype=torch.float32)
        connector = build_connector(vlm.connector.name, width(vision), text.hidden_size)
    mean, std = vlm.pixel_constants
    return VLM(
        tower,
        connector,
        language,
        image_id=vlm.image_id,
        pixel_mean=mean,
        pixel_std=std,
        feature_layer=vlm.feature_layer,
        keep_cls=vlm.keep_cls,
    )


def _layers(language: Any) -> list[nn.Module]:
    """A decoder's blocks, in any family."""
    lists = [list(module) for module in language.base_model.modules() if isinstance(module, nn.ModuleList)]
    return blocks(language) or max(lists, key=len)


class _Casting(TorchFunctionMode):
    """Casts what enters a product as autocast does, and runs the tower's attention as a fused kernel does."""

    def __init__(self, half: bool) -> None:
        super().__init__()
        self._half = half
        self._weights: dict[int, tuple[Tensor, Tensor]] = {}

    def forget(self) -> None:
        """Autocast ends: what it kept for another use of a weight is let go."""
        self._weights = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.scaled_dot_product_attention:
            return torch.empty_like(args[0])
        if func in GROUPED:  # those of the meta device want bfloat16, and this saves the same
            return torch.ops.transformers.grouped_mm_fallback(*args[:2], (kwargs or {})["offs"])
        if self._half and func in (nn.functional.linear, nn.functional.conv2d, torch.conv2d):
            args = [self._cast(one) if isinstance(one, Tensor) else one for one in args]
        return func(*args, **(kwargs or {}))

    def _cast(self, tensor: Tensor) -> Tensor:
        """Of a weight that learns one copy serves all its uses."""
        if tensor.dtype != torch.float32:
            return tensor
        if not (tensor.requires_grad and tensor.is_leaf):
            return tensor.to(torch.bfloat16)
        if id(tensor) not in self._weights:
            self._weights[id(tensor)] = tensor, tensor.to(torch.bfloat16)
        return self._weights[id(tensor)][1]


class _Attending(Packed):
    """Stands for a fused kernel, or for attention document by document, whose outputs are put together in a copy."""

    def __init__(self, slots: int, rows: Tensor, half: bool, split: bool) -> None:
        super().__init__((slots,), rows=rows)
        self.longest = 0  # no family's window is looked at: what is kept does not depend on it
        self._half, self._split = half, split

    def attend(
        self, _layer: int, query: Tensor, key: Tensor, value: Tensor, _scale: float | None, _dropout: float, /
    ) -> Tensor:
        """[1, H, T, E], [1, G, T, E], [1, G, T, F] -> [1, T, H, F]"""
        kind = torch.float32 if self._split or not self._half else torch.bfloat16
        out: Any = _Attention.apply(query.to(kind), key.to(kind), value.to(kind))
        out = out.to(query.dtype).transpose(1, 2)
        return out.clone() if self._split else out

    def attend_rows(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None, dropout: float, /) -> Tensor:
        """[1, H, R, E], [1, G, T, E], [1, G, T, F] -> [1, R, H, F]"""
        return self.attend(0, query, key, value, scale, dropout)


class _Loss(torch.autograd.Function):
    """As `loss.CrossEntropy`: the gradient of the logits takes their place."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        return logits.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Tensor:
        return ctx.saved_tensors[0].detach()


class _Attention(torch.autograd.Function):
    """Saves what flash attention saves (Dao 2023, arXiv:2307.08691)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = query.new_empty(*query.shape[:3], value.shape[3])
        ctx.save_for_backward(query, key, value, out, query.new_empty(query.shape[:3], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(one) for one in ctx.saved_tensors[:3])
