"""The faults: each is one coroutine that does the damage, once; and how often it is done."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.faults.rig import Rig, Setup


class Fault(NamedTuple):
    """One row. `short_times` is 0 where the short run leaves it out."""

    name: str
    inject: Callable[[Rig], Awaitable[None]]
    times: int
    short_times: int = 0
    setup: Setup = Setup()


async def sigkill(rig: Rig, wipe: bool = False) -> None:
    """At a random moment: mostly while it works, sometimes while it starts."""
    during_start = rig.random.random() < 0.2
    await _pause(rig, 0.0, 1.5)
    async with rig.fault():
        await rig.worker.kill(wipe)
    if during_start:
        await _pause(rig, 0.5, 8.0)
        async with rig.fault():
            await rig.worker.kill(wipe)
    await rig.goes_on()


async def sigkill_wiped(rig: Rig) -> None:
    await sigkill(rig, wipe=True)


async def _pause(rig: Rig, least_s: float, most_s: float) -> None:
    await asyncio.sleep(rig.random.uniform(least_s, most_s))


FAULTS = (
    Fault("worker SIGKILL", sigkill, 60, 3),
    Fault("worker SIGKILL, disk wiped", sigkill_wiped, 40, 2),
)
