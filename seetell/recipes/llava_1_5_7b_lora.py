"""LLaVA-1.5 7B with LoRA: as llava_1_5_7b, but in stage 2 low-rank matrices learn in place of the language model.

Run     seetell train llava_1_5_7b_lora --out runs/llava-1.5-7b-lora
Needs   what llava_1_5_7b needs, and peft (pip install -e '.[lora]')
Size    8 GPUs of 24 GB or one of 80 GB (the authors' figure for the first); hours were not published
Source  Liu et al. 2023, Improved Baselines with Visual Instruction Tuning, arXiv:2310.03744, its LoRA settings
"""

from seetell.train.recipe import Data, Lora, Model, Recipe, Stage

RECIPE = Recipe(
    model=Model(vision="openai/clip-vit-large-patch14-336", language="lmsys/vicuna-7b-v1.5", connector="mlp2"),
    align=Stage(
        data=(Data("data/blip558k/blip_laion_cc_sbu_558k.json", images="data/blip558k/images"),),
        lr={"connector": 1e-3},
        samples_per_step=256,
        template="plain",
        image="square",
    ),
    tune=Stage(
        data=(Data("data/mix665k/llava_v1_5_mix665k.json", images="data/mix665k"),),
        lr={"connector": 2e-5, "language": 2e-4},
        lora=Lora(rank=128, alpha=256, dropout=0.05),
        samples_per_step=128,
        template="vicuna-v1",
        image="pad",
    ),
)
