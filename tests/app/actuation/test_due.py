"""Moments of prefixes."""

from math import inf

from app.actuation.due import DueQueue


def test_each_prefix_has_one_moment_and_is_taken_once() -> None:
    due = DueQueue()
    due.put("a", 5)
    due.put("b", 3)
    due.put("a", 7)
    due.put("c", inf)
    assert due.take(6) == ["b"]
    assert due.take(8) == ["a"]
    assert due.take(inf) == []


def test_an_earlier_moment_counts_too() -> None:
    due = DueQueue()
    due.put("a", 5)
    due.put("a", 2)
    assert due.take(2) == ["a"]
    assert due.take(9) == []
    due.put("b", 4)
    due.put("b", inf)
    assert due.take(9) == []
