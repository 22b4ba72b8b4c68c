"""A seeded few of the families that `benchmarks/families.py` tries in full: each as docs/families.md says it is."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
import transformers

from benchmarks.families import FAULT, MATCHES, REFUSED, UNTRIED, Row, try_decoder, try_tower
from benchmarks.family_cases import Case, decoder_cases, tower_cases

PAGE = (Path(__file__).parents[2] / "docs" / "families.md").read_text(encoding="utf-8")
LISTED = {found[1]: found[2] for found in re.finditer(r"^\| `(.+?)` \| \w* \| ([\w ]+) \|", PAGE, re.MULTILINE)}
DRAW = random.Random(0)


def some(cases: list[Case], count: int) -> list[Case]:
    return DRAW.sample([case for case in cases if LISTED[case.name] != UNTRIED], count)


def check(row: Row) -> None:
    assert row.verdict in (MATCHES, REFUSED), f"{row.name}: {row.reason}"
    assert row.verdict == MATCHES or row.reason.endswith(".")
    if f"transformers {transformers.__version__})" in PAGE:  # another one may have changed a family
        assert row.verdict == LISTED[row.name], row.reason


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", some(decoder_cases(), 10), ids=lambda case: case.name)
def test_decoders(case: Case) -> None:
    check(try_decoder(case))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", some(tower_cases(), 4), ids=lambda case: case.name)
def test_towers(case: Case) -> None:
    check(try_tower(case))


def test_the_page_lists_what_the_script_tries() -> None:
    assert LISTED.keys() == {case.name for case in (*decoder_cases(), *tower_cases())}
    assert FAULT not in LISTED.values()
    decoders = [LISTED[case.name] for case in decoder_cases()]
    assert decoders.count(MATCHES) + decoders.count(REFUSED) >= 60
    towers = [LISTED[case.name] for case in tower_cases()]
    assert towers.count(MATCHES) + towers.count(REFUSED) >= 20
