"""A new model from pretrained parts: a vision tower, a language model, and a fresh connector between.

Parts are named as on the hub, or are folders. What the hub has is fetched first (`seetell/hub.py`), so transformers
reads folders only, and no code that comes with a model is ever run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    CLIPVisionModel,
    PreTrainedModel,
    SiglipVisionModel,
)

from seetell.console import LONG_BYTES, waiting
from seetell.errors import BadInput, UsageError
from seetell.model.casting import cast_parameters
from seetell.model.config import ModelConfig, processor_constants
from seetell.model.connector import build_connector
from seetell.model.folders import located, refuse_quantized
from seetell.model.quiet import quiet
from seetell.model.self_check import check_model
from seetell.model.tensors import is_finite, refuse_not_finite
from seetell.model.tower import why_not_square, width
from seetell.model.vlm import VLM

# Heads of a matrix multiply run at full speed on a GPU; the hub's own LLaVA rounds its 32,002 tokens to 32,064.
ROWS_MULTIPLE = 64


def load_parts(
    vision: str | Path,
    language: str | Path,
    *,
    connector: str = "mlp2",
    image_id: int,
    vocabulary: int,
    feature_layer: int = -2,
    keep_cls: bool = False,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    seed: int = 0,
    fetched: bool = False,
) -> VLM:
    """A model whose connector has learned nothing yet.

    `vision` is a CLIP or SigLIP model or its vision tower, `language` any decoder with a head. `vocabulary` is
    the tokenizer's length, `<image>` and padding included: the embeddings grow to it if they are shorter.
    With `fetched` parts are only looked for where they were fetched to, also when the hub has newer ones.
    """
    tower = load_vision(vision, dtype, fetched)
    decoder = load_language(language, dtype, fetched)
    grow_vocabulary(decoder, vocabulary)
    mean, std = processor_constants(folder_of(vision))
    joint = build_connector(connector, width(tower.config), cast(Any, decoder.config).hidden_size, seed)
    cast_parameters(joint, dtype)
    vlm = VLM(
        tower,
        joint,
        decoder,
        image_id=image_id,
        pixel_mean=mean,
        pixel_std=std,
        feature_layer=feature_layer,
        keep_cls=keep_cls,
    )
    _check_cls(vlm.config, vision, keep_cls)
    return check_model(vlm.to(device).eval())


def parts_config(
    vision: str | Path,
    language: str | Path,
    *,
    connector: str = "mlp2",
    image_id: int,
    vocabulary: int,
    feature_layer: int = -2,
    keep_cls: bool = False,
) -> ModelConfig:
    """The config of the model that `load_parts` would give, from the parts' configs alone."""
    with reading("language model", language):
        decoder: Any = AutoConfig.from_pretrained(located(language, "language model", weights=False))
        if vocabulary > decoder.vocab_size:
            decoder.vocab_size = _rows(vocabulary)
    tower = vision_config(vision)  # before its image processor: a name of nothing is reported as the tower's
    mean, std = processor_constants(folder_of(vision))
    config = ModelConfig(
        vision=tower,
        language=decoder,
        connector=connector,
        image_id=image_id,
        pixel_mean=mean,
        pixel_std=std,
        feature_layer=feature_layer,
        keep_cls=keep_cls,
    )
    _check_cls(config, vision, keep_cls)
    return config


def _check_cls(config: ModelConfig, vision: str | Path, asked: bool) -> None:
    if asked and not config.keep_cls:
        raise UsageError(f"The vision tower {vision} has no CLS token to keep: leave keep_cls out.")


def vision_config(name: str | Path, fetched: bool = False) -> Any:
    """A vision tower's own config, also out of a model of pictures and texts."""
    with reading("vision tower", name):
        whole = AutoConfig.from_pretrained(located(name, "vision tower", weights=False, newest=not fetched))
    refuse_quantized(whole.to_dict(), name)
    config = getattr(whole, "vision_config", whole)
    if why := why_not_square(config):
        raise BadInput(f"The vision tower {name} {why}.")
    return config


def load_vision(name: str | Path, dtype: torch.dtype | str, fetched: bool = False) -> PreTrainedModel:
    """The tower of a CLIP or SigLIP model or a folder of the tower alone, or another family's; "auto": as stored."""
    kind = vision_config(name, fetched).model_type
    with reading("vision tower", name):
        families: dict[str, Any] = {"clip": CLIPVisionModel, "siglip": SiglipVisionModel}
        family = families.get(kind.removesuffix("_vision_model"), AutoModel)
        folder = located(name, "vision tower", newest=not fetched)
        with loading("vision tower", name, folder):
            tower, report = family.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    _check_report(report, "vision tower", name)
    _refuse_not_finite(tower, name)
    return tower


def load_language(name: str | Path, dtype: torch.dtype | str, fetched: bool = False) -> PreTrainedModel:
    """A decoder with its head; "auto": as stored."""
    with reading("language model", name):
        folder = located(name, "language model", newest=not fetched)
        config = AutoConfig.from_pretrained(folder)
    refuse_quantized(config.to_dict(), name)
    with reading("language model", name):
        family: Any = AutoModelForCausalLM
        with loading("language model", name, folder):
            decoder, report = family.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    _check_report(report, "language model", name)
    _refuse_not_finite(decoder, name)
    return decoder


def _refuse_not_finite(part: PreTrainedModel, name: str | Path) -> None:
    refuse_not_finite([key for key, weight in part.named_parameters() if not is_finite(weight)], name)


def grow_vocabulary(language: PreTrainedModel, vocabulary: int) -> None:
    """Makes room for new tokens, each new row the mean of the old ones: the same bits every time."""
    old: int = cast(Any, language.get_input_embeddings()).weight.shape[0]
    if vocabulary <= old:
        return
    language.resize_token_embeddings(_rows(vocabulary), mean_resizing=False)
    for part in cast(Any, (language.get_input_embeddings(), language.get_output_embeddings())):
        with torch.no_grad():
            part.weight[old:] = mean_row(part.weight[:old])


def _rows(vocabulary: int) -> int:
    return -(-vocabulary // ROWS_MULTIPLE) * ROWS_MULTIPLE


def mean_row(table: Tensor) -> Tensor:
    """[rows, D] -> [D]"""
    return table.double().mean(0).to(table.dtype)


@contextmanager
def reading(what: str, name: str | Path) -> Iterator[None]:
    """Quiet while transformers reads, and its failures told in one sentence."""
    try:
        with quiet():
            yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise BadInput(f"The {what} {name} cannot be loaded: {_first_sentence(error)}") from error


@contextmanager
def loading(what: str, name: str | Path, folder: Path) -> Iterator[None]:
    """Says which part is loaded, and how large its files are."""
    size = sum(path.stat().st_size for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
    with waiting(f"Loading the {what} {name}, {size / 2**30:.1f} GiB", is_long=size >= LONG_BYTES):
        yield


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."


def _check_report(report: dict[str, Any], what: str, name: str | Path) -> None:
    """transformers only reports what it did not find and fills it with noise; we refuse it."""
    for problem in ("missing_keys", "mismatched_keys", "error_msgs"):
        if found := sorted(map(str, report.get(problem) or ())):
            kind = problem.replace("_", " ")
            raise BadInput(f"The {what} {name} has {kind}: {', '.join(found[:6])}; fetch it again.")


def folder_of(name: str | Path) -> Path:
    """Where a vision tower's image processor lies on this machine."""
    return located(name, "vision tower", weights=False)
