"""The verdict itself: what stands too long is counted, and what never goes is a problem."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.actuator import verdict
from tests.faults.actuator.verdict import Trial, quantile


def trial() -> Trial:
    return Trial("a fault", times=1, seed=1, run_dir=Path(), say=print)


def counting(*counts: int) -> verdict.Count:
    """A count that returns these numbers, the last one for ever."""
    left: Iterator[int] = iter(counts)

    async def count() -> int:
        return next(left, counts[-1])

    return count


async def test_routes_that_go_in_time_are_right() -> None:
    tried = trial()
    await tried.gone(counting(3, 1, 0), tried.clock.monotonic_s(), limit_s=60.0)
    outcome = tried.outcome()
    assert outcome.ok
    assert (outcome.times, outcome.routes_stale) == (1, 0)


async def test_routes_that_are_there_after_their_time_are_stale() -> None:
    tried = trial()
    await tried.gone(counting(3, 2, 0), tried.clock.monotonic_s() - 61.0, limit_s=60.0)
    assert tried.outcome().routes_stale == 3
    assert not tried.outcome().ok


async def test_routes_that_never_go_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "GIVE_UP_S", 0.1)
    tried = trial()
    await tried.gone(counting(3), tried.clock.monotonic_s(), limit_s=60.0)
    assert tried.outcome().seconds_to_correct is None
    assert tried.problems == ["3 routes still stood after 0 s"]
    assert not tried.outcome().ok


def test_a_row_without_a_try_is_not_right() -> None:
    assert not trial().outcome().ok


def test_quantiles() -> None:
    values = [float(number) for number in range(1, 21)]
    assert (quantile(values, 0.5), quantile(values, 0.99)) == (10.0, 20.0)
