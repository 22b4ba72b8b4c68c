"""How long LLaVA-1.5's samples are: stage 1 counted, stage 2 modelled. `seetell plan --lengths` reads these.

`lengths.json` says where its numbers come from. Given the same seed, the same rows come out, in a random order; who
needs few takes the first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

SLOTS = 576  # of a picture of 336 px in patches of 14
LLAVA_665K = "llava-665k"
ROWS = {"align": 558_128, "tune": 665_298}  # of the published data


@dataclass(frozen=True, slots=True)
class Lengths:
    """Rows as numbers: tokens, how many are learnt, which picture (-1: none), tokens up to its end."""

    tokens: list[int]
    supervised: list[int]
    pictures: list[int]
    prefixes: list[int]


def lengths(
    stage: int, count: int | None = None, *, seed: int = 0, slots: int = SLOTS, max_tokens: int = 2048
) -> Lengths:
    """`count` rows of stage 1 or 2 (all there are, if None): 2,183 that repeat where more are asked for, or 665,298."""
    chance = np.random.default_rng(seed)
    whole = _stage1(slots) if stage == 1 else _stage2(chance, slots, max_tokens)
    there = len(whole["tokens"])
    rounds = -(-(count or there) // there)
    order = np.concatenate([chance.permutation(there) for _ in range(rounds)])[:count]
    return Lengths(**{name: column[order].tolist() for name, column in whole.items()})


def _stage1(slots: int) -> dict[str, np.ndarray[Any, Any]]:
    text = np.array(_facts()["stage1"]["text_tokens"])
    return {
        "tokens": text + slots,
        "supervised": text - 1,
        "pictures": np.arange(len(text)),
        "prefixes": np.zeros(len(text), int),  # the word behind the picture is learnt, so nothing can be shared
    }


def _stage2(chance: np.random.Generator, slots: int, max_tokens: int) -> dict[str, np.ndarray[Any, Any]]:
    facts = _facts()["stage2"]
    pools, first = {}, 0
    for name, size in facts["pools"].items():
        pools[name] = first + chance.permutation(size)
        first += size
    parts = [
        _source(chance, source, pools, facts["prefix_text_tokens"], slots, max_tokens) for source in facts["sources"]
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _source(
    chance: np.random.Generator,
    source: Mapping[str, Any],
    pools: Mapping[str, np.ndarray[Any, Any]],
    prefix: int,
    slots: int,
    max_tokens: int,
) -> dict[str, np.ndarray[Any, Any]]:
    rows, spread = source["rows"], source["spread"]
    seen = "pool" in source
    text = chance.lognormal(np.log(source["mean"]) - spread**2 / 2, spread, rows).astype(int)
    text = text.clip(source["least"], max_tokens - slots * seen)
    if seen:
        own = chance.choice(pools[source["pool"]], source["distinct"], replace=False)
        pictures = chance.permutation(own[np.arange(rows) % len(own)])
    else:
        pictures = np.full(rows, -1)
    return {
        "tokens": text + slots * seen,
        "supervised": np.maximum(1, (text * source["learnt"]).astype(int)),
        "pictures": pictures,
        "prefixes": np.full(rows, (prefix + slots) * seen),
    }


@cache
def _facts() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "lengths.json").read_text(encoding="utf-8"))
