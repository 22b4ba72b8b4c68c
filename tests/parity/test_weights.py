"""Weights in every layout that LLaVA has had: read exactly, written exactly, refused by name when not whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

from seetell.encode.processor import Processor
from seetell.errors import BadInput, ServiceError, UsageError
from seetell.model.hub import own_tensors
from seetell.model.layouts import hub_name
from seetell.model.parts import load_parts
from seetell.model.weights import load_model, save_model
from seetell.verbs.exporting import export_model
from seetell.verbs.importing import import_model
from tests.tiny_layouts import TEXT_ROWS, as_4_52, as_fresh, as_hub, as_original, same, tensors_in, theirs, write_tower
from tests.tiny_models import tiny_language, tiny_vlm
from tests.tiny_tokenizers import byte_level_hf, train_sentencepiece


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
    card = (out / "README.md").read_text()
    assert "from_pretrained" not in card  # transformers does not open this layout
    assert "library_name" not in card
    import_model(out, second)
    assert same(tensors_in(second), tensors_in(first))
    assert json.loads((second / "config.json").read_text()) == json.loads((first / "config.json").read_text())
    export_model(second, "hf", other)
    assert 'LlavaForConditionalGeneration.from_pretrained(".")' in (other / "README.md").read_text()
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
    with pytest.raises(BadInput, match=r"missing: model\.mm_projector\.4\.bias"):
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
    told = {"missing": r"missing: multi_modal_projector\.linear_2\.bias", "surplus": r"surplus: model\.image_newline"}
    with pytest.raises(
        BadInput, match=told.get(spoil, r"misshapen: multi_modal_projector\.linear_2\.bias \[7\] instead of \[32\]")
    ):
        load_model(tmp_path)


def test_a_tensor_is_told_by_the_name_it_has_in_its_own_layout(tmp_path: Path) -> None:
    model = theirs()
    as_4_52(tmp_path / "new", model)
    tensors = tensors_in(tmp_path / "new")
    del tensors["model.multi_modal_projector.linear_2.bias"]
    tensors["model.language_model.norm.weight"] = torch.zeros(7)
    save_file(tensors, tmp_path / "new" / "model.safetensors")
    told = (
        r"missing: model\.multi_modal_projector\.linear_2\.bias; misshapen: model\.language_model\.norm\.weight \[7\]"
    )
    with pytest.raises(BadInput, match=told):
        load_model(tmp_path / "new")

    as_original(tmp_path / "source", "llava_llama", "mlp2", False)
    import_model(tmp_path / "source", tmp_path / "imported")
    export_model(tmp_path / "imported", "original", tmp_path / "old")
    tensors = tensors_in(tmp_path / "old")
    del tensors["model.mm_projector.2.weight"], tensors["model.mm_projector.2.bias"]
    save_file(tensors, tmp_path / "old" / "model.safetensors")
    with pytest.raises(BadInput, match=r"missing: model\.mm_projector\.2\.bias, model\.mm_projector\.2\.weight\."):
        import_model(tmp_path / "old", tmp_path / "out")

    save_model(tiny_vlm(connector="linear"), tmp_path / "linear")
    tensors = tensors_in(tmp_path / "linear")
    del tensors["multi_modal_projector.linear_2.bias"]
    save_file(tensors, tmp_path / "linear" / "model.safetensors")
    with pytest.raises(BadInput, match=r"missing: multi_modal_projector\.linear_2\.bias\."):
        load_model(tmp_path / "linear")


def test_what_import_refuses_is_told_of_the_folder_it_was_given(tmp_path: Path) -> None:
    source, towerless = tmp_path / "source", tmp_path / "old"
    as_original(source, "llava_llama", "mlp2", False)
    import_model(source, tmp_path / "first")
    export_model(tmp_path / "first", "original", towerless)
    shutil.rmtree(towerless / "vision_tower")
    with pytest.raises(BadInput, match=r"lacks its folder vision_tower"):
        import_model(towerless, tmp_path / "out")
    (source / "tokenizer.json").write_text("[]")
    with pytest.raises(BadInput) as told:
        import_model(source, tmp_path / "out")
    assert f"from {source}: " in str(told.value)
    (source / "tokenizer.json").unlink()
    with pytest.raises(BadInput) as told:
        import_model(source, tmp_path / "out")
    assert str(told.value).startswith(f"{source} holds no tokenizer, a tokenizer.json")
    for held in ("[]", "7"):
        (source / "config.json").write_text(held)
        with pytest.raises(BadInput, match=r"config\.json is not a model's config"):
            import_model(source, tmp_path / "out")
    torch.save({}, tmp_path / "mm_projector.bin")
    tower = write_tower(tmp_path / "tower")
    tiny_language(vocabulary=TEXT_ROWS).save_pretrained(tmp_path / "language")
    byte_level_hf().save_pretrained(tmp_path / "language")
    with pytest.raises(BadInput, match="holds no connector"):
        import_model(
            tmp_path / "mm_projector.bin", tmp_path / "out", vision=str(tower), language=str(tmp_path / "language")
        )


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
        (config(pixel_mean="x"), "three numbers"),
        (lambda folder: (folder / "config.json").write_text("[]"), "not a model's config"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "llava", "vision_config": []}'), "model"),
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
    with pytest.raises(UsageError, match=r"There is no vision tower folder .*nowhere"):
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
    with pytest.raises(UsageError, match="no name on the hub"):
        import_model(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ServiceError, match="nor is it in the hub's cache"):
        import_model("nobody/nothing", tmp_path / "out")
