"""Slots: whatever is copied from wherever, in the end each slot holds its own prompt."""

from __future__ import annotations

import random

import numpy as np

from seetell.infer.slots import SHARE_AT_LEAST, Seat, SlotTable


def marks(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def test_every_slot_ends_up_with_its_prompt() -> None:
    """Plays the engine with lists for keys and values; `None` is memory that nobody has computed."""
    chance = random.Random(0)
    for _ in range(150):
        table = SlotTable(5)
        memory: list[list[int]] = [[] for _ in range(5)]
        tenants: set[int] = set()
        stems = [[chance.randrange(3) for _ in range(60)] for _ in range(3)]
        for _ in range(8):
            seated: list[tuple[Seat, list[int]]] = []
            for _ in range(chance.randrange(table.free + 1)):
                prompt = [*chance.choice(stems)[: chance.randrange(60)], chance.randrange(3), 9]
                seat = table.seat(np.array(prompt), len(prompt) - 1)
                assert seat.slot not in tenants
                assert 0 <= seat.known < len(prompt)
                tenants.add(seat.slot)
                seated.append((seat, prompt))
                if seat.wave == 0:
                    memory[seat.slot] = memory[seat.donor][: seat.known]
                    assert memory[seat.slot] == prompt[: seat.known]
                else:
                    assert seat.known >= SHARE_AT_LEAST
            for wave in range(5):
                now = [(seat, prompt) for seat, prompt in seated if seat.wave == wave]
                for seat, prompt in now:
                    if wave > 0:
                        memory[seat.slot] = memory[seat.donor][: seat.known]
                        assert memory[seat.slot] == prompt[: seat.known]
                for seat, prompt in now:
                    memory[seat.slot] = list(prompt)
            table.computed()
            assert all(memory[seat.slot] == prompt for seat, prompt in seated)
            for slot in list(tenants):
                for _ in range(chance.randrange(3)):
                    said = chance.randrange(3)
                    table.append(slot, said)
                    memory[slot].append(said)
                if chance.random() < 0.5:
                    table.leave(slot)
                    tenants.discard(slot)


def test_the_next_turn_stays_in_its_slot() -> None:
    table = SlotTable(3)
    first = table.seat(marks(1, 2, 3), 2)
    table.computed()
    table.append(first.slot, 4)
    table.leave(first.slot)
    again = table.seat(marks(1, 2, 3, 4, 5, 6), 5)
    assert again == Seat(first.slot, first.slot, 4, 0)


def test_a_short_beginning_does_not_cost_somebody_else_a_long_memory() -> None:
    table = SlotTable(2)
    chat = table.seat(np.arange(100), 99)
    table.computed()
    table.leave(chat.slot)
    other = table.seat(np.array([*range(20), 7, 7]), 21)
    assert (other.slot != chat.slot, other.donor, other.known) == (True, chat.slot, 20)


def test_the_longest_unused_slot_is_given_away_first() -> None:
    table = SlotTable(2)
    slots = [table.seat(marks(number, 5), 1).slot for number in (1, 2)]
    table.computed()
    table.leave(slots[1])
    table.leave(slots[0])
    assert table.seat(marks(3, 5), 1).slot == slots[1]


def test_those_who_wait_for_the_same_beginning_share_it() -> None:
    table = SlotTable(4)
    stem = list(range(1, 31))
    seats = [table.seat(np.array([*stem, end, 0]), 31) for end in (50, 51, 52)]
    assert [seat.wave for seat in seats] == [0, 1, 1]
    assert [seat.known for seat in seats] == [0, 30, 30]


def test_after_clear_nothing_is_known() -> None:
    table = SlotTable(1)
    table.seat(marks(1, 2, 3), 2)
    table.computed()
    table.clear()
    assert table.seat(marks(1, 2, 3), 2).known == 0
