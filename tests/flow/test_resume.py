"""Kill and go on, for real: `benchmarks/resume.py` with few kills."""

from __future__ import annotations

from benchmarks.resume import measure


def test_a_killed_run_ends_bit_equal() -> None:
    result = measure(kills=2, samples=24, seed=1)
    assert result["bit_equal"] == result["kills"] == 2
