"""The rules of the architecture, for machines: who may import whom, how long, how named, what never."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "seetell"
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60
NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "helpers", "misc", "core"}

# The words wing, and what of the tensors wing a person writes by hand: both must load without tensors.
WITHOUT_TENSORS = (
    "types",
    "text",
    "config",
    "files",
    "page",
    "console",
    "cli",
    "sources",
    "ask",
    "rules",
    "generate",
    "evals",
    "recipes",
)


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


OURS = python_files("seetell", "tests", "benchmarks")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_the_import_contract_is_kept() -> None:
    told = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-1000:]


def test_words_and_recipes_need_no_tensors() -> None:
    files = [
        path
        for path in python_files("seetell")
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") in WITHOUT_TENSORS
    ]
    names = ["seetell", "seetell.train.recipe", *map(module_name, files)]
    program = (
        "import sys, importlib\n"
        "for name in ('torch', 'transformers', 'tokenizers', 'safetensors'): sys.modules[name] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr[-2000:]


@pytest.mark.parametrize("path", OURS, ids=named)
def test_a_file_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES, "cut it at a noun"
    tree = ast.parse(text)
    if tree.body:
        assert ast.get_docstring(tree), "open it with what it is, why, and its source"
    long = [f"{name}: {lines} lines" for name, lines in functions(tree) if lines > MAX_FUNCTION_LINES]
    assert not long, "cut at nouns"


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_names_say_what_is_inside() -> None:
    empty = [named(path) for path in OURS if NAMES_THAT_SAY_NOTHING & {path.stem, *path.relative_to(ROOT).parts}]
    assert not empty


def test_nothing_runs_code_from_a_weights_file() -> None:
    for path in python_files("seetell", "benchmarks"):
        text = path.read_text(encoding="utf-8")
        assert "trust_remote_code" not in text, named(path)
        assert not re.search(r"^\s*(import|from) (pickle|dill|cloudpickle|joblib)\b", text, re.MULTILINE), named(path)
        for call in re.findall(r"torch\.load\([^)]*\)", text):
            assert "weights_only=True" in call, f"{named(path)}: {call}"


def test_no_path_of_one_machine_and_no_paper_that_is_not_here() -> None:
    places = re.compile(r"(?<![\w.])/(work|root|opt|home|Users|mnt)/\w|(?<!\.)\b(PLAN|DESIGN|llava|ecosystem)\.md\b")
    hosts = re.compile(r"\bpypi\.(org|python)|pythonhosted|download\.pytorch")
    told = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    texts = [
        ROOT / line
        for line in told.stdout.splitlines()
        if line.endswith((".py", ".md", ".toml", ".txt", "Makefile", "run"))
    ]
    for path in texts:
        if path.is_file() and path != Path(__file__):
            text = path.read_text(encoding="utf-8")
            assert not [found[0] for found in (places.search(text), hosts.search(text)) if found], named(path)


def test_pins_satisfy_the_ranges_and_cover_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    pins = {name.lower().replace("_", "-"): Version(version) for name, version in (line.split("==") for line in lines)}
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *extras["bench"], *extras["track"], *extras["test"]]:
        needed = Requirement(text)
        if needed.name != "seetell":
            assert pins[needed.name] in needed.specifier, text
    floor = re.search(r"\(2, (\d+)\)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert floor is not None
    assert f"torch>=2.{floor[1]}" in project["dependencies"], "the Makefile looks for a torch of another range"
