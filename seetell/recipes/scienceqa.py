"""ScienceQA on a laptop: the tiny base learns the form of the task from a few complete problems.

Run     seetell scienceqa convert data/scienceqa/problems.json --form QCM-LEA --out data/scienceqa/talks.json
        seetell train scienceqa --out runs/scienceqa
Needs   ScienceQA's problems and pictures (docs/data.md); any number of them
Size    2 CPU cores, 2 GB of memory; 3 minutes for 150 problems
Source  the form of Liu et al. 2023, arXiv:2304.08485 §5.2; it claims no accuracy, only that every part runs
"""

from pathlib import Path

import seetell
from seetell.train.recipe import Data, Model, Recipe, Stage

BASE = Path(seetell.__file__).parent / "base" / "weights"

RECIPE = Recipe(
    model=Model(vision=str(BASE / "clip"), language=str(BASE / "llm"), connector="mlp2"),
    tune=Stage(
        data=(Data("data/scienceqa/talks.json", images="data/scienceqa/images"),),
        lr={"connector": 1e-3, "language": 5e-4},
        samples_per_step=16,
        epochs=12,
        template="own",
        image="square",
        max_tokens=4096,  # byte-level words are short: a lecture and its explanation may take 2,100
        cache_features=True,
    ),
)
