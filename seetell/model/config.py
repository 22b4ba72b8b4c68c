"""What a LLaVA model is, without its weights: one frozen value, read from config.json and written to it here alone.

Whoever builds the modules, counts image tokens or names the connector asks this value: training, `plan`, `show`,
load, export. So they cannot differ.

The file is transformers' LlavaConfig. Beside LLaVA's own keys it keeps `pixel_mean` and `pixel_std`, which the tower
cannot do without. What transformers' LLaVA has no place for is `model_type: seetell`, with its `connector`. The
strategy "full" means that no token of the tower is dropped: CLS is kept, or there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import LlavaConfig, PreTrainedConfig

from seetell.console import command
from seetell.errors import BadInput, UsageError
from seetell.files import as_object, read_json
from seetell.model.connector import slots
from seetell.model.folders import ADAPTER_CONFIG, refuse_quantized, whole_folder
from seetell.model.layouts import CONNECTORS
from seetell.model.tower import has_cls, layers_used, side_and_patch, why_not_square

STRATEGIES = ("default", "full")

Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The parts' own configs and what joins them.

    `keep_cls`: the tower's CLS token has a place among the image tokens; false where the tower has none, whatever was
    asked. `is_llava`: the folder says `LlavaForConditionalGeneration`.
    """

    vision: PreTrainedConfig
    language: PreTrainedConfig
    connector: str
    image_id: int
    pixel_mean: Three
    pixel_std: Three
    feature_layer: int = -2
    keep_cls: bool = False
    is_llava: bool = True

    def __post_init__(self) -> None:
        if why := why_not_square(self.vision):
            raise UsageError(f"The vision tower {why}.")
        if self.keep_cls and not has_cls(self.vision, self.layers_used):
            object.__setattr__(self, "keep_cls", False)

    @property
    def layers_used(self) -> int:
        """How many of the tower's layers lie before what is read of it."""
        return layers_used(self.vision, self.feature_layer)

    @property
    def drops_cls(self) -> bool:
        """Whether the first of the tower's tokens is CLS and is left out."""
        return not self.keep_cls and has_cls(self.vision, self.layers_used)

    @property
    def side_px(self) -> int:
        return side_and_patch(self.vision)[0]

    @property
    def patch_px(self) -> int:
        return side_and_patch(self.vision)[1]

    @property
    def image_tokens(self) -> int:
        """How many places of the sentence one picture takes."""
        return slots(self.side_px, self.patch_px, self.keep_cls)

    @classmethod
    def from_folder(cls, folder: Path) -> ModelConfig:
        """What a model's folder says of itself, or the one below an adapter, if it is a LLaVA that can be built."""
        folder = whole_folder(folder)
        return cls.from_json(config_of(folder), folder)

    @classmethod
    def from_json(cls, config: Mapping[str, Any], where: Path) -> ModelConfig:
        """The same from what stands in config.json; `where` is the folder, for messages and its image processor."""
        refuse_quantized(config, where)
        kind = config.get("model_type")
        if "mm_vision_tower" in config:
            raise BadInput(
                f"{where} is a {kind!r} model of the first LLaVA's layout; this makes it one of ours: "
                f"{command('import', where, '--out', 'FOLDER')}"
            )
        if kind not in ("llava", "seetell") or config.get("image_grid_pinpoints"):
            tiles = "which cuts a picture into tiles, " if config.get("image_grid_pinpoints") else ""
            raise BadInput(
                f"{where} holds a {kind!r} model, {tiles}not a LLaVA-1 or 1.5: see {command('import', '--help')}."
            )
        layer = config.get("vision_feature_layer", -2)
        if not isinstance(layer, int):
            raise BadInput(
                f"{where} reads the tower's layers {layer} together, which is not LLaVA: choose another model."
            )
        strategy = config.get("vision_feature_select_strategy", "default")
        if strategy not in STRATEGIES:
            raise BadInput(f"{where} selects the tower's tokens by {strategy!r}: only {' and '.join(STRATEGIES)}.")
        connector = _connector(config, where)
        mean, std = pixel_constants(config, where)
        try:
            # LlavaConfig completes what the hub's short configs leave out.
            whole: Any = LlavaConfig(
                vision_config=dict(config["vision_config"]), text_config=dict(config["text_config"])
            )
            image_id = int(config.get("image_token_index", config.get("image_token_id", 32000)))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{where}/config.json does not describe a model that can be built ({error}).") from error
        try:
            found = cls(
                vision=whole.vision_config,
                language=whole.text_config,
                connector=connector,
                image_id=image_id,
                pixel_mean=mean,
                pixel_std=std,
                feature_layer=layer,
                keep_cls=strategy == "full",
                is_llava=kind == "llava",
            )
            drops_cls = found.drops_cls
        except UsageError as error:
            raise BadInput(f"{where}/config.json: {error}") from error
        if strategy == "default" and not drops_cls:
            raise BadInput(f"{where} drops the first token of a tower without CLS, a patch: make its strategy 'full'.")
        return found

    def to_json(self, dtype: str) -> dict[str, Any]:
        """What config.json says. `dtype` is the type that most weights are stored in, such as "bfloat16"."""
        config = LlavaConfig(
            vision_config=_stored(self.vision),
            text_config=_stored(self.language),
            image_token_index=self.image_id,
            image_seq_length=self.image_tokens,
            projector_hidden_act="linear" if self.connector == "linear" else "gelu",
            vision_feature_layer=self.feature_layer,
            vision_feature_select_strategy="default" if self.drops_cls else "full",
        ).to_diff_dict()
        config |= {"pixel_mean": list(self.pixel_mean), "pixel_std": list(self.pixel_std), "dtype": dtype}
        if self.is_llava:
            return config | {"architectures": ["LlavaForConditionalGeneration"]}
        return config | {"model_type": "seetell", "connector": self.connector}


def config_of(folder: Path) -> dict[str, Any]:
    """A folder's config.json, whatever kind of model it describes."""
    path = folder / "config.json"
    try:
        config = as_object(read_json(path))
    except FileNotFoundError:
        if (folder / ADAPTER_CONFIG).exists():
            merging = command("export", folder, "--to", "hf", "--out", "FOLDER")
            raise BadInput(f"{folder} is an adapter, not a whole model: merge it first ({merging}).") from None
        raise BadInput(f"{folder} has no config.json: it is not a model's folder.") from None
    except ValueError as error:
        raise BadInput(str(error)) from None
    if config is None:
        raise BadInput(f"{path} is not a model's config, a JSON object: fetch or save it again.")
    return config


def pixel_constants(config: Mapping[str, Any], where: Path) -> tuple[Three, Three]:
    """The mean and deviation that the tower's pictures are normalized with: the config's, or the image processor's."""
    if config.get("pixel_mean") and config.get("pixel_std"):
        try:
            return three(config["pixel_mean"]), three(config["pixel_std"])
        except (TypeError, ValueError):
            raise BadInput(f"{where}/config.json: pixel_mean and pixel_std are three numbers each.") from None
    return processor_constants(where)


def processor_constants(folder: Path) -> tuple[Three, Three]:
    """The same from a folder's preprocessor_config.json, or from where transformers 5 keeps it."""
    path = folder / "preprocessor_config.json"
    try:
        held = read_json(path) if path.exists() else read_json(folder / "processor_config.json")["image_processor"]
        factor = held.get("rescale_factor", 1 / 255)
        if held.get("do_rescale", True) is not True or abs(float(factor) - 1 / 255) > 1e-9:
            told = f"do_rescale = {held.get('do_rescale', True)!r} and rescale_factor = {factor!r}"
            raise BadInput(f"{path} says {told}: only towers whose pixels are scaled by 1/255 are built here.")
        if held.get("do_normalize", True) is False:
            return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        return three(held["image_mean"]), three(held["image_std"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(f"{path} does not say image_mean and image_std: copy it from the tower's own model.") from None


def three(numbers: Any) -> Three:
    """A number for each of red, green and blue."""
    red, green, blue = (float(number) for number in numbers)
    return red, green, blue


def _connector(config: Mapping[str, Any], where: Path) -> str:
    activation = config.get("projector_hidden_act", "gelu")
    if activation not in ("gelu", "linear") or config.get("multimodal_projector_bias", True) is not True:
        raise BadInput(f"{where} has a connector with activation {activation!r} or without bias: only GELU and bias.")
    name = config.get("connector") or {"gelu": "mlp2", "linear": "linear"}[activation]
    if name not in CONNECTORS:
        raise BadInput(f"{where} has a connector {name!r}: known are {', '.join(CONNECTORS)}.")
    return str(name)


def _stored(config: PreTrainedConfig) -> dict[str, Any]:
    left_out = ("transformers_version", "_name_or_path", "dtype")
    return {key: value for key, value in config.to_dict().items() if key not in left_out}
