"""What a run is: the parts, the data, and for each stage what learns and how fast. No tensors here.

The fields and their defaults follow the LLaVA papers (Liu et al. 2023, arXiv:2304.08485 and 2310.03744)
and the settings of the authors' published training scripts: AdamW without weight decay, cosine decay
after 3 % of warm-up, gradients clipped at norm 1, sequences of at most 2048 tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seetell.config import nearest
from seetell.errors import ConfigError
from seetell.model.layouts import CONNECTORS

SEED_BITS = 63  # what torch's generators take
JOINED: dict[str, Any] = {"connector": "mlp2", "feature_layer": -2, "keep_cls": False}  # as in LLaVA-1.5
AUTO: Literal["auto"] = "auto"
LEARNABLE = ("connector", "language")  # the vision tower stays as it was pretrained, as in LLaVA


@dataclass(frozen=True, slots=True)
class Model:
    """The parts: a vision tower and a language model, each by hub name or folder, joined by a connector.

    `feature_layer` is the tower's hidden state that is read (-2, the last but one, where nothing is said), `keep_cls`
    gives the tower's CLS token a place before the patches. `start` is a finished model folder to go on from: it
    decides all of these, so nothing else is set beside it.
    """

    vision: str = ""
    language: str = ""
    connector: str | None = None
    feature_layer: int | None = None
    keep_cls: bool | None = None
    start: str = ""

    def __post_init__(self) -> None:
        said = {name: getattr(self, name) for name in JOINED if getattr(self, name) is not None}
        if self.start:
            parts = {name: part for name, part in (("vision", self.vision), ("language", self.language)) if part}
            if beside := {**parts, **said}:
                asked = " ".join(f"--set model.{name}={'' if name in parts else 'none'}" for name in beside)
                raise ConfigError(
                    f'model.start="{self.start}" decides {", ".join(beside)} itself: leave it out ({asked})'
                )
        elif not (self.vision and self.language):
            raise ConfigError("a model needs vision and language, or start (the folder of a finished model)")
        elif self.joined["connector"] not in CONNECTORS:
            raise ConfigError(f"There is no connector {self.connector!r}: it is linear or mlp1 ... mlp8.")

    @property
    def joined(self) -> dict[str, Any]:
        """How the two parts are joined: as the recipe says, else as in LLaVA-1.5. Nothing where `start` decides it."""
        given = {name: getattr(self, name) for name in JOINED}
        return {} if self.start else {name: JOINED[name] if at is None else at for name, at in given.items()}


@dataclass(frozen=True, slots=True)
class Data:
    """A conversation file and the folder its pictures are in: `images`, else where the file lies or `images/` there.

    `path` may also name tar shards, which hold both: one, a folder of them, or `shards/{000..007}.tar`.
    `share` keeps that fraction of the rows (chosen by the recipe's seed), `times` shows each row that many
    times an epoch.
    """

    path: str
    images: str = ""
    format: str = "auto"
    share: float = 1.0
    times: int = 1

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(f"share is the fraction of the rows to keep, above 0 and at most 1, not {self.share}")
        _at_least("times", self.times, 1)

    @property
    def folder(self) -> Path:
        """What the names of pictures are taken from."""
        return Path(self.images) if self.images else Path(self.path).parent


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank matrices that learn in the language model's stead, at `lr.language`; the connector learns whole.

    `bits` is how the frozen language model below them is kept: 16 as it is, 8 or 4 by bitsandbytes (QLoRA).
    """

    rank: int = 128
    alpha: int = 256
    dropout: float = 0.05
    bits: Literal[16, 8, 4] = 16

    def __post_init__(self) -> None:
        _at_least("lora.rank", self.rank, 1)
        _at_least("lora.alpha", self.alpha, 1)
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"lora.dropout is a probability, at least 0 and below 1, not {self.dropout}")


@dataclass(frozen=True, slots=True)
class Stage:
    """One pass of learning. `lr` names what learns, each with its peak rate; what it does not name is frozen.

    `template` is a name of the table, "own" (the language model's chat template) or "package.module:thing"; `image` is
    how a picture becomes a square. "auto" is what the model to start from was tuned in, else vicuna-v1 and pad
    (`start.settled`).
    `micro_tokens` bounds one forward pass (memory), never the optimizer step, which is counted in samples.
    `steps` are counted in samples, or are as many full micro-batches as hold about that many ("packed": fewer tokens
    lost to rounding, and the samples of a step float around their number).
    `share_images` keeps up to 4 samples about one picture in one step, where its tokens then stand only once.
    `picture_decoding` "fast" is for machines whose cores cannot keep up: a third less work a picture, and values that
    now and then are a grey level away from those the finished model is shown (`encode/image.py`).
    `checkpointing` computes parts of a block again for the gradients instead of keeping them, `compile` compiles the
    blocks, and `fp8` holds the frozen language model's matrices in 8 bits (an approximation; the others are exact).
    `sharding` says whether every rank keeps the whole model or a part; "auto" cuts it up where all of it learns.
    `cache_features` keeps what the frozen tower saw on the disk, so a picture is seen once in the whole run.
    `held_out` is a share of the pictures, on whose samples the loss is measured and nothing learns (`held_out.py`).
    `memory` "trust" begins also where the estimate says that the device cannot hold the stage (`room.py`).
    `optimizer`: plain AdamW learns in float32; the others (`train/lean.py`) let one card hold a 7B that learns whole.
    """

    data: tuple[Data, ...]
    lr: Mapping[str, float]
    samples_per_step: int
    epochs: int = 1
    template: str = AUTO
    image: Literal["auto", "square", "pad", "stretch"] = AUTO
    picture_decoding: Literal["exact", "fast"] = "exact"
    warmup: float = 0.03
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = 0.0
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    max_tokens: int = 2048
    micro_tokens: int = 8192
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    sharding: Literal["auto", "replicate", "shard"] = "auto"
    cache_features: bool = False
    steps: Literal["samples", "packed"] = "samples"
    share_images: bool = False
    lora: Lora | None = None
    checkpointing: Literal["auto", "off", "selective", "full"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    fp8: bool = False
    optimizer: Literal["adamw", "adamw-8bit", "adamw-bf16"] = "adamw"
    memory: Literal["check", "trust"] = "check"
    held_out: float = 0.0

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigError("a stage needs data: at least one Data(path, images)")
        if not self.lr:
            raise ConfigError(f"lr names nothing, so nothing would learn; name one of {', '.join(LEARNABLE)}")
        for name, rate in self.lr.items():
            if name not in LEARNABLE:
                raise ConfigError(f'lr names "{name}", which is no part of the model; {nearest(name, LEARNABLE)}')
            if rate <= 0:
                raise ConfigError(f"lr.{name} must be above 0, not {rate}; to freeze a part, leave it out of lr")
        if self.optimizer != "adamw" and self.precision == "float32":
            raise ConfigError(f'optimizer="{self.optimizer}" keeps weights in bfloat16: leave precision at auto')
        if self.lora is not None and "language" not in self.lr:
            raise ConfigError("lora learns at the rate of the language model: name it in lr, as in lr.language=2e-4")
        if self.fp8 and "language" in self.lr and self.lora is None:
            raise ConfigError("fp8 is for matrices that do not learn, and lr names the language model; leave one out")
        if self.lora is not None and self.sharding == "shard":
            raise ConfigError('lora keeps the whole frozen model on every rank: leave sharding at "auto"')
        if self.fp8 and self.sharding == "shard":
            raise ConfigError('fp8 keeps the whole frozen model on every rank: leave sharding at "auto"')
        if self.optimizer == "adamw-8bit" and self.sharding == "shard":
            raise ConfigError('moments in 8 bits are for a model that one card holds: with shards, take "adamw-bf16"')
        if not 0.0 <= self.held_out < 1.0:
            raise ConfigError(f"held_out is a share of the pictures, at least 0 and below 1, not {self.held_out}")
        for name in ("samples_per_step", "epochs", "max_tokens"):
            _at_least(name, getattr(self, name), 1)
        if self.micro_tokens < 128 or self.micro_tokens % 128:
            raise ConfigError(f"micro_tokens must be a multiple of 128, for micro-batches are, not {self.micro_tokens}")
        if not 0.0 <= self.warmup < 1.0:
            raise ConfigError(f"warmup is a fraction of the steps, at least 0 and below 1, not {self.warmup}")
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ConfigError(f"betas are AdamW's two averages, each at least 0 and below 1, not {self.betas}")
        if self.eps <= 0:
            raise ConfigError(f"eps keeps AdamW from dividing by 0 and must be above 0, not {self.eps}")
        if self.weight_decay < 0:
            raise ConfigError(f"weight_decay must be at least 0, not {self.weight_decay}")
        if self.clip <= 0:
            raise ConfigError(f"clip is the largest gradient norm and must be above 0, not {self.clip}")

    @property
    def shardings(self) -> tuple[bool, ...]:
        """Whether several ranks cut the model up: first as this stage has it, then as `sharding` could be told to.

        LoRA, fp8 and moments in 8 bits need the whole model on every rank.
        """
        if self.sharding != "auto":
            return (self.sharding == "shard",)
        if self.lora is not None or self.fp8 or self.optimizer == "adamw-8bit":
            return (False,)
        return (True,) if "language" in self.lr else (False, True)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A run: align (the connector learns the tower's language), then tune (the model learns to follow)."""

    model: Model
    align: Stage | None = None
    tune: Stage | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.align is None and self.tune is None:
            raise ConfigError("a recipe needs a stage: align, tune, or both")
        *before, last = self.stages.items()
        for name, stage in before:
            if stage.lora is not None:
                raise ConfigError(f"{name}.lora: an adapter is what a run ends with, so only {last[0]} can have one")
        if last[1].lora is not None and not before and not self.model.start:
            raise ConfigError(
                f"{last[0]}.lora lies over a finished model, and there is none: give model.start, or an align stage"
            )
        if not 0 <= self.seed < 2**SEED_BITS:
            raise ConfigError(f"seed must be at least 0 and below 2**{SEED_BITS}, not {self.seed}")

    @property
    def stages(self) -> dict[str, Stage]:
        """The stages there are, in the order they run."""
        named = {"align": self.align, "tune": self.tune}
        return {name: stage for name, stage in named.items() if stage is not None}

    @property
    def last_stage(self) -> str:
        """The one that the run ends with."""
        return list(self.stages)[-1]

    def can_lora(self, stage: str) -> bool:
        """Whether this stage could learn by LoRA: the last, over a connector that has learned before."""
        return stage == self.last_stage and bool(self.model.start or len(self.stages) > 1)


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{name} must be at least {least}, not {value}")
