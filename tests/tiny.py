"""Small things in place of big ones: random parts of a model in folders, and a data set of coloured squares.

The parts are what transformers saves for any CLIP and any Llama, two layers deep; nothing is downloaded.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image as Pillow
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from seetell.train.recipe import Data, Model, Recipe, Stage

SIDE_PX, PATCH_PX = 16, 8
CHATML = ("<|im_start|>", "<|im_end|>")
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (40, 70, 220), "white": (250, 250, 250)}


# A dialogue of the language model's own, in words alone, for recipes that ask for it.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def tiny_parts(folder: Path, seed: int = 0) -> tuple[str, str]:
    """Folders of a random tower (16 px, 4 patches) and a random language model (byte-level words)."""
    torch.manual_seed(seed)
    vision, language = folder / "vision", folder / "language"
    tower = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        image_size=SIDE_PX, patch_size=PATCH_PX,
    )  # fmt: skip
    CLIPVisionModel(tower).save_pretrained(vision)
    facts = {
        "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": SIDE_PX},
        "crop_size": {"height": SIDE_PX, "width": SIDE_PX}, "do_resize": True, "do_center_crop": True,
        "do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_convert_rgb": True, "resample": 3,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    }  # fmt: skip
    (vision / "preprocessor_config.json").write_text(json.dumps(facts))
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(language)
    decoder = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=4096,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(decoder).save_pretrained(language)
    return str(vision), str(language)


def tiny_world(root: Path, pictures: int) -> Path:
    """`root` with tiny parts, and data about so many pictures."""
    tiny_parts(root)
    tiny_data(root, pictures)
    return root


def tiny_recipe(world: Path) -> Recipe:
    """A short run over the parts and the data in `world`: 2 steps of align, 4 of tune."""
    align = Stage(
        data=(Data(str(world / "align.json"), images=str(world / "pictures")),),
        lr={"connector": 1e-2}, samples_per_step=8, template="plain", image="square", micro_tokens=512,
    )  # fmt: skip
    data = (Data(str(world / "tune.json"), images=str(world / "pictures")),)
    rates = {"connector": 3e-3, "language": 3e-3}
    tune = replace(align, data=data, lr=rates, epochs=2, template="vicuna-v1")
    return Recipe(Model(str(world / "vision"), str(world / "language")), align=align, tune=tune)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte is a token, so any text has ids."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", *CHATML, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    hf = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token=None
    )
    hf.add_special_tokens({"additional_special_tokens": list(CHATML)})
    return hf


def tiny_data(folder: Path, count: int, seed: int = 0) -> tuple[str, str]:
    """Pictures of one colour; a caption file for align and a question file for tune. Returns their paths."""
    chance = random.Random(seed)
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    align, tune = [], []
    for i in range(count):
        colour = chance.choice(sorted(COLOURS))
        name = f"{seed}-{i}.png"
        Pillow.new("RGB", (20, 18), COLOURS[colour]).save(pictures / name)
        caption = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": f"a {colour} square"}]
        question = [{"from": "human", "value": "<image>\nWhich colour?"}, {"from": "gpt", "value": colour}]
        align.append({"id": f"a{i}", "image": name, "conversations": caption})
        more = [{"from": "human", "value": "And now?"}, {"from": "gpt", "value": f"still {colour}"}]
        tune.append({"id": f"t{i}", "image": name, "conversations": question + more * (i % 2)})
    (folder / "align.json").write_text(json.dumps(align))
    (folder / "tune.json").write_text(json.dumps(tune))
    return str(folder / "align.json"), str(folder / "tune.json")
