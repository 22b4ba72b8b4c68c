"""Curves of a run: smoothing invents nothing, speed adds up to what was done, a long stage is drawn short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.train.curves import SPEEDS, curves_of, rates, smoothed

Values = st.lists(st.tuples(st.floats(-50, 50), st.floats(0.5, 100)), min_size=1, max_size=40)


@given(Values, st.floats(1, 30))
def test_a_smoothed_value_lies_among_those_before_it(values: list[tuple[float, float]], over: float) -> None:
    line = smoothed([(float(step), value, weight) for step, (value, weight) in enumerate(values)], over)
    assert [step for step, _ in line] == list(range(len(values)))
    for at, (_, value) in enumerate(line):
        seen = [value for value, _ in values[: at + 1]]
        assert min(seen) - 1e-6 <= value <= max(seen) + 1e-6


def test_what_was_long_ago_is_forgotten_by_steps_not_by_sightings() -> None:
    often = smoothed([(0.0, 4.0, 1.0), (1.0, 1.0, 1.0)], 5)[-1][1]
    seldom = smoothed([(0.0, 4.0, 1.0), (50.0, 1.0, 1.0)], 5)[-1][1]
    assert often > 2
    assert seldom == pytest.approx(1.0, abs=1e-3)


def test_weights_are_those_of_tokens() -> None:
    assert smoothed([(0.0, 1.0, 1.0), (1.0, 2.0, 3e6)], 10)[-1][1] == pytest.approx(2.0)


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.01, 5)), min_size=2, max_size=400))
def test_speed_times_time_is_what_was_done(steps: list[tuple[int, float]]) -> None:
    rows, samples, seconds = [], 0, 0.0
    for number, (more, took) in enumerate(steps, start=1):
        samples, seconds = samples + more, seconds + took
        rows.append({"step": number, "samples": samples, "seconds": seconds})
    line = rates(rows, "samples")
    assert 1 <= len(line) <= 2 * SPEEDS + 1
    at = {row["step"]: row["seconds"] for row in rows}
    ends = [1, *(int(step) for step, _ in line)]
    done = sum(speed * (at[end] - at[start]) for (_, speed), start, end in zip(line, ends, ends[1:], strict=False))
    assert done == pytest.approx(rows[-1]["samples"] - rows[0]["samples"], abs=1e-6)


def test_rows_become_lines() -> None:
    rows = [
        {"stage": "tune", "step": step, "lr_connector": 1e-3, "supervised": 4, "samples": 8 * step, "tokens": 80 * step,
         "seconds": 2.0 * step, "loss": 3.0, "grad_norm": 1.0,
         "loss_by_source": {"a": 3.0} | ({"b": 3.0} if step == 2 else {}), "supervised_by_source": {"a": 2, "b": 2}}
        for step in (1, 2, 3)
    ]  # fmt: skip
    rows.append({"stage": "tune", "step": 3, "observed_drawn/all": 50.0})
    rows.append({"stage": "tune", "step": 4, "supervised": 4, "samples": 32, "seconds": 8.0})  # a step not taken
    curves = curves_of(rows)
    flat = [pytest.approx((1, 3.0)), pytest.approx((2, 3.0)), pytest.approx((3, 3.0))]
    assert curves.loss == [(1, 3.0), (2, 3.0), (3, 3.0)]
    assert curves.smoothed == flat
    assert curves.by_source == {"a": flat, "b": [(2, 3.0)]}
    assert curves.observed == {"drawn/all": [(3, 50.0)]}
    assert curves.speed == [(2, 4.0), (3, 4.0), (4, 4.0)]
