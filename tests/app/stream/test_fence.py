"""A worker that was frozen must not write."""

import pytest

from app.clock import ManualClock
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


def test_regular_looks_do_not() -> None:
    clock, ended = ManualClock(), list[str]()
    fence = StallFence(5.0, clock, ended.append)
    for _ in range(200):
        clock.advance(0.05)
        fence.check()
    assert ended == []
