"""Nobody renews any more: every route must go when its lease ends, whoever is left to see to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from math import ceil

from tests.faults.actuator.light import on_injectors
from tests.faults.actuator.rig import LEASE_S, NATURAL_PEER, prefixes, stop
from tests.faults.actuator.verdict import Trial
from tests.faults.worker import Worker

POPS = 5  # each is a try, with two gobgpds and two reapers
OVERRIDES = 20
PEER = "127.0.0.32"
LOOP_S = 15.0
AFTER_LEASE_S = 10.0


@asynccontextmanager
async def for_good(actuator: Worker) -> AsyncIterator[None]:
    """SIGKILL, and nobody starts it again."""
    await actuator.end()
    yield
    await actuator.start()


@asynccontextmanager
async def in_a_loop(actuator: Worker) -> AsyncIterator[None]:
    """SIGKILL every LOOP_S; its supervisor starts it again."""

    async def kill() -> None:
        while True:
            await actuator.kill()
            await asyncio.sleep(LOOP_S)

    killing = asyncio.create_task(kill(), name="killer")
    yield
    await stop(killing)


async def end(trial: Trial, dies: Callable[[Worker], AbstractAsyncContextManager[None]], broker_dies: bool) -> None:
    """The row: the actuator `dies` when the last decision was made, and the broker with it if `broker_dies`.

    Rounds of POPS tries at a time; of each the last route must be gone AFTER_LEASE_S after the lease that was decided.
    """
    mine = prefixes(OVERRIDES)
    async with on_injectors(trial, {NATURAL_PEER: mine, PEER: mine}, POPS) as rig:
        for _ in range(ceil(trial.times / POPS)):
            await rig.decide(PEER, mine)
            await asyncio.sleep(trial.random.uniform(0.0, LEASE_S / 2))  # renewals are anywhere in their course
            rig.decider.overrides = {}
            began_s = rig.decider.decided_s
            async with AsyncExitStack() as exit_:
                if broker_dies:
                    await exit_.enter_async_context(rig.broker.dead())
                await exit_.enter_async_context(dies(rig.actuator))
                tries = [trial.gone(partial(rig.held, pop), began_s, LEASE_S + AFTER_LEASE_S) for pop in rig.places]
                took = await asyncio.gather(*tries)
            trial.say(" s, ".join(str(one) for one in took))
