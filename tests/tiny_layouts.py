"""Checkpoint folders of random weights in every layout that LLaVA has had, for the tests to read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPImageProcessorPil, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

from seetell.model.hub import own_tensors
from tests.tiny_folders import change_json
from tests.tiny_models import MEAN, PATCH_PX, SIDE_PX, SLOTS, STD, tiny_language, tiny_vision, tiny_vlm
from tests.tiny_tokenizers import byte_level_hf

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


def write_published_lora(folder: Path, base: Path, form: str) -> dict[str, Tensor]:
    """A LoRA folder over the language model in `base`, as the first LLaVA leaves it; gives the tensors it makes."""
    vlm = tiny_vlm(vocabulary=TEXT_ROWS, image_id=0).half()
    vlm.language.save_pretrained(base)
    byte_level_hf().save_pretrained(base)
    expected = as_original(folder, "llava_llama", "mlp2", False)
    for path in (*folder.glob("pytorch_model*"), *folder.glob("*token*"), *folder.glob("special*")):
        path.unlink()
    generator = torch.Generator().manual_seed(7)
    matrices: dict[str, Tensor] = {}
    for name, tensor in expected.items():
        if name.startswith("language.model.layers.") and "proj" in name:
            rows, columns = tensor.shape
            a = torch.randn(4, columns, generator=generator)
            b = 0.1 * torch.randn(rows, 4, generator=generator)
            key = f"base_model.model.{name.removeprefix('language.').removesuffix('.weight')}"
            matrices |= {f"{key}.lora_A.weight": a, f"{key}.lora_B.weight": b}
            expected[name] = (tensor.double() + 8 / 4 * (b.double() @ a.double())).half()
    tower = "base_model.model.model.vision_tower.vision_tower.vision_model.encoder.layers.0.self_attn.q_proj"
    matrices |= {f"{tower}.lora_A.weight": torch.ones(4, 24), f"{tower}.lora_B.weight": torch.zeros(24, 4)}
    whole = {
        f"base_model.model.model.mm_projector.{number}.{kind}": expected[f"connector.linear_{layer}.{kind}"]
        for number, layer in ((0, 1), (2, 2))
        for kind in ("weight", "bias")
    }
    torch.save({name: tensor.to(torch.bfloat16) for name, tensor in whole.items()}, folder / "non_lora_trainables.bin")
    for name in expected:
        if name.startswith("connector."):
            expected[name] = expected[name].to(torch.bfloat16).half()
    if form == "bin":
        torch.save(matrices, folder / "adapter_model.bin")
    else:
        save_file(matrices, folder / "adapter_model.safetensors")
    facts = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "lmsys/vicuna-7b-v1.5"}
    (folder / "adapter_config.json").write_text(json.dumps(facts))
    change_json(folder / "config.json", quantization_config={"load_in_4bit": True})  # of training, not of these files
    return expected
