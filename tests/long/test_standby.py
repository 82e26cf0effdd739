"""A second worker of the same cell: it keeps the tables warm, and takes over when the first is killed."""

import asyncio
import logging
import signal
from pathlib import Path

import pytest

from app.clock import SystemClock
from app.errors import FROZEN, EnvironmentProblem
from app.lab.daemons.ports import free_port
from tests.integration.conftest import unavailable
from tests.integration.sums_rig import Rig, Worker, sums_rig
from tests.integration.test_exact_state import BATCH

log = logging.getLogger(__name__)

pytestmark = pytest.mark.services

SESSION_TIMEOUT_S = 10.0
TAKEOVER_MAX_S = 15.0


async def start(rig: Rig, disk: str) -> Worker:
    return await rig.start(
        disk, standby_replicas=1, session_timeout_s=SESSION_TIMEOUT_S, state_port=free_port(), patience_s=30.0
    )


async def takes_over(rig: Rig, first: Worker, number: signal.Signals) -> float:
    """Seconds from the end of the first worker to the first commit beyond what it can have committed."""
    first.signal(number)
    await first.ended(15.0)
    gone_s, sent = SystemClock().monotonic_s(), rig.load.sent
    await rig.commits_past(sent + BATCH)
    took_s = SystemClock().monotonic_s() - gone_s
    log.info("%s: the next commit came after %.1f s", number.name, took_s)
    return took_s


async def kill_one_after_the_other(rig: Rig) -> None:
    rig.begin()
    first = await start(rig, "a")
    await first.is_in("running")
    second = await start(rig, "b")
    await second.is_in("standby")
    await rig.commits_past(await rig.commits() + 10 * BATCH)
    assert (await first.probe("/healthz"))[0] == 200
    took_s = await takes_over(rig, first, signal.SIGKILL)
    assert took_s < TAKEOVER_MAX_S
    await second.is_in("running")

    back = await start(rig, "a")  # the old disk, which may hold rows that no changelog ever had
    await back.is_in("standby")
    took_s = await takes_over(rig, second, signal.SIGKILL)
    assert took_s < TAKEOVER_MAX_S

    third = await start(rig, "b")
    await third.is_in("standby")
    took_s = await takes_over(rig, back, signal.SIGTERM)
    assert took_s < SESSION_TIMEOUT_S, "who leaves says so: nobody waits for it"
    await rig.finish()
    third.signal(signal.SIGTERM)
    assert await third.ended(15.0) == 0
    assert await rig.exact()
    assert [worker.process.returncode for worker in rig.workers] == [-9, -9, 0, 0]


async def test_a_standby_takes_over_with_exact_sums(
    tmp_path: Path,
) -> None:
    try:
        async with sums_rig(tmp_path) as rig:
            await kill_one_after_the_other(rig)
    except EnvironmentProblem as problem:
        unavailable(problem)


async def freeze_and_thaw(rig: Rig) -> None:
    rig.begin()
    first = await start(rig, "a")
    await first.is_in("running")
    second = await start(rig, "b")
    await second.is_in("standby")
    sent = rig.load.sent
    first.signal(signal.SIGSTOP)
    await rig.commits_past(sent + 5 * BATCH)  # by the second
    await asyncio.sleep(2.0)  # and it goes on, so that its rows are newer than what the first still holds
    first.signal(signal.SIGCONT)
    assert await first.ended(10.0) == FROZEN
    assert "frozen for" in first.told()
    await rig.finish()
    second.signal(signal.SIGTERM)
    assert await second.ended(15.0) == 0
    assert await rig.exact()


async def test_a_worker_that_was_frozen_ends_and_its_successor_stays_exact(tmp_path: Path) -> None:
    try:
        async with sums_rig(tmp_path) as rig:
            await freeze_and_thaw(rig)
    except EnvironmentProblem as problem:
        unavailable(problem)
