"""Fine-tunes a finished model on conversations of your own. Copy this file, or change a setting with --set.

Run     seetell train finetune_yours --set tune.data=my.json
        from another model than the one below: --set model.start=FOLDER; to another place: --out runs/mine
Needs   a model folder (of a run, or of `seetell import`), a LLaVA-style conversation file, and its pictures:
        beside the file, or where --set tune.data.0.images=my_pictures says
Words   the chat template and the picture mode of the model it starts from; others with --set tune.template=vicuna-v1
        and --set tune.image=pad
Size    a 7B: several GPUs of 80 GB (101 GiB of weights, gradients and optimizer), or one with --set
        tune.optimizer=adamw-8bit (39 GiB); minutes to hours, as much as the data asks
Source  the settings of LLaVA's task tuning, Liu et al. 2023, arXiv:2310.03744
"""

from seetell.train.recipe import Data, Model, Recipe, Stage

RECIPE = Recipe(
    model=Model(start="runs/llava-1.5-7b/model"),
    tune=Stage(
        data=(Data("my.json"),),
        lr={"connector": 2e-5, "language": 2e-5},
        samples_per_step=128,
    ),
)
