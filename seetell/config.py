"""Settings as plain values: load a recipe, turn one knob, write it down, read it back.

A recipe is a Python file that holds one frozen dataclass named RECIPE. Everything here is generic over
dataclasses, mappings and tuples, and needs the standard library only, so a setting can be checked, and a
typo answered with the nearest known name, before anything heavy is imported. A recipe is a program:
loading a stranger's recipe runs a stranger's code.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.util
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from seetell.errors import ConfigError

T = TypeVar("T")

RECIPE_FOLDER = Path(__file__).parent / "recipes"


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error sentence: the closest known name, else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return "known: " + ", ".join(names) + "." if names else "nothing is known here."


def pick(table: Mapping[str, T], name: str, what: str) -> T:
    """`table[name]`, or the object that "package.module:thing" names."""
    if name in table:
        return table[name]
    if ":" not in name:
        raise ConfigError(f'there is no {what} named "{name}"; {nearest(name, table)}')
    module_name, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f'the {what} "{name}" cannot be imported: {error}') from error


# ------------------------------------------------------------------------------------------ recipes


def shipped_recipes() -> dict[str, Path]:
    """The recipes inside the package, by name."""
    return {path.stem: path for path in sorted(RECIPE_FOLDER.glob("*.py")) if not path.stem.startswith("_")}


def load_recipe(name_or_path: str | Path) -> Any:
    """The RECIPE of a shipped recipe (by name) or of a Python file (by path)."""
    text = str(name_or_path)
    shipped = shipped_recipes()
    path = shipped.get(text) or Path(text)
    if not path.is_file():
        raise ConfigError(
            f'there is no recipe "{text}": it is neither a file nor a shipped name; {nearest(text, shipped)}'
        )
    if path.suffix != ".py":
        raise ConfigError(f'the recipe "{text}" is not a Python file; give one that ends in .py')
    spec = importlib.util.spec_from_file_location(f"seetell_recipe_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ConfigError as error:
        raise ConfigError(f'in the recipe "{text}": {error}') from error
    except Exception as error:
        raise ConfigError(f'the recipe "{text}" does not run: {type(error).__name__}: {error}') from error
    recipe = getattr(module, "RECIPE", None)
    if not dataclasses.is_dataclass(recipe) or isinstance(recipe, type):
        raise ConfigError(f'the recipe "{text}" holds no RECIPE; the file must end with RECIPE = Recipe(...)')
    return recipe


# -------------------------------------------------------------------------------------- --set a.b=c


@dataclasses.dataclass(frozen=True, slots=True)
class _Change:
    """What is left of an assignment: the names still to go down, the text, and the whole path for messages."""

    names: tuple[str, ...]
    text: str
    where: str

    def below(self) -> _Change:
        return dataclasses.replace(self, names=self.names[1:])


def apply_sets(obj: T, sets: Iterable[str]) -> T:
    """A copy of a dataclass with `a.b=value` assignments applied, each checked against the declared type.

    They hold together: each dataclass is built anew once, with all its changes, so their order says nothing about
    what goes with what; where two name the same field, the later one holds.
    """
    changes: list[_Change] = []
    for assignment in sets:
        path, equals, text = assignment.partition("=")
        if not equals or not path.strip():
            raise ConfigError(f'"{assignment}" is not an assignment; write it as name.name=value')
        changes.append(_Change(tuple(path.strip().split(".")), text.strip(), path.strip()))
    return _changed(obj, type(obj), changes)


def _changed(value: Any, kind: Any, changes: Sequence[_Change]) -> Any:
    """`value` with all the changes made, each text read as the type declared there."""
    inside: dict[str, list[_Change]] = {}
    for change in changes:
        if not change.names:
            if (name := _meant_field(value, kind, change)) is None:
                value, inside = parse(change.text, kind, change.where), {}
                continue
            inside.setdefault(name, []).append(change)
        else:
            inside.setdefault(change.names[0], []).append(change.below())
    return _changed_inside(value, kind, inside) if inside else value


def _meant_field(value: Any, kind: Any, change: _Change) -> str | None:
    """Which part a bare text means: a dataclass takes it as its first field, a tuple of one dataclass as that one."""
    if change.text.lower() == "none" and types.NoneType in typing.get_args(kind):
        return None
    if dataclasses.is_dataclass(value):
        return dataclasses.fields(value)[0].name
    if _is_sequence(value) and value and dataclasses.is_dataclass(value[0]):
        if len(value) > 1:
            raise ConfigError(f"{change.where} has {len(value)} parts; say which, as in {change.where}.0={change.text}")
        return "0"
    return None


def _changed_inside(value: Any, kind: Any, inside: Mapping[str, Sequence[_Change]]) -> Any:
    """A dataclass, a map or a tuple with its parts changed."""
    where = next(iter(inside.values()))[0].where
    if value is None:
        value = _with_defaults(_without_none(kind))
    if dataclasses.is_dataclass(value):
        hints = typing.get_type_hints(type(value))
        for name, changes in inside.items():
            if name not in hints:
                what = type(value).__name__
                raise ConfigError(f'{changes[0].where}: {what} has no field "{name}"; {nearest(name, hints)}')
        return _rebuild(value, {n: _changed(getattr(value, n), hints[n], inside[n]) for n in inside}, where)
    if _is_map(value):
        inner = typing.get_args(_without_none(kind)) or (str, str)
        for name, changes in inside.items():
            if name not in value and any(change.names for change in changes):
                raise ConfigError(f'{changes[0].where}: there is no "{name}" here; {nearest(name, value)}')
        return {**value, **{name: _changed(value.get(name), inner[1], inside[name]) for name in inside}}
    if _is_sequence(value):
        parts = list(value)
        for name, changes in inside.items():
            if not name.isdecimal() or int(name) >= len(value):
                raise ConfigError(
                    f'{changes[0].where}: name one of its {len(value)} parts by number, from 0, not "{name}"'
                )
            parts[int(name)] = _changed(value[int(name)], _element_type(kind), changes)
        return (*parts,)
    name = next(iter(inside))
    raise ConfigError(f'{where}: there is nothing inside it to name "{name}"' + (" (it is none)" * (value is None)))


def _with_defaults(kind: Any) -> Any:
    """What stands where nothing stood when a field inside it is named: its defaults, if it needs nothing else."""
    if not dataclasses.is_dataclass(kind) or not isinstance(kind, type):
        return None
    fields = dataclasses.fields(kind)
    needed = [f for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    return None if needed else kind()


def _rebuild(value: Any, changes: dict[str, Any], where: str) -> Any:
    try:
        return dataclasses.replace(value, **changes)
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error


def parse(text: str, kind: Any, where: str) -> Any:
    """The value that a text spells, as the declared type; never a near miss ("True" is no int)."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if text.lower() == "none" and types.NoneType in inner:
            return None
        return parse(text, _without_none(kind), where)
    if origin is typing.Literal:
        for value in inner:
            if str(value) == text:
                return value
        raise ConfigError(f'{where} cannot be "{text}"; {nearest(text, map(str, inner))}')
    if origin is tuple:
        parts = [part.strip() for part in text.strip("()[]").split(",") if part.strip()]
        if Ellipsis not in inner and len(parts) != len(inner):
            raise ConfigError(f'{where} takes {len(inner)} values with commas between, not "{text}"')
        kinds = [inner[0]] * len(parts) if Ellipsis in inner else list(inner)
        return tuple(parse(part, one, where) for part, one in zip(parts, kinds, strict=True))
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind is str:
        return text
    if kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    names = {bool: "true or false", int: "a whole number", float: "a number"}
    if kind in names:
        raise ConfigError(f'{where} takes {names[kind]}, not "{text}"')
    raise ConfigError(f"{where} cannot be set from the command line; name a field inside it, or edit the recipe")


def _is_map(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, (tuple, list))


def _without_none(kind: Any) -> Any:
    left = [one for one in typing.get_args(kind) if one is not types.NoneType]
    return left[0] if typing.get_origin(kind) in (typing.Union, types.UnionType) and len(left) == 1 else kind


def _element_type(kind: Any) -> Any:
    inner = typing.get_args(_without_none(kind))
    return inner[0] if inner else str


# -------------------------------------------------------------------------------------------- JSON


def freeze(obj: Any) -> Any:
    """A dataclass as plain JSON values: what a run writes down."""
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return {field.name: freeze(getattr(obj, field.name)) for field in dataclasses.fields(obj)}
    if _is_map(obj):
        return {str(key): freeze(value) for key, value in obj.items()}
    if _is_sequence(obj):
        return [freeze(value) for value in obj]
    if obj is None or isinstance(obj, (bool, int, float, str)):
        return obj
    if isinstance(obj, Path):
        return str(obj)
    raise ConfigError(f"a {type(obj).__name__} cannot be written as a setting; use numbers, texts, tuples and maps")


def thaw(cls: type[T], data: Any, where: str = "") -> T:
    """The dataclass that `freeze` wrote; an unknown or a missing field is an error."""
    return _thaw(cls, data, where or cls.__name__)


def _thaw(kind: Any, data: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not _is_map(data):
            raise ConfigError(f"{where} should be a map of {kind.__name__}'s fields, not {data!r}")
        hints = typing.get_type_hints(kind)
        for name in data:
            if name not in hints:
                raise ConfigError(f'{where} has an unknown field "{name}"; {nearest(name, hints)}')
        values = {name: _thaw(hints[name], value, f"{where}.{name}") for name, value in data.items()}
        try:
            return kind(**values)
        except TypeError as error:
            raise ConfigError(f"{where}: {error}") from error
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if data is None and types.NoneType in inner else _thaw(_without_none(kind), data, where)
    if origin is tuple and _is_sequence(data):
        kinds = [inner[0]] * len(data) if Ellipsis in inner else list(inner)
        if len(kinds) != len(data):
            raise ConfigError(f"{where} takes {len(kinds)} values, not {len(data)}")
        return tuple(_thaw(one, value, f"{where}.{i}") for i, (one, value) in enumerate(zip(kinds, data, strict=True)))
    if isinstance(origin, type) and issubclass(origin, Mapping) and _is_map(data):
        return {key: _thaw(inner[1], value, f"{where}.{key}") for key, value in data.items()}
    if origin is typing.Literal and data in inner:
        return data
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if isinstance(kind, type) and type(data) is kind:
        return data
    raise ConfigError(f"{where} cannot be {data!r}")


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """What changed between two frozen settings, a line each: "tune.lr.language: 2e-05 -> 1e-05"."""
    if _is_map(before) and _is_map(after):
        lines: list[str] = []
        for name in [*before, *(key for key in after if key not in before)]:
            inner = f"{where}.{name}" if where else str(name)
            lines += differences(before.get(name), after.get(name), inner)
        return lines
    if _is_sequence(before) and _is_sequence(after) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for i, pair in pairs for line in differences(*pair, f"{where}.{i}")]
    return [] if before == after else [f"{where}: {_short(before)} -> {_short(after)}"]


def _short(value: Any) -> str:
    """A value in a sentence; a whole stage, or all its data, would fill the screen."""
    if value is None:
        return "none"
    if _is_map(value):
        return "given"
    return f"{len(value)} of them" if _is_sequence(value) and any(map(_is_map, value)) else repr(value)
