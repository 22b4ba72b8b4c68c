"""`seetell recipes`: the recipes that ship, what each is, what it needs, and how large it is.

All of it is said by the recipe's own docstring (first line, `Needs`, `Size`), so a copied recipe can be listed as
well, and nothing is imported to read it.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from seetell.config import nearest, shipped_recipes
from seetell.console import command, say
from seetell.errors import ConfigError

_FIELD = re.compile(r"^([A-Z][a-z]+)  +(.*)$")
READERS_WIDTH = 100  # longer lines are hard to read, however wide the terminal


@dataclass(frozen=True, slots=True)
class Described:
    """What a recipe's file says of itself, each as one line."""

    name: str
    what: str
    needs: str
    size: str


def recipes(name: str = "") -> list[Described]:
    """Prints what is known of every shipped recipe; with a name, that recipe's file, to read or to copy."""
    shipped = shipped_recipes()
    if name:
        if name not in shipped:
            raise ConfigError(f'there is no recipe "{name}"; {nearest(name, shipped)}')
        print(shipped[name].read_text(), end="")
        return [described(shipped[name])]
    every = [described(path) for path in shipped.values()]
    results = Console(highlight=False)
    width = min(results.width, READERS_WIDTH)
    for recipe in every:
        results.print(Text(recipe.name, style="bold"))
        for field in ("what", "needs", "size"):
            head = f"    {field:<8}"
            lines = wrap(
                getattr(recipe, field), width, initial_indent=head, subsequent_indent=" " * len(head),
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
            results.print(Text("\n".join(lines)), soft_wrap=True)
        results.print()
    say(f"To read or copy one: {command('recipes', 'finetune_yours')} > mine.py")
    say(f"What one will cost: {command('plan', 'llava_1_5_7b')}")
    return every


def described(path: Path) -> Described:
    """Reads a recipe's docstring; a field that it does not have is empty."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    what, *lines = docstring.splitlines() or [""]
    fields: dict[str, str] = {}
    name = ""
    for line in lines:
        field = _FIELD.match(line)
        if field is not None:
            name = field[1]
            fields[name] = field[2].strip()
        elif name and line.strip():
            fields[name] += f" {line.strip()}"
    return Described(path.stem, what, fields.get("Needs", ""), fields.get("Size", ""))
