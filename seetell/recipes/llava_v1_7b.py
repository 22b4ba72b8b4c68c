"""LLaVA v1 7B: CLIP ViT-L/14 at 224 px, one linear layer, Vicuna 7B.

Run     seetell train llava_v1_7b --out runs/llava-v1-7b
Needs   595K caption pairs (CC-595K) under data/cc595k, the 158K instructions and COCO train2014 under
        data/llava158k; weights of the tower and the language model from the hub, once
Size    8 A100 of 80 GB: about 6 hours (a figure from LLaVA's issue tracker)
Source  Liu et al. 2023, Visual Instruction Tuning, arXiv:2304.08485 (batch 32 and 3 epochs as the paper says)
"""

from seetell.train.recipe import Data, Model, Recipe, Stage

RECIPE = Recipe(
    model=Model(vision="openai/clip-vit-large-patch14", language="lmsys/vicuna-7b-v1.3", connector="linear"),
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
