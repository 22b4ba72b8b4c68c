"""Fine-tunes a finished model on conversations of your own with LoRA: one GPU, and an adapter over that model.

Run     seetell train finetune_yours_lora --set tune.data=my.json
        on a small card also --set tune.micro_tokens=2048, and --set tune.lora.bits=4 (with bitsandbytes)
Needs   what finetune_yours needs, and peft (pip install -e '.[lora]')
Size    a 7B: one GPU of 24 GB or more (18 GiB of weights and optimizer, 9 GiB with 4 bits); minutes to hours, as much
        as the data asks
Source  the settings of LLaVA's task tuning with LoRA, Liu et al. 2023, arXiv:2310.03744
"""

from seetell.train.recipe import Data, Lora, Model, Recipe, Stage

RECIPE = Recipe(
    model=Model(start="runs/llava-1.5-7b/model"),
    tune=Stage(
        data=(Data("my.json"),),
        lr={"connector": 2e-5, "language": 2e-4},
        lora=Lora(rank=128, alpha=256, dropout=0.05),
        samples_per_step=128,
    ),
)
