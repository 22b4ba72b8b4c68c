"""A folder says `LlavaForConditionalGeneration` only where that class is the same model; any other is read back by us.

For each family: our own format gives every tensor back in its bits, and what claims to be LLaVA gives transformers'
logits. The tower or the decoder is random, and no bias in it is 0.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    Dinov2Config,
    DINOv3ViTConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlavaForConditionalGeneration,
    MixtralConfig,
    OPTConfig,
    PhiConfig,
    PreTrainedConfig,
)

from seetell.encode.image import ImageProcessor
from seetell.encode.processor import Processor
from seetell.encode.templates import TEMPLATES
from seetell.encode.tokenizer import Tokenizer
from seetell.errors import UsageError
from seetell.files import read_json
from seetell.model.adapter import add_lora, save_adapter
from seetell.model.connector import build_connector
from seetell.model.hub import own_tensors
from seetell.model.llava import why_not_llava
from seetell.model.tower import normalized
from seetell.model.vlm import VLM
from seetell.model.weights import load_model, save_model
from seetell.train.run import train
from seetell.train.start import opens_in, start_model
from seetell.verbs.exporting import export_model
from tests.tiny import tiny_data, tiny_parts, tiny_recipe
from tests.tiny_layouts import same
from tests.tiny_models import (
    IMAGE_ID,
    MEAN,
    STD,
    VOCABULARY,
    packed,
    spread,
    tiny_documents,
    tiny_language,
    tiny_pixels,
    tiny_vision,
    tiny_vlm,
)
from tests.tiny_tokenizers import byte_level_hf

TOLERANCE = 1e-5
DECODER: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
TOWER: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
}  # fmt: skip
LANGUAGES: dict[str, PreTrainedConfig] = {
    "phi": PhiConfig(**DECODER, intermediate_size=64),
    "opt": OPTConfig(**DECODER, ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=256),
    "gpt2": GPT2Config(**DECODER, n_inner=64),
    "gpt2-untied": GPT2Config(**DECODER, n_inner=64, tie_word_embeddings=False),
    "neox": GPTNeoXConfig(**DECODER, intermediate_size=64),
    "mixtral": MixtralConfig(**DECODER, intermediate_size=64, num_key_value_heads=2, num_local_experts=4),
}
VISIONS: dict[str, PreTrainedConfig] = {
    "dinov2": Dinov2Config(**TOWER, mlp_ratio=2),
    "dinov3": DINOv3ViTConfig(**TOWER, intermediate_size=48),
}
# tower, language model, connector, and why transformers' LLaVA is another model; none where it is the same
CASES: list[tuple[str, str, str, str | None]] = [
    ("clip", "llama", "mlp2", None),
    ("clip", "llama-tied", "linear", None),
    ("siglip", "qwen2", "mlp2", None),
    ("dinov2", "llama", "mlp2", None),
    ("clip", "mixtral", "mlp2", None),
    ("clip", "neox", "mlp2", None),
    ("clip", "gpt2-untied", "mlp2", None),
    ("clip", "llama", "mlp3", "its connector has two layers, and mlp3 has more"),
    ("clip", "phi", "mlp2", "it has no place for lm_head.bias"),
    ("dinov3", "llama", "mlp2", "lambda1"),
    ("clip", "opt", "mlp2", "it cannot be built from these parts (AttributeError: OPTModel"),
    ("clip", "gpt2", "mlp2", "it cannot be built from these parts (AttributeError: GPT2Model"),
]


def family(vision: str, language: str, connector: str) -> VLM:
    torch.manual_seed(0)
    tower = spread(AutoModel.from_config(VISIONS[vision])) if vision in VISIONS else tiny_vision(vision)
    if language in LANGUAGES:
        decoder = spread(AutoModelForCausalLM.from_config(LANGUAGES[language]))
    else:
        decoder = tiny_language(language.removesuffix("-tied"), tied=language.endswith("-tied"))
    joint = build_connector(connector, 24, 32)
    return VLM(tower, joint, decoder, image_id=IMAGE_ID, pixel_mean=MEAN, pixel_std=STD).eval()


@torch.no_grad()
def logits(vlm: VLM) -> torch.Tensor:
    ids, positions, lengths = packed(tiny_documents([(1, 9)]))
    return vlm.logits(vlm(ids, positions, lengths, pixels=tiny_pixels(1)))


@pytest.mark.parametrize(("vision", "language", "connector", "why"), CASES)
def test_a_folder_claims_what_it_is(
    vision: str, language: str, connector: str, why: str | None, tmp_path: Path
) -> None:
    vlm = family(vision, language, connector)
    save_model(vlm, tmp_path)
    back = load_model(tmp_path)
    assert same(own_tensors(back), own_tensors(vlm))
    assert torch.equal(logits(back), logits(vlm))
    found = why_not_llava(vlm)
    assert (found is None) == (why is None), found
    assert (why or "") in (found or "")
    config = read_json(tmp_path / "config.json")
    assert config["model_type"] == ("llava" if why is None else "seetell")
    assert ("architectures" in config) == (why is None)
    assert why_not_llava(back) == found  # also of what was read back
    if why is not None:
        return
    theirs: Any = LlavaForConditionalGeneration
    model, report = theirs.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = tiny_documents([(1, 9)])[0][None]
    numbers = normalized(tiny_pixels(1), vlm.pixel_mean, vlm.pixel_std, torch.float32)
    with torch.no_grad():
        expected = model.eval()(input_ids=ids, pixel_values=numbers).logits[0]
    assert (logits(vlm) - expected).abs().max() <= TOLERANCE * expected.abs().max()


def test_a_head_with_a_bias_is_kept_also_where_it_is_tied(tmp_path: Path) -> None:
    config = PhiConfig(**DECODER, intermediate_size=64, tie_word_embeddings=True)
    torch.manual_seed(0)
    decoder = spread(AutoModelForCausalLM.from_config(config))
    vlm = VLM(
        tiny_vision(), build_connector("mlp2", 24, 32), decoder, image_id=IMAGE_ID, pixel_mean=MEAN, pixel_std=STD
    )
    save_model(vlm.eval(), tmp_path)
    back = load_model(tmp_path)
    assert bool(back.head.bias.any())
    assert torch.equal(logits(back), logits(vlm))
    assert back.head.weight is back.embedding.weight


def test_the_same_names_with_other_logits_are_found_by_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that does more than multiply has no tensor that would tell of it."""
    vlm = tiny_vlm(vocabulary=VOCABULARY + 1)  # another model than any test before has tried: answers are remembered
    monkeypatch.setattr(VLM, "logits", lambda self, hidden: self.head(hidden) / 4)
    assert "it answers otherwise (logits 3" in str(why_not_llava(vlm))


def test_what_is_tried_leaves_no_trace() -> None:
    """No draw is taken from the generator that training uses, and the model stays as it is."""
    vlm = tiny_vlm(vocabulary=VOCABULARY + 2)
    before, weights = torch.random.get_rng_state(), {name: t.clone() for name, t in own_tensors(vlm).items()}
    assert why_not_llava(vlm) is None
    assert torch.equal(before, torch.random.get_rng_state())
    assert same(own_tensors(vlm), weights)


def test_export_refuses_another_model_with_the_reason(tmp_path: Path) -> None:
    tokenizer = Tokenizer(byte_level_hf())
    size: dict[str, Any] = {**DECODER, "vocab_size": len(tokenizer), "intermediate_size": 64}
    config = PhiConfig(**size)
    decoder, joint = AutoModelForCausalLM.from_config(config), build_connector("mlp2", 24, 32)
    vlm = VLM(tiny_vision(), joint, decoder, image_id=tokenizer.image_id, pixel_mean=MEAN, pixel_std=STD)
    save_model(vlm, tmp_path / "model")
    Processor(tokenizer, TEMPLATES["vicuna-v1"], ImageProcessor(32), 16).save(tmp_path / "model")
    with pytest.raises(UsageError, match=r"is not this model: it has no place for lm_head\.bias"):
        export_model(tmp_path / "model", "hf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_adapter_over_another_model_promises_no_llava(tmp_path: Path) -> None:
    for language, promised in (("llama", True), ("phi", False)):
        base, adapter = tmp_path / language, tmp_path / f"{language}-adapter"
        save_model(family("clip", language, "mlp2"), base)
        adapter.mkdir()
        save_adapter(add_lora(load_model(base), rank=2, alpha=4), adapter, base, bits=16)
        assert (read_json(adapter / "adapter_config.json")["auto_mapping"] is not None) == promised


def test_a_run_says_at_its_start_where_its_model_opens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_parts(tmp_path)
    tiny_data(tmp_path, 4)
    recipe = replace(tiny_recipe(tmp_path), tune=None)
    assert opens_in(start_model(recipe)).endswith(": opens in transformers as LlavaForConditionalGeneration")
    deep = replace(recipe, model=replace(recipe.model, connector="mlp3"))
    folder = train(deep, tmp_path / "out", device="cpu")
    told = capsys.readouterr().err
    sentence = "mlp3 over llama and clip_vision_model: opens in seetell only, for transformers' LLaVA is another model"
    assert 0 <= told.index(sentence) < told.index("The first samples")
    assert (read_json(folder / "config.json")["model_type"], told.count(sentence)) == ("seetell", 1)
