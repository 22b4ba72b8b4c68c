"""seetell teaches a language model to see.

    import seetell

    model = seetell.load("runs/demo/model")
    model.ask("cat.jpg", "What is it?")

    chat = model.chat()
    chat.say("What is this?", "cat.jpg")
    chat.say("And what colour is it?")

Importing the package imports nothing heavy; the first call does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seetell.infer.loading import Model
    from seetell.train.recipe import Recipe

__all__ = ["__version__", "load", "train_recipe"]

__version__: str


def load(path: str | Path, device: str = "auto", dtype: str = "auto") -> Model:
    """A model folder, ready to be asked; float32 on a CPU and bfloat16 on an accelerator unless `dtype` says else."""
    from seetell.infer.loading import load as load_model

    return load_model(path, device, dtype)


def train_recipe(
    recipe: str | Path | Recipe, out: str | Path, *, sets: Sequence[str] = (), device: str = "auto"
) -> Path:
    """Runs a recipe, by name, file or value, and returns the folder of the finished model; call it again to resume.

    It is not called `train` because the package of that name would take its place once it is imported.
    """
    from seetell.verbs.training import train

    return train(recipe, out, sets=sets, device=device)


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("seetell")
        except PackageNotFoundError:  # a checkout that runs without being installed
            return "not installed"
    raise AttributeError(f"seetell has no {name!r}")
