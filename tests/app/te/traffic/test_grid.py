"""Windows of several lengths: borders, and how a length gives way to another."""

from itertools import chain, pairwise
from random import Random

import numpy as np
import pytest

from app.te.traffic.grid import Grid, Turn, usual_length

T0 = 1_795_246_100  # a multiple of 20


def test_another_length_begins_at_the_first_border_of_both() -> None:
    assert Grid(10).changed(20, T0 + 10) == Grid(10, (Turn(T0 + 20, 20),))
    assert Grid(20).changed(5, T0 + 20) == Grid(20, (Turn(T0 + 20, 5),))
    assert Grid(4).changed(6, 1000) == Grid(4, (Turn(1008, 6),))


def test_a_turn_that_no_window_reached_is_forgotten() -> None:
    pending = Grid(10).changed(7, T0 + 20)
    assert pending == Grid(10, (Turn(T0 + 80, 7),))
    assert pending.changed(20, T0 + 20) == Grid(10, (Turn(T0 + 20, 20),))
    assert pending.changed(10, T0 + 20) == Grid(10)


def test_a_turn_that_was_reached_stays() -> None:
    twice = Grid(10).changed(20, T0 + 20).changed(5, T0 + 40)
    assert twice == Grid(10, (Turn(T0 + 20, 20), Turn(T0 + 40, 5)))
    assert [twice.length_at(T0 + at_s) for at_s in (19, 20, 39, 40)] == [10, 20, 20, 5]
    assert twice.final_s == 5
    assert twice.since(T0 + 40) == Grid(20, (Turn(T0 + 40, 5),))
    assert twice.since(T0 + 41) == Grid(5)


@pytest.mark.parametrize("seed", range(20))
def test_windows_follow_each_other_without_gap_or_overlap(seed: int) -> None:
    random = Random(seed)
    grid, at_s = Grid(random.choice((1, 2, 5, 7, 10, 60))), T0
    for _ in range(5):
        at_s = grid.start_at(at_s + random.randrange(200))
        grid = grid.changed(random.choice((1, 2, 3, 5, 10, 20, 60)), at_s)
    begin_s, end_s = grid.start_at(T0 - 100), grid.start_at(at_s + 1000)
    starts_s = list(chain(*grid.between(begin_s, end_s)))
    assert starts_s[0] == begin_s
    for start_s, next_s in pairwise([*starts_s, end_s]):
        length_s = grid.length_at(start_s)
        assert next_s == start_s + length_s
        assert start_s % length_s == 0 == start_s % grid.step_s
        assert grid.start_at(start_s) == start_s == grid.start_at(start_s + length_s - 1)
    seconds = np.arange(begin_s, end_s)
    assert grid.starts_of(seconds).tolist() == [grid.start_at(second) for second in seconds.tolist()]


def test_borders_say_the_length_of_windows() -> None:
    assert usual_length([T0 + 30, T0, T0 + 10]) == 10
    assert usual_length([T0]) == usual_length([]) == 0
