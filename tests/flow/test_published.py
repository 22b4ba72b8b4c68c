"""Model folders as others publish them: imported as they are, or refused by name."""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Siglip2VisionConfig

from seetell.encode.processor import Processor
from seetell.errors import BadInput, UsageError
from seetell.infer.reading import read_model
from seetell.model.adapter import load_any, lora_parameters
from seetell.model.config import processor_constants
from seetell.model.hub import own_tensors
from seetell.model.parts import load_language, load_vision, vision_config
from seetell.model.weights import load_model, save_model
from seetell.verbs.importing import import_model
from tests.tiny_folders import change_json, write_adapter, write_whole
from tests.tiny_layouts import (
    TEXT_ROWS,
    as_hub,
    as_original,
    same,
    tensors_in,
    theirs,
    write_published_lora,
    write_tower,
)
from tests.tiny_models import tiny_language, tiny_vlm
from tests.tiny_tokenizers import byte_level_hf

QUANTIZED: dict[str, dict[str, object]] = {
    "awq": {"quant_method": "awq", "bits": 4},
    "gptq": {"quant_method": "gptq", "bits": 4},
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "load_in_8bit": {"load_in_8bit": True},
    "fp8": {"quant_method": "fp8"},
    "compressed-tensors": {"quant_method": "compressed-tensors", "format": "float-quantized"},
}


def add_projector(folder: Path, held: dict[str, Tensor]) -> None:
    names = {"linear_1": "0", "linear_2": "2"}
    connector = {name.split(".", 1)[1]: tensor for name, tensor in held.items() if name.startswith("connector.")}
    torch.save(
        {f"model.mm_projector.{names[name[:8]]}{name[8:]}": tensor for name, tensor in connector.items()},
        folder / "mm_projector.bin",
    )


def test_whole_weights_win_over_the_connector_beside_them(tmp_path: Path) -> None:
    """As liuhaotian/llava-v1.5-7b lies on the hub."""
    expected = as_original(tmp_path / "source", "llava_llama", "mlp2", False)
    add_projector(tmp_path / "source", expected)
    found = own_tensors(load_model(import_model(tmp_path / "source", tmp_path / "out")))
    assert same(
        {
            name: tensor[:TEXT_ROWS] if "embed" in name or "lm_head" in name else tensor
            for name, tensor in found.items()
        },
        expected,
    )


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A hub whose models lie in folders; what is fetched is copied, and only what the patterns name."""
    models: dict[str, Path] = {}

    def download(name: str, *, allow_patterns: Sequence[str], ignore_patterns: Sequence[str] = ()) -> str:
        cache = tmp_path / "cache" / name
        for path in models[name].rglob("*"):
            inside = path.relative_to(models[name]).as_posix()
            wanted = any(fnmatch.fnmatch(inside, pattern) for pattern in allow_patterns)
            if path.is_file() and wanted and not any(fnmatch.fnmatch(inside, each) for each in ignore_patterns):
                (cache / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, cache / inside)
        return str(cache)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return models


def test_a_first_release_is_fetched_by_name_with_its_weights(tmp_path: Path, hub: dict[str, Path]) -> None:
    source = tmp_path / "source"
    add_projector(source, as_original(source, "llava_llama", "mlp2", False))
    (source / "checkpoint-5").mkdir()
    shutil.copyfile(source / "config.json", source / "checkpoint-5" / "config.json")
    hub["liuhaotian/llava-v1.5-7b"] = source
    import_model("liuhaotian/llava-v1.5-7b", tmp_path / "named")
    import_model(source, tmp_path / "placed")
    assert same(tensors_in(tmp_path / "named"), tensors_in(tmp_path / "placed"))
    assert not (tmp_path / "cache" / "liuhaotian" / "llava-v1.5-7b" / "checkpoint-5").exists()


def test_safetensors_are_fetched_alone(tmp_path: Path, hub: dict[str, Path]) -> None:
    as_hub(tmp_path / "source", theirs())
    (tmp_path / "source" / "pytorch_model.bin").touch()
    hub["llava-hf/llava-1.5-7b-hf"] = tmp_path / "source"
    import_model("llava-hf/llava-1.5-7b-hf", tmp_path / "out")
    assert not (tmp_path / "cache" / "llava-hf" / "llava-1.5-7b-hf" / "pytorch_model.bin").exists()


# ---------------------------------------------------------------------------------------- LoRA of the first LLaVA


@pytest.mark.parametrize("form", ["bin", "safetensors"])
def test_a_published_lora_is_merged_into_its_base(tmp_path: Path, hub: dict[str, Path], form: str) -> None:
    source, base = tmp_path / "llava-v1.5-7b-lora", tmp_path / "vicuna"
    expected = write_published_lora(source, base, form)
    with pytest.raises(UsageError, match=r"say --base, the model .* calls it lmsys/vicuna-7b-v1\.5"):
        import_model(source, tmp_path / "out")
    with pytest.raises(BadInput, match=r"merge them \(.*seetell import .* --base lmsys/vicuna-7b-v1\.5"):
        read_model(source)
    hub |= {"liuhaotian/llava-v1.5-7b-lora": source, "lmsys/vicuna-7b-v1.5": base}
    import_model("liuhaotian/llava-v1.5-7b-lora", tmp_path / "out", base="lmsys/vicuna-7b-v1.5")
    found = own_tensors(load_model(tmp_path / "out"))
    for name in ("language.model.embed_tokens.weight", "language.lm_head.weight"):
        found[name] = found[name][:TEXT_ROWS]
    assert same(found, expected)
    assert Processor.load(tmp_path / "out").image_processor.mode == "pad"


def test_a_lora_that_cannot_be_merged_is_told(tmp_path: Path) -> None:
    source, base = tmp_path / "source", tmp_path / "base"
    write_published_lora(source, base, "bin")
    out = tmp_path / "out"

    def told(match: str, **parts: str) -> None:
        with pytest.raises((BadInput, UsageError), match=match):
            import_model(source, out, **{"base": str(base), **parts})
        assert not out.exists()

    change_json(source / "adapter_config.json", use_dora=True)
    told("use_dora = True, which is not built here")
    change_json(source / "adapter_config.json", use_dora=False)
    change_json(base / "config.json", quantization_config={"quant_method": "awq"})
    told(r"base is quantized \(awq\)")
    change_json(base / "config.json", quantization_config=None)
    tiny_language("llama", vocabulary=TEXT_ROWS).save_pretrained(tmp_path / "deeper")
    tensors = tensors_in(tmp_path / "deeper")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "deeper" / "model.safetensors")
    byte_level_hf().save_pretrained(tmp_path / "deeper")
    told(r"deeper is not the base .* it lacks model\.layers\.1\.mlp\.up_proj\.weight", base=str(tmp_path / "deeper"))
    (source / "non_lora_trainables.bin").unlink()
    told(r"has no non_lora_trainables\.bin, where its connector would be")
    as_original(tmp_path / "whole", "llava_llama", "mlp2", False)
    with pytest.raises(UsageError, match="leave --base out"):
        import_model(tmp_path / "whole", out, base=str(base))


def test_our_own_adapter_is_imported_as_the_whole_model_it_makes(tmp_path: Path) -> None:
    base = write_whole(tmp_path / "base", tmp_path / "world")
    write_adapter(tmp_path / "adapter", base)
    import_model(tmp_path / "adapter", tmp_path / "out")
    assert not lora_parameters(load_model(tmp_path / "out"))
    key = "language.model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(own_tensors(load_model(tmp_path / "out"))[key], own_tensors(load_model(base))[key])


# ---------------------------------------------------------------------------------------- refused by name


@pytest.mark.parametrize("kind", QUANTIZED)
def test_quantized_weights_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    as_original(tmp_path / "original", "llava_llama", "mlp2", False)
    as_hub(tmp_path / "hub", theirs())
    write_tower(tmp_path / "tower")
    tiny_language().save_pretrained(tmp_path / "language")
    for name in ("original", "hub", "tower", "language"):
        change_json(tmp_path / name / "config.json", quantization_config=QUANTIZED[kind])
    told = rf"is quantized \({kind}\)"
    for name in ("original", "hub"):
        with pytest.raises(BadInput, match=told):
            import_model(tmp_path / name, tmp_path / "out")
        with pytest.raises(BadInput, match=told):
            read_model(tmp_path / name)
    with pytest.raises(BadInput, match=told):
        load_vision(tmp_path / "tower", torch.float32)
    with pytest.raises(BadInput, match=told):
        load_language(tmp_path / "language", torch.float32)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_numbers_that_are_none_are_refused_at_load(tmp_path: Path, number: float, kind: torch.dtype) -> None:
    vlm = tiny_vlm().to(kind)
    save_model(vlm, tmp_path / "model")
    load_model(tmp_path / "model")
    with torch.no_grad():
        vlm.connector.get_parameter("linear_2.bias")[3] = number
    save_model(vlm, tmp_path / "model")
    told = r"hold NaN or infinite numbers: multi_modal_projector\.linear_2\.bias"
    with pytest.raises(BadInput, match=told):
        load_model(tmp_path / "model")


def test_numbers_that_are_none_are_refused_in_parts_and_adapters(tmp_path: Path) -> None:
    language, tower = tiny_language(), write_tower(tmp_path / "tower")
    with torch.no_grad():
        language.get_parameter("model.norm.weight")[0] = float("nan")
    language.save_pretrained(tmp_path / "language")
    with pytest.raises(BadInput, match=r"NaN or infinite numbers: model\.norm\.weight"):
        load_language(tmp_path / "language", torch.float32)
    tensors = tensors_in(tower)
    name = next(name for name in tensors if name.endswith("layer_norm1.weight"))
    tensors[name][0] = float("-inf")
    save_file(tensors, tower / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"NaN or infinite numbers: .*layer_norm1"):
        load_vision(tower, torch.float32)
    adapter = write_adapter(tmp_path / "adapter", write_whole(tmp_path / "base", tmp_path / "world"))
    tensors = tensors_in(adapter)
    name = next(name for name in tensors if "lora_B" in name)
    tensors[name][0, 0] = float("nan")
    save_file(tensors, adapter / "adapter_model.safetensors")
    with pytest.raises(BadInput, match=r"NaN or infinite numbers: .*lora_B"):
        load_any(adapter)


@pytest.mark.parametrize("aspect", ["anyres", "anyres_max_9", "highres"])
def test_first_releases_of_tiles_are_refused_not_squared(tmp_path: Path, aspect: str) -> None:
    as_original(tmp_path / "source", "llava_llama", "mlp2", False, aspect)
    change_json(tmp_path / "source" / "config.json", image_grid_pinpoints=[[336, 672], [672, 336]])
    with pytest.raises(BadInput, match=f"image_aspect_ratio = '{aspect}', which is not built here"):
        import_model(tmp_path / "source", tmp_path / "out")


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "llava_next", "image_grid_pinpoints": [[336, 672]]},
        {"model_type": "llava_onevision", "image_grid_pinpoints": [[384, 768]], "vision_aspect_ratio": "anyres_max_9"},
        {"image_grid_pinpoints": [[336, 672]]},
    ],
)
def test_tiles_in_transformers_layout_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    as_hub(tmp_path / "source", theirs())
    change_json(tmp_path / "source" / "config.json", **changes)
    kind = changes.get("model_type", "llava")
    with pytest.raises(BadInput, match=f"holds a '{kind}' model, which cuts a picture into tiles"):
        import_model(tmp_path / "source", tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"do_rescale": False}, "do_rescale = False"), ({"rescale_factor": 1 / 127.5}, "rescale_factor")],
)
def test_a_tower_whose_pixels_are_scaled_otherwise_is_refused(tmp_path: Path, changes: Any, told: str) -> None:
    write_tower(tmp_path)
    change_json(tmp_path / "preprocessor_config.json", **changes)
    with pytest.raises(BadInput, match=told):
        processor_constants(tmp_path)


def test_a_tower_whose_pixels_are_not_normalized_has_mean_0(tmp_path: Path) -> None:
    write_tower(tmp_path)
    change_json(tmp_path / "preprocessor_config.json", do_normalize=False)
    assert processor_constants(tmp_path) == ((0.0,) * 3, (1.0,) * 3)


def test_a_tower_of_pictures_of_any_size_is_refused(tmp_path: Path) -> None:
    """SigLIP2-NaFlex."""
    Siglip2VisionConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match=r"\(siglip2_vision_model\) says no single number for image_size"):
        vision_config(tmp_path)
