"""LLaVA v1 13B: CLIP ViT-L/14 at 224 px, one linear layer, Vicuna 13B.

Run     seetell train llava_v1_13b --out runs/llava-v1-13b
Needs   what llava_v1_7b needs, with the 13B language model
Size    8 A100 of 80 GB: 5 hours for align and 10 for tune (the authors' figures)
Source  Liu et al. 2023, Visual Instruction Tuning, arXiv:2304.08485 (batch 32 and 3 epochs as the paper says)
"""

from seetell.train.recipe import Data, Model, Recipe, Stage

RECIPE = Recipe(
    model=Model(vision="openai/clip-vit-large-patch14", language="lmsys/vicuna-13b-v1.3", connector="linear"),
    align=Stage(
        data=(Data("data/cc595k/chat.json", images="data/cc595k/images"),),
        lr={"connector": 2e-3},
        samples_per_step=128,
        template="plain",
        image="square",
    ),
    tune=Stage(
        data=(Data("data/llava158k/llava_instruct_158k.json", images="data/llava158k/train2014"),),
        lr={"connector": 2e-5, "language": 2e-5},
        samples_per_step=32,
        epochs=3,
        template="vicuna-v1",
        image="square",
    ),
)
