"""The plan: every sample once an epoch, budgets kept, ranks in step, and nothing depends on when it is asked."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from seetell.train.plan import Plan, share_out

LENGTHS = st.lists(st.integers(1, 900), min_size=1, max_size=60)


@settings(max_examples=100, deadline=None)
@given(LENGTHS, st.integers(1, 20), st.integers(1, 3), st.integers(0, 99), st.integers(1, 5))
def test_every_sample_exactly_once_an_epoch(lengths, samples_per_step, epochs, seed, ranks) -> None:
    plan = Plan(lengths, samples_per_step, epochs, seed, token_budget=1024)
    assert plan.steps == -(-len(lengths) // samples_per_step) * epochs
    for epoch in range(epochs):
        seen: list[int] = []
        for step in range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch):
            shared = plan.micro_batches(step, ranks)
            assert sorted(i for rank in shared for micro in rank for i in micro) == sorted(plan.entries(step))
            seen += plan.entries(step)
        assert sorted(seen) == list(range(len(lengths)))


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
