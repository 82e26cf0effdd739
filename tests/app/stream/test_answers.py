"""How long the broker's answers are waited for, what is said of them, and who is blamed."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from app.errors import ExactnessError
from app.simulation.loop import StepLoop
from app.stream.answers import answered
from app.stream.membership import MembershipLost

WITHIN_S = 30.0


class Host:
    """An event loop in virtual time, on a machine that stands still for `lost_s` before each turn."""

    def __init__(self, lost_s: float = 0.0) -> None:
        self.now_s, self.turns, self._lost_s = 0.0, 0, lost_s
        self.loop = StepLoop(lambda: self.now_s)

    def answer(self, after_s: float | None = None) -> asyncio.Future[int]:
        future: asyncio.Future[int] = self.loop.create_future()
        if after_s is not None:
            self.loop.call_at(after_s, future.set_result, 7)
        return future

    def run(self, job: Coroutine[Any, Any, list[int]], turned: Callable[[], None] = lambda: None) -> list[int]:
        """The result of the job; `turned` is called after each turn."""
        task = self.loop.create_task(job)
        while not task.done():
            self.loop.step()
            self.turns += 1
            turned()
            if task.done():
                break
            self.now_s = max(self.now_s, min(self.loop.next_s(), self.now_s + 1.0)) + self._lost_s
        return task.result()


def test_an_answer_after_ten_seconds_is_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    assert host.run(answered("rows", WITHIN_S, [host.answer(10.0), host.answer(0.1)])) == [7, 7]
    assert caplog.messages == []


def test_a_silent_broker_is_blamed_after_the_bound() -> None:
    host = Host()
    with pytest.raises(ExactnessError, match=r"^rows: no answer of the broker within 30 s$"):
        host.run(answered("rows", WITHIN_S, [host.answer()]))
    assert WITHIN_S <= host.now_s < WITHIN_S + 1.0


def test_who_had_no_cpu_gets_through_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """The broker answers after 20 turns of the loop, each of which came 3 s late."""
    host = Host(lost_s=3.0)
    answer = host.answer()

    def turned() -> None:
        if host.turns == 20:
            answer.set_result(7)

    assert host.run(answered("rows", WITHIN_S, [answer]), turned) == [7]
    assert host.now_s > WITHIN_S
    [line] = caplog.messages
    assert line.startswith("rows: answered after ")
    assert "this process had no CPU" in line


def test_who_had_no_cpu_and_no_answer_says_both() -> None:
    host = Host(lost_s=0.4)
    with pytest.raises(ExactnessError, match=r"within 30 s; for another .* s this process had no CPU"):
        host.run(answered("rows", WITHIN_S, [host.answer()]))
    assert host.now_s > 4 * WITHIN_S


async def test_a_future_outlives_who_waited_for_it() -> None:
    """At a SIGTERM. Faust sets the result of a cancelled one and logs an exception in a callback."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(answered("rows", WITHIN_S, [future]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not future.done()
    future.set_result(7)


async def test_a_question_ends_with_who_asked_it() -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def ask() -> int:
        try:
            asked.set()
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 0

    waiting = asyncio.ensure_future(answered("an id", WITHIN_S, [ask()]))
    await asked.wait()
    waiting.cancel()
    await asyncio.wait([waiting])
    await asyncio.wait_for(ended.wait(), WITHIN_S)


def failing(*errors: Exception | None) -> list[asyncio.Future[int]]:
    futures: list[asyncio.Future[int]] = [asyncio.get_running_loop().create_future() for _ in errors]
    for future, error in zip(futures, errors, strict=True):
        if error is not None:
            future.set_exception(error)
    return futures


async def test_a_refused_record_is_not_made_to_wait_for_the_others() -> None:
    with pytest.raises(OSError, match="too large"):
        await answered("rows", WITHIN_S, failing(None, OSError("too large")))


async def test_no_record_of_a_lost_membership_is_left_on_its_way() -> None:
    """Else the partitions could go to somebody else while one is."""
    lost, unsent = failing(MembershipLost("forgotten"), None)
    waiting = asyncio.ensure_future(answered("rows", WITHIN_S, [lost, unsent]))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    unsent.set_exception(MembershipLost("forgotten"))
    with pytest.raises(MembershipLost):
        await waiting


async def test_nothing_sent_is_answered_at_once() -> None:
    none: list[Awaitable[int]] = []
    assert await answered("rows", WITHIN_S, none) == []
