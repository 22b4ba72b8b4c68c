"""LLaVA-1.5 13B: CLIP ViT-L/14 at 336 px, two-layer MLP, Vicuna-1.5 13B.

Run     seetell train llava_1_5_13b --out runs/llava-1.5-13b
Needs   558K caption pairs under data/blip558k and the 665K mixture under data/mix665k; weights of the tower
        and the language model from the hub, once
Size    8 A100 of 80 GB: 5.5 hours for align and 20 for tune (the authors' figures)
Source  Liu et al. 2023, Improved Baselines with Visual Instruction Tuning, arXiv:2310.03744
"""

from seetell.train.recipe import Data, Model, Recipe, Stage

RECIPE = Recipe(
    model=Model(vision="openai/clip-vit-large-patch14-336", language="lmsys/vicuna-13b-v1.5", connector="mlp2"),
    align=Stage(
        data=(Data("data/blip558k/blip_laion_cc_sbu_558k.json", images="data/blip558k/images"),),
        lr={"connector": 1e-3},
        samples_per_step=256,
        template="plain",
        image="square",
    ),
    tune=Stage(
        data=(Data("data/mix665k/llava_v1_5_mix665k.json", images="data/mix665k"),),
        lr={"connector": 2e-5, "language": 2e-5},
        samples_per_step=128,
        template="vicuna-v1",
        image="pad",
    ),
)
