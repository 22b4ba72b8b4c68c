"""LLaVA on ScienceQA, 13B: the aligned model tuned for 12 epochs to reason first and then answer.

Run     seetell scienceqa convert data/scienceqa/problems.json --split train --out data/scienceqa/train.json
        torchrun --nproc-per-node 8 -m seetell train scienceqa_13b --out runs/scienceqa
        then seetell eval scienceqa_qcm --model runs/scienceqa/model --data data/scienceqa --out runs/scienceqa/eval
Needs   ScienceQA's problems and pictures, and the 595K caption pairs (docs/data.md)
Size    8 A100 of 80 GB: 5 hours for align and 4 for tune (the authors' figures)
Source  Liu et al. 2023, arXiv:2304.08485, appendix: 12 epochs, rate 2e-5, batch of 32; 90.92 % on the test split
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
        data=(Data("data/scienceqa/train.json", images="data/scienceqa/images"),),
        lr={"connector": 2e-5, "language": 2e-5},
        samples_per_step=32,
        epochs=12,
        template="vicuna-v0",
        image="square",
    ),
)
