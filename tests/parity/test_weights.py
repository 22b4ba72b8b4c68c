"""Weights in every layout that LLaVA has had: read exactly, written exactly, refused by name when not whole."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPImageProcessorPil, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

from seetell.console import BadInput, ServiceError, UsageError
from seetell.encode.processor import Processor
from seetell.model.layouts import hub_name
from seetell.model.parts import load_parts
from seetell.model.weights import load_model, own_tensors, save_model
from seetell.verbs.exporting import export_model
from seetell.verbs.importing import import_model
from tests.tiny_models import MEAN, PATCH_PX, SIDE_PX, SLOTS, STD, tiny_language, tiny_vision, tiny_vlm
from tests.tiny_tokenizers import byte_level_hf, train_sentencepiece

TEXT_ROWS = len(byte_level_hf())  # <image> is the next id; every tiny tokenizer has a pad token


def tensors_in(folder: Path) -> dict[str, Tensor]:
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    """The same names, and of each tensor the same type and bits."""
    return ours.keys() == theirs.keys() and all(
        tensor.dtype == theirs[name].dtype and torch.equal(tensor, theirs[name]) for name, tensor in ours.items()
    )


def write_processor(folder: Path) -> None:
    """Tokenizer and pictures as transformers 5 saves them: all in processor_config.json."""
    tokenizer = byte_level_hf()
    LlavaProcessor(
        CLIPImageProcessorPil(
            size={"shortest_edge": SIDE_PX},
            crop_size={"height": SIDE_PX, "width": SIDE_PX},
            image_mean=MEAN,
            image_std=STD,
        ),
        tokenizer,
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<|im_end|>",  # any that is there: only the files are wanted
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def theirs(tied: bool = False) -> LlavaForConditionalGeneration:
    """transformers' own model, fresh and random, with 64 rows more than the text needs."""
    config = LlavaConfig(
        vision_config=tiny_vision().config.to_dict(),
        text_config=tiny_language(vocabulary=TEXT_ROWS + 64, tied=tied).config.to_dict(),
        image_token_index=TEXT_ROWS,
        image_seq_length=SLOTS,
    )
    torch.manual_seed(3)
    return LlavaForConditionalGeneration(config).eval()


def as_fresh(folder: Path, model: LlavaForConditionalGeneration) -> None:
    """As transformers 5 saves a model made new."""
    model.save_pretrained(folder)
    write_processor(folder)


def renamed(
    folder: Path, model: LlavaForConditionalGeneration, rename: Callable[[str], str], extra: dict[str, Tensor]
) -> None:
    as_fresh(folder, model)
    tensors = {rename(name): tensor.half() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del tensors[rename("lm_head.weight")]
    save_file(tensors | extra, folder / "model.safetensors", metadata={"format": "pt"})


def as_hub(folder: Path, model: LlavaForConditionalGeneration) -> None:
    """The hub's files of 2023 and 2024, in float16, with a computed table among them, and a processor of that time."""

    def rename(name: str) -> str:
        name = name.removeprefix("model.").replace("vision_tower.", "vision_tower.vision_model.")
        name = re.sub(r"^language_model\.", "language_model.model.", name)
        return re.sub(r"^lm_head\.", "language_model.lm_head.", name)

    table = {"vision_tower.vision_model.embeddings.position_ids": torch.arange(SLOTS + 1)[None]}
    renamed(folder, model, rename, table)
    settings = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    (folder / "processor_config.json").unlink()


def as_4_52(folder: Path, model: LlavaForConditionalGeneration) -> None:
    """As transformers 4.52 and later named them in memory."""
    renamed(folder, model, lambda name: name.replace("vision_tower.", "vision_tower.vision_model."), {})


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("layout", [as_fresh, as_hub, as_4_52])
def test_transformers_folders(tmp_path: Path, layout: Callable[..., None], tied: bool) -> None:
    model = theirs(tied)
    source, first, out, second = (tmp_path / name for name in ("source", "first", "out", "second"))
    layout(source, model)
    import_model(source, first)
    expected = {
        "vision_tower.vision_model." + name: tensor for name, tensor in model.model.vision_tower.state_dict().items()
    }
    expected |= {
        "multi_modal_projector." + name: tensor
        for name, tensor in model.model.multi_modal_projector.state_dict().items()
    }
    expected |= {
        "language_model.model." + name: tensor for name, tensor in model.model.language_model.state_dict().items()
    }
    if not tied:
        expected["language_model.lm_head.weight"] = model.lm_head.weight
    if layout is not as_fresh:
        expected = {name: tensor.half() for name, tensor in expected.items()}
    assert same(tensors_in(first), expected)
    export_model(first, "hf", out)
    import_model(out, second)
    assert same(tensors_in(second), tensors_in(first))
    for file in ("config.json", "generation_config.json", "tokenizer.json", "seetell.json", "preprocessor_config.json"):
        assert (second / file).read_bytes() == (first / file).read_bytes(), file
    assert Processor.load(second).tokenizer.image_id == TEXT_ROWS
    assert_transformers_loads(out)


def assert_transformers_loads(folder: Path) -> LlavaForConditionalGeneration:
    family: Any = LlavaForConditionalGeneration
    model, report = family.from_pretrained(folder, output_loading_info=True)
    assert not any(report[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model


ORIGINAL = {
    "mm_hidden_size": 24,
    "mm_vision_select_layer": -2,
    "mm_vision_select_feature": "patch",
    "mm_use_im_start_end": False,
    "mm_use_im_patch_token": False,
    "use_mm_proj": True,
    "tune_mm_mlp_adapter": False,
    "freeze_mm_mlp_adapter": False,
    "tokenizer_padding_side": "right",
    "tokenizer_model_max_length": 2048,
    "image_grid_pinpoints": None,
    "torch_dtype": "float16",
    "rope_scaling": None,
}


def write_tower(folder: Path) -> Path:
    tower = tiny_vision()
    tower.save_pretrained(folder)
    facts = {
        "image_mean": MEAN,
        "image_std": STD,
        "size": {"shortest_edge": SIDE_PX},
        "crop_size": SIDE_PX,
        "resample": 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(facts))
    return folder


def as_original(folder: Path, kind: str, connector: str, with_tower: bool, aspect: str = "pad") -> dict[str, Tensor]:
    """A first release: torch's files in two shards with an index. Gives the tensors in our names."""
    vlm = tiny_vlm(connector=connector, vocabulary=TEXT_ROWS, image_id=0).half()
    own = own_tensors(vlm)
    names = {"connector.linear_1.": "model.mm_projector." if connector == "linear" else "model.mm_projector.0."}
    names |= {"connector.linear_2.": "model.mm_projector.2.", "language.": ""}
    if with_tower:
        names["vision."] = "model.vision_tower.vision_tower.vision_model."
    tensors = {
        new + name.removeprefix(old): tensor
        for old, new in names.items()
        for name, tensor in own.items()
        if name.startswith(old)
    }
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    folder.mkdir(parents=True)
    shards = {
        "pytorch_model-00001-of-00002.bin": sorted(tensors)[:9],
        "pytorch_model-00002-of-00002.bin": sorted(tensors)[9:],
    }
    for file, held in shards.items():
        torch.save({name: tensors[name] for name in held}, folder / file)
    weight_map = {name: file for file, held in shards.items() for name in held}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    text: Any = vlm.language.config
    config = {
        key: getattr(text, key)
        for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    }
    config |= {key: getattr(text, key) for key in ("num_key_value_heads", "max_position_embeddings", "vocab_size")}
    tower = write_tower(folder.parent / "towers" / folder.name)
    config |= ORIGINAL | {"model_type": kind, "mm_vision_tower": str(tower), "image_aspect_ratio": aspect}
    if connector != "linear":
        config["mm_projector_type"] = "mlp2x_gelu"
    (folder / "config.json").write_text(json.dumps(config))
    byte_level_hf().save_pretrained(folder)
    if not with_tower:
        own |= {f"vision.{name}": tensor for name, tensor in tiny_vision().state_dict().items()}
    return own


@pytest.mark.parametrize(
    ("kind", "connector", "with_tower"),
    [("llava", "linear", False), ("llava_llama", "mlp2", False), ("llava_llama", "mlp2", True)],
)
def test_first_releases(tmp_path: Path, kind: str, connector: str, with_tower: bool) -> None:
    source, first, out, second, other = (tmp_path / name for name in ("source", "first", "out", "second", "hf"))
    expected = as_original(source, kind, connector, with_tower)
    import_model(source, first)
    vlm, processor = load_model(first), Processor.load(first)
    found = own_tensors(vlm)
    rows = vlm.embedding.weight.shape[0]
    assert (vlm.image_id, rows) == (TEXT_ROWS, -(-(TEXT_ROWS + 1) // 64) * 64)
    assert (processor.template.name, processor.image_processor.mode) == ("vicuna-v1", "pad")
    for name in ("language.model.embed_tokens.weight", "language.lm_head.weight"):
        new = found[name][TEXT_ROWS:]
        assert torch.equal(new, expected[name].double().mean(0).half().expand_as(new))
        found[name] = found[name][:TEXT_ROWS]
    assert same(found, expected)

    export_model(first, "original", out)
    exported = tensors_in(out)
    assert exported["model.embed_tokens.weight"].shape[0] == exported["lm_head.weight"].shape[0] == TEXT_ROWS
    assert json.loads((out / "config.json").read_text())["vocab_size"] == TEXT_ROWS
    assert ("model.mm_projector.weight" in exported) == (connector == "linear")
    import_model(out, second)
    assert same(tensors_in(second), tensors_in(first))
    assert json.loads((second / "config.json").read_text()) == json.loads((first / "config.json").read_text())
    export_model(second, "hf", other)
    assert same(tensors_in(other), tensors_in(first))
    assert_transformers_loads(other)


def test_a_first_release_with_a_sentencepiece_file(tmp_path: Path) -> None:
    """As they are on the hub: no tokenizer.json, no fast class. The file is taken along, there and back."""
    source = tmp_path / "source"
    as_original(source, "llava", "mlp2", False, "square")
    for path in source.glob("*token*"):
        path.unlink()
    train_sentencepiece(source, TEXT_ROWS)
    words = json.loads((source / "config.json").read_text())
    import_model(source, tmp_path / "first")
    vlm, processor = load_model(tmp_path / "first"), Processor.load(tmp_path / "first")
    assert vlm.image_id == processor.tokenizer.image_id <= words["vocab_size"]
    assert processor.image_processor.mode == "square"
    export_model(tmp_path / "first", "original", tmp_path / "out")
    import_model(tmp_path / "out", tmp_path / "second")
    assert (tmp_path / "second" / "tokenizer.model").read_bytes() == (source / "tokenizer.model").read_bytes()
    assert same(tensors_in(tmp_path / "second"), tensors_in(tmp_path / "first"))


def test_trained_rows_survive_the_first_layout(tmp_path: Path) -> None:
    """Rows that training has moved off the mean are kept: that layout allows more rows than tokens."""
    as_original(tmp_path / "source", "llava_llama", "mlp2", False)
    import_model(tmp_path / "source", tmp_path / "first")
    vlm = load_model(tmp_path / "first")
    with torch.no_grad():
        vlm.head.weight[TEXT_ROWS + 1] += 1
    save_model(vlm, tmp_path / "first")
    export_model(tmp_path / "first", "original", tmp_path / "out")
    import_model(tmp_path / "out", tmp_path / "second")
    assert same(tensors_in(tmp_path / "second"), tensors_in(tmp_path / "first"))


def test_stage_one_projector(tmp_path: Path) -> None:
    vlm = tiny_vlm(vocabulary=TEXT_ROWS, image_id=0)
    vision, language = write_tower(tmp_path / "tower"), tmp_path / "language"
    vlm.language.save_pretrained(language)
    byte_level_hf().save_pretrained(language)
    file = tmp_path / "mm_projector.bin"
    linear = dict(vlm.connector.state_dict())
    names = {"linear_1": "0", "linear_2": "2"}
    held = {f"model.mm_projector.{names[name[:8]]}{name[8:]}": tensor for name, tensor in linear.items()}
    torch.save(held, file)
    with pytest.raises(UsageError, match="--vision and --language"):
        import_model(file, tmp_path / "out")
    import_model(file, tmp_path / "out", vision=str(vision), language=str(language))
    found = load_model(tmp_path / "out")
    assert same(dict(found.connector.state_dict()), linear)
    assert torch.equal(found.embedding.weight[:TEXT_ROWS], vlm.embedding.weight)
    torch.save(held | {"model.mm_projector.4.weight": torch.ones(32, 32)}, file)
    with pytest.raises(BadInput, match=r"missing: connector\.linear_3\.bias"):
        import_model(file, tmp_path / "other", vision=str(vision), language=str(language))
    torch.save({"model.mm_projector.0.weight": print}, file)
    with pytest.raises(BadInput, match="cannot be read as plain tensors"):
        import_model(file, tmp_path / "other", vision=str(vision), language=str(language))


@pytest.mark.parametrize("spoil", ["missing", "surplus", "misshapen"])
def test_wrong_tensors_are_refused_by_name(tmp_path: Path, spoil: str) -> None:
    save_model(tiny_vlm(), tmp_path)
    tensors = tensors_in(tmp_path)
    name = "multi_modal_projector.linear_2.bias"
    if spoil == "missing":
        del tensors[name]
    elif spoil == "misshapen":
        tensors[name] = torch.zeros(7)
    else:
        tensors["model.image_newline"] = torch.zeros(32)
    save_file(tensors, tmp_path / "model.safetensors")
    told = {"missing": r"missing: connector\.linear_2\.bias", "surplus": r"surplus: model\.image_newline"}
    with pytest.raises(
        BadInput, match=told.get(spoil, r"misshapen: connector\.linear_2\.bias \[7\] instead of \[32\]")
    ):
        load_model(tmp_path)


def test_spoiled_folders_are_told_in_a_sentence(tmp_path: Path) -> None:
    good = tmp_path / "good"
    save_model(tiny_vlm(), good)

    def spoiled(change: Callable[[Path], object]) -> Path:
        folder = tmp_path / "spoiled"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(good, folder)
        change(folder)
        return folder

    def config(**changes: object) -> Callable[[Path], object]:
        def change(folder: Path) -> None:
            path = folder / "config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | changes))

        return change

    cases: list[tuple[Callable[[Path], object], str]] = [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{"),
            "not a whole safetensors file",
        ),
        (
            lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "b"}}'),
            "b is missing",
        ),
        (lambda folder: (folder / "model.safetensors.index.json").write_text("[]"), "not an index"),
        (config(model_type="qwen2"), "'qwen2' model, not a LLaVA"),
        (config(vision_feature_layer=[-2, -5]), "layers"),
        (config(projector_hidden_act="relu"), "'relu'"),
        (config(projector_hidden_act="linear"), "nothing between"),
        (config(text_config=None), "does not describe a model"),
        (config(pixel_mean=None), "does not say image_mean"),
        (
            config(tie_word_embeddings=True, text_config=tiny_language(tied=True).config.to_dict()),
            "tie_word_embeddings",
        ),
    ]
    for change, told in cases:
        with pytest.raises(BadInput, match=told):
            load_model(spoiled(change))


def test_what_transformers_has_no_place_for(tmp_path: Path) -> None:
    """A deep connector is our own kind of folder, and no layout of others takes it."""
    vlm = tiny_vlm(connector="mlp3")
    save_model(vlm, tmp_path / "model")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["model_type"] == "seetell"
    assert same(own_tensors(load_model(tmp_path / "model")), own_tensors(vlm))


def test_large_models_are_saved_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seetell.model.tensors.SHARD_SIZE", 50_000)
    vlm = tiny_vlm()
    save_model(vlm, tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert same(own_tensors(load_model(tmp_path)), own_tensors(vlm))
    assert_transformers_loads(tmp_path)
    monkeypatch.undo()
    save_model(vlm, tmp_path)
    assert [path.name for path in tmp_path.glob("model*")] == ["model.safetensors"]


def test_parts(tmp_path: Path) -> None:
    """A new model: CLIP or its tower alone, any decoder, a seeded connector, rows for new tokens."""
    vision = write_tower(tmp_path / "tower")
    tiny_language("qwen2", tied=True).save_pretrained(tmp_path / "language")
    first, second = (
        load_parts(vision, tmp_path / "language", connector="mlp2", image_id=128, vocabulary=130, seed=5)
        for _ in range(2)
    )
    assert same(own_tensors(first), own_tensors(second))
    assert first.embedding.weight.shape[0] == first.head.weight.shape[0] == 192
    assert first.head.weight is first.embedding.weight
    other = load_parts(vision, tmp_path / "language", image_id=127, vocabulary=128, dtype=torch.bfloat16, seed=6)
    assert other.embedding.weight.shape == (128, 32)
    assert {tensor.dtype for tensor in own_tensors(other).values()} == {torch.bfloat16}
    with pytest.raises(BadInput, match=r"The vision tower .*nowhere"):
        load_parts(tmp_path / "nowhere", tmp_path / "language", image_id=1, vocabulary=1)
    weights = load_file(vision / "model.safetensors")
    weights.pop(next(iter(weights)))
    save_file(weights, vision / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="missing keys"):
        load_parts(vision, tmp_path / "language", image_id=1, vocabulary=1)


def test_hub_names_of_other_towers() -> None:
    assert hub_name("vision.embeddings.cls_token", "model", "dinov2") == "vision_tower.embeddings.cls_token"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        import_model(tmp_path, tmp_path)
    with pytest.raises(UsageError, match="no layout 'onnx'"):
        export_model(tmp_path, "onnx", tmp_path / "out")
    with pytest.raises(BadInput, match=r"no config\.json"):
        import_model(tmp_path, tmp_path / "out")
    with pytest.raises(BadInput, match="no name on the hub"):
        import_model(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ServiceError, match="nor is it in the hub's cache"):
        import_model("nobody/nothing", tmp_path / "out")
