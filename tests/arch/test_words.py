"""The words of README, docs and --help, for machines: short lines, links that lead somewhere, nothing to be decoded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from seetell.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MAX_CHARACTERS = 110
HISTORY, TABLES_OF_ROWS = "log.md", "rules-sample.md"  # dated as it was written; generated

# What a reader has to decode, and what the glossary says in its place.
DECODED = {
    r"\blearnt\b": "learned, or supervised tokens",
    r"\bslots\b": "image tokens, but for rows of the KV cache",
    r"\bgoes? on (?:with|in|from|behind|where)\b": "resumes, continues",
    r"\b(?:nobody|anybody) is asked\b|\basks nobody\b": "sends no request",
    r"\btells? of\b|\bis told\b": "describes; a sentence says so",
    r"\bSays it\b": "prints the version",
    r"\bat the door\b|\btenants?\b|\bwho waits\b": "what it is in the field's terms",
    r"\bturns? (?:a|their|its) knobs?\b": "changes a setting",
    r"\bleft out, and why\b": "rejected, with the reason",
}


def prose_of(page: Path) -> list[tuple[int, str]]:
    """Lines with their numbers, without fences, tables and comments."""
    lines: list[tuple[int, str]] = []
    fenced = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith(("|", "<!--")):
            lines.append((number, line))
    return lines


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_prose_keeps_to_short_lines(page: Path) -> None:
    if page.name in (HISTORY, TABLES_OF_ROWS):
        return
    long = [
        f"{number}: {line}" for number, line in prose_of(page) if len(re.sub(r"\S+://\S+", "", line)) > MAX_CHARACTERS
    ]
    assert not long


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_a_page_and_its_heading(page: Path) -> None:
    text = "\n".join(line for _, line in prose_of(page)) + page.read_text(encoding="utf-8")
    for target, anchor in set(re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", text)):
        other = (page.parent / target) if target else page
        assert other.exists(), target
        if anchor:
            assert anchor in anchors_of(other), f"{target}#{anchor}"


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_page_can_be_found_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"](docs/{page.name})" not in readme] == []


def test_pages_that_the_code_names_are_there() -> None:
    for path in (ROOT / "seetell").rglob("*.py"):
        for name in re.findall(r"\bdocs/([\w-]+\.md)", path.read_text(encoding="utf-8")):
            assert (ROOT / "docs" / name).is_file(), f"{path.name} names docs/{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_say_it_in_the_fields_words(page: Path) -> None:
    if page.name in (HISTORY, TABLES_OF_ROWS):
        return
    text = page.read_text(encoding="utf-8")
    assert not decoded(text)


def test_help_says_it_in_the_fields_words() -> None:
    said = list(help_of(get_command(app)))
    assert len(said) > 100
    assert not decoded("\n".join(said))


def test_every_option_is_on_a_page() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    missing = [option for option in options_of(get_command(app)) if not re.search(rf"{option}(?![\w-])", text)]
    assert not missing


def options_of(command: object) -> set[str]:
    """The options of a command and of those below it, without the no-forms of flags."""
    options = {word for option in getattr(command, "params", ()) for word in option.opts if word.startswith("--")}
    return options.union(*map(options_of, getattr(command, "commands", {}).values()))


def decoded(text: str) -> list[str]:
    return [f"{found[0]}: say {better}" for words, better in DECODED.items() for found in re.finditer(words, text)]


def help_of(command: object) -> list[str]:
    """The sentences of a command, of its options, and of the commands below it."""
    said = [str(getattr(command, "help", "") or "")]
    said += [str(getattr(option, "help", "") or "") for option in getattr(command, "params", ())]
    for below in getattr(command, "commands", {}).values():
        said += help_of(below)
    return said
