"""`seetell recipes`: every shipped recipe, what it is, needs and costs, at any width of the terminal."""

from __future__ import annotations

import subprocess
import sys

import pytest

from seetell.config import shipped_recipes
from seetell.errors import ConfigError
from seetell.verbs.recipes import described, recipes


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_says_what_it_is_needs_and_costs(name: str) -> None:
    recipe = described(shipped_recipes()[name])
    assert recipe.what
    assert recipe.needs
    assert recipe.size


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_the_list_is_whole_at_any_width(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    listed = recipes()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert not any("…" in line for line in lines)
    words = " ".join(" ".join(lines).split())
    for recipe in listed:
        needs = f"needs {recipe.needs} size {recipe.size}"
        assert f"{recipe.name} what {recipe.what} {needs}" in words


def test_with_a_name_the_file_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    recipes("finetune_yours")
    assert capsys.readouterr().out == shipped_recipes()["finetune_yours"].read_text()


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        recipes("finetune_your")


def test_listing_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom seetell.verbs.recipes import recipes\nrecipes()\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'PIL'} & set(sys.modules)))\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
