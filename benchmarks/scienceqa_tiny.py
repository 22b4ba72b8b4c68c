"""ScienceQA through the tiny base: reasons first and answer first, with and without pictures.

    python -m benchmarks.scienceqa_tiny FOLDER [EPOCHS]

FOLDER holds `problems_full_150.json` (or `problems.json`) and `images/`. It claims no accuracy: the tiny language model
has read of nothing but drawn scenes. It shows that every part runs, that the loss falls and that nothing is cut off.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from seetell.config import load_recipe
from seetell.files import read_json, read_jsonl
from seetell.train.recipe import Data, Recipe
from seetell.train.run import train
from seetell.verbs.eval import eval as evaluate
from seetell.verbs.scienceqa import convert

VARIANTS = (("QCM-LEA", "before"), ("QCM-LEA", "none"), ("QCM-ALE", "before"), ("QCM-ALE", "none"))


def main(folder: Path, epochs: int = 12) -> None:
    problems = next(path for name in ("problems.json", "problems_full_150.json") if (path := folder / name).is_file())
    recipe = load_recipe("scienceqa")
    assert isinstance(recipe, Recipe)
    assert recipe.tune is not None
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        data = home / "data"
        data.mkdir()
        (data / "problems.json").symlink_to(problems.absolute())
        (data / "images").symlink_to((folder / "images").absolute())
        for form, picture in VARIANTS:
            run = home / f"{form}-{picture}"
            convert(problems, home / "talks.json", images=folder / "images", form=form, picture=picture)
            stage = replace(recipe.tune, data=(Data(str(home / "talks.json"), str(folder / "images")),), epochs=epochs)
            model = train(replace(recipe, tune=stage), run)
            told = read_json(run / "report.json")["stages"]["tune"]
            evaluate("scienceqa_qcm", [str(model)], run / "eval", data=data)
            report = json.loads((run / "eval" / "report.json").read_text())["runs"][0]
            answers = [row for path in (run / "eval").glob("runs/*/answers.jsonl") for row in read_jsonl(path)]
            cut = sum(row.get("finish_reason") == "length" for row in answers)
            print(
                f"{form}, picture {picture}: {epochs} epochs of {told['samples'] // epochs} problems, "
                f"loss {told['first_loss']:.2f} -> {told['last_loss']:.2f}, "
                f"refused {told['refused']}, {told['seconds']:.0f} s; "
                f"eval: {report['metrics']}, unparsed {report['unparsed']}, answers cut off {cut} of {len(answers)}",
                flush=True,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
