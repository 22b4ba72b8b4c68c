"""The plan: every sample once an epoch, budgets kept, ranks in step, and nothing depends on when it is asked."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner import measure
from seetell.forecast.lengths import lengths
from seetell.train.bins import best_fit, share_out
from seetell.train.plan import BRANCHES_AT_MOST, Plan, pack_windows

LENGTHS = st.lists(st.integers(1, 900), min_size=1, max_size=60)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any stage: with and without shared prefixes, steps counted in samples or packed."""
    beginnings = draw(st.lists(st.integers(0, 300), min_size=1, max_size=8))
    rows = draw(st.lists(st.tuples(st.integers(0, len(beginnings) - 1), st.integers(1, 600)), min_size=1, max_size=60))
    options: dict[str, Any] = {"packed": draw(st.booleans())}
    if draw(st.booleans()):
        options |= {"groups": [group for group, _ in rows], "prefixes": [beginnings[group] for group, _ in rows]}
    return Plan(
        [beginnings[group] + rest for group, rest in rows],
        samples_per_step=draw(st.integers(1, 20)),
        epochs=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 99)),
        token_budget=draw(st.integers(4, 8)) * 128,
        **options,
    )


@settings(max_examples=150, deadline=None)
@given(plans(), st.integers(1, 5))
def test_every_sample_exactly_once_an_epoch(plan, ranks) -> None:
    seen = []
    for step in range(plan.steps):
        shared = plan.micro_batches(step, ranks)
        mine = [entry for rank in shared for micro in rank for document in micro for entry in document]
        assert sorted(mine) == sorted(plan.entries(step))
        seen += plan.entries(step)
    count = len(plan.lengths)
    for epoch in range(plan.epochs):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == list(range(count))
    assert len(seen) == plan.epochs * count


@settings(max_examples=150, deadline=None)
@given(plans(), st.integers(1, 5))
def test_ranks_make_the_same_number_of_passes_none_over_the_budget(plan, ranks) -> None:
    for step in range(plan.steps):
        shared = plan.micro_batches(step, ranks)
        assert len(shared) == ranks
        assert {len(rank) for rank in shared} == {len(shared[0])}
        for micro in (micro for rank in shared for micro in rank):
            tokens = sum(map(plan.tokens, micro))
            assert tokens <= plan.token_budget or (len(micro) == 1 and len(micro[0]) == 1)


@settings(max_examples=100, deadline=None)
@given(plans(), st.integers(1, 4), st.integers(1, 4), st.data())
def test_resumed_on_other_ranks_a_step_has_the_same_samples_in_the_same_documents(plan, ranks, others, data) -> None:
    first = data.draw(st.integers(0, plan.steps - 1))
    again = replace(plan)  # a fresh process, that begins in the middle
    for step in range(first, plan.steps):
        before = sorted(document for rank in plan.micro_batches(step, ranks) for micro in rank for document in micro)
        assert before == sorted(
            document for rank in again.micro_batches(step, others) for micro in rank for document in micro
        )


@settings(max_examples=100, deadline=None)
@given(plans())
def test_steps_counted_in_samples_are_exact_and_a_document_holds_one_prefix(plan) -> None:
    per_epoch = -(-len(plan.lengths) // plan.samples_per_step)
    for step in range(plan.steps):
        if not plan.packed and (step + 1) % per_epoch:
            assert len(plan.entries(step)) == plan.samples_per_step
        for document in plan.documents(step):
            assert len(document) <= BRANCHES_AT_MOST
            if len(document) > 1:
                assert len({plan.groups[entry] for entry in document}) == 1
                prefix = plan.prefixes[document[0]]
                assert prefix
                assert plan.tokens(document) == prefix + sum(plan.lengths[entry] - prefix for entry in document)


def test_samples_about_one_picture_share_steps_and_its_tokens() -> None:
    rows = [(picture, 620 + 7 * number) for picture in range(200) for number in range(3)]
    alone = Plan([tokens for _, tokens in rows], 30, 1, seed=0, token_budget=8192)
    shared = replace(alone, groups=[picture for picture, _ in rows], prefixes=[600] * len(rows))
    documents = [document for step in range(shared.steps) for document in shared.documents(step)]
    assert sum(len(document) == 3 for document in documents) >= 180  # a step's cut splits a few
    tokens = sum(map(shared.tokens, documents))
    assert tokens <= 0.45 * sum(alone.lengths)
    order = [shared.groups[document[0]] for document in documents]
    assert sum(later > earlier for earlier, later in pairwise(order)) < 0.7 * len(order)  # and not in file order


@settings(max_examples=200, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(1, 8).map(lambda n: n * 128))
def test_budget_and_ranks(lengths, ranks, budget) -> None:
    shared = share_out(lengths, ranks, budget)
    assert [len(micro_batches) for micro_batches in shared] == [len(shared[0])] * ranks
    for micro in (micro for rank in shared for micro in rank):
        assert len(micro) <= 1 or sum(lengths[i] for i in micro) <= budget
    loads = [sum(lengths[i] for micro in rank for i in micro) for rank in shared]
    assert max(loads) - min(loads) <= max(lengths)
    for rank in shared:
        filled = [sum(lengths[i] for i in micro) for micro in rank]
        assert max(filled) - min(filled) <= max(lengths)


@settings(max_examples=100, deadline=None)
@given(LENGTHS, st.integers(1, 1000))
def test_best_fit_takes_all_and_leaves_at_most_one_bin_half_empty(lengths, size) -> None:
    bins = best_fit(range(len(lengths)), lengths, size)
    assert sorted(i for one in bins for i in one) == list(range(len(lengths)))
    filled = [sum(lengths[i] for i in one) for one in bins]
    assert all(tokens <= size or len(one) == 1 for one, tokens in zip(bins, filled, strict=True))
    assert sum(2 * tokens <= size for tokens in filled) <= 1
    windowed = pack_windows(lengths, size)
    assert sorted(i for one in windowed for i in one) == list(range(len(lengths)))


def test_steps_do_not_depend_on_ranks_or_budget_but_on_seed_and_epoch() -> None:
    lengths = list(range(1, 101))
    plan = Plan(lengths, 10, 2, seed=3, token_budget=1024)
    again = Plan(lengths, 10, 2, seed=3, token_budget=256)
    other = Plan(lengths, 10, 2, seed=4, token_budget=1024)
    assert [plan.entries(i) for i in range(20)] == [again.entries(i) for i in range(20)]
    assert plan.entries(0) != other.entries(0)
    assert plan.entries(0) != plan.entries(10)


def test_a_sample_over_the_budget_is_alone() -> None:
    (micro_batches,) = share_out([5000, 10, 20, 30], 1, 128)
    assert [one for one in micro_batches if 0 in one] == [[0]]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ranks", [1, 2, 8])
def test_rows_like_those_of_the_665k_lose_little_and_load_ranks_alike(packed, ranks) -> None:
    found = measure(lengths(2, 6400), 8192, share_images=False, packed=packed, ranks=ranks)
    assert found.lost <= 0.03
    assert found.uneven_epoch <= 0.01
    assert found.uneven_step <= 0.04
