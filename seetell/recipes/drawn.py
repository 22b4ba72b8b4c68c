"""The laptop run: the tiny base that ships with the package learns to see drawn scenes, in minutes on 2 cores.

Run     seetell demo   (it draws the scenes, writes both files under runs/demo/data, and runs this)
Needs   nothing but the package
Size    2 CPU cores, 2 GB of memory, 5 minutes
Source  the two stages of Liu et al. 2023, arXiv:2310.03744, with rates and batches for a model of this size
"""

from pathlib import Path

import seetell
from seetell.train.recipe import Data, Model, Recipe, Stage

BASE = Path(seetell.__file__).parent / "base" / "weights"

RECIPE = Recipe(
    model=Model(vision=str(BASE / "clip"), language=str(BASE / "llm"), connector="mlp2"),
    align=Stage(
        data=(Data("runs/demo/data/align.json", images="runs/demo/data/images"),),
        lr={"connector": 2e-3},
        samples_per_step=16,
        template="plain",
        image="square",
        cache_features=True,
    ),
    tune=Stage(
        data=(Data("runs/demo/data/tune.json", images="runs/demo/data/images"),),
        lr={"connector": 1e-3, "language": 1e-3},
        samples_per_step=8,
        template="own",
        image="square",
        cache_features=True,
    ),
)
