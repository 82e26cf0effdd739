"""Waits for the broker's answers, and tells a broker that is slow from a process that had no time to read them."""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from app.errors import ExactnessError
from app.stream.membership import MembershipLost

T = TypeVar("T")
TURN_S = 0.1
STARVED_S = 1.0  # a loop that stood still for less is not worth a word

log = logging.getLogger(__name__)


async def answered(sent: str, within_s: float, answers: Sequence[Awaitable[T]]) -> list[T]:
    """Return the results of all answers; ExactnessError, which names what was `sent`, if they take too long.

    They may take `within_s` seconds in which the event loop runs: while it does not, an answer may have come that
    nobody could read. Raises the first failure of an answer. A future is never cancelled, because Faust sets its
    result later; a coroutine is.
    """
    if not answers:
        return []
    futures: list[asyncio.Future[T]] = [asyncio.ensure_future(answer) for answer in answers]
    all_answers = asyncio.gather(*futures)
    all_answers.add_done_callback(_retrieve)
    try:
        await _wait(sent, within_s, all_answers)
    finally:
        for future, answer in zip(futures, answers, strict=True):
            if future is not answer:
                future.cancel()
    try:
        return all_answers.result()
    except MembershipLost:
        await asyncio.wait(futures)  # none may be on its way when somebody else writes; each fails before it is sent
        raise


async def _wait(sent: str, within_s: float, answer: asyncio.Future[Any]) -> None:
    """Wait until the answer is done; ExactnessError after `within_s` seconds in which the event loop ran."""
    loop = asyncio.get_running_loop()
    begun_s, stood_still_s = loop.time(), 0.0
    while True:
        turn_s = loop.time()
        await asyncio.wait([answer], timeout=TURN_S)
        now_s = loop.time()
        if answer.done():
            break
        stood_still_s += max(0.0, now_s - turn_s - TURN_S)
        if now_s - begun_s - stood_still_s >= within_s:
            raise ExactnessError(f"{sent}: no answer of the broker within {within_s:g} s" + _and_no_cpu(stood_still_s))
    if now_s - begun_s > within_s:
        log.warning("%s: answered after %.1f s%s", sent, now_s - begun_s, _and_no_cpu(stood_still_s))


def _and_no_cpu(stood_still_s: float) -> str:
    """What to add if the wait was not the broker's alone."""
    if stood_still_s < STARVED_S:
        return ""
    return f"; for another {stood_still_s:.1f} s this process had no CPU: see what else runs on its host"


def _retrieve(answers: asyncio.Future[Any]) -> None:
    """Look at the error of an answer that nobody waits for any more, or it is logged when it is collected."""
    if not answers.cancelled():
        answers.exception()
