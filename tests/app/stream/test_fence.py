"""A worker that was frozen must not write."""

import pytest

from app.clock import ManualClock
from app.errors import FROZEN
from app.stream.fence import StallFence


class Ended(Exception):
    pass


def end(reason: str) -> None:
    raise Ended(reason)


def test_a_gap_above_the_limit_ends_the_process() -> None:
    clock = ManualClock()
    fence = StallFence(5.0, clock, end)
    clock.advance(5.1)
    with pytest.raises(Ended, match=r"frozen for 5\.1 s"):
        fence.check()


def test_the_exit_status_says_that_it_was_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses: list[int] = []
    monkeypatch.setattr("os._exit", statuses.append)
    clock = ManualClock()
    fence = StallFence(5.0, clock)
    clock.advance(5.1)
    fence.check()
    assert statuses == [FROZEN]


def test_regular_looks_do_not() -> None:
    clock, ended = ManualClock(), list[str]()
    fence = StallFence(5.0, clock, ended.append)
    for _ in range(200):
        clock.advance(0.05)
        fence.check()
    assert ended == []
