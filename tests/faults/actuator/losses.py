"""A neighbour dies while overrides use it: how long until none of them is left on any edge.

Both edges take their turn as the exit. Each try has prefixes of its own: an override that was lost is not decided again
for a while.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from app.lab.daemons import collectors
from tests.faults.actuator.rig import NATURAL_PEER, EdgeRig, announced, move, on_edges, prefixes
from tests.faults.actuator.verdict import Trial

OVERRIDES = 500
EXITS = ("127.0.0.32", "127.0.0.35")  # a neighbour of r1 (gobgpd), one of r2 (FRR)

Broken = Callable[[EdgeRig], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def nothing(rig: EdgeRig) -> AsyncIterator[None]:
    """Everything else goes on."""
    yield


def kafka_frozen(rig: EdgeRig) -> AbstractAsyncContextManager[None]:
    """The broker accepts connections and answers nothing."""
    return rig.broker.frozen()


def kafka_dead(rig: EdgeRig) -> AbstractAsyncContextManager[None]:
    """No broker."""
    return rig.broker.dead()


@asynccontextmanager
async def bmp_dead(rig: EdgeRig) -> AsyncIterator[None]:
    """The BMP collector is killed, and started again afterwards."""
    await rig.stack.runner.kill("pmbmpd")
    yield
    await rig.stack.runner.stop("pmbmpd")
    await collectors.start_pmbmpd(rig.stack.runner, rig.stack.site, rig.pop)


@asynccontextmanager
async def both_dead(rig: EdgeRig) -> AsyncIterator[None]:
    """No broker and no BMP collector."""
    async with rig.broker.dead(), bmp_dead(rig):
        yield


async def lose(trial: Trial, broken: Broken, limit_s: float, overrides: int = OVERRIDES) -> None:
    """The row: `trial.times` deaths of a neighbour, each while something else is `broken`."""
    async with on_edges(trial, {NATURAL_PEER: prefixes(overrides * trial.times)}, budget=2 * overrides) as rig:
        for number in range(trial.times):
            peer = EXITS[number % len(EXITS)]
            mine = prefixes(overrides, first=overrides * number)
            await rig.start_neighbour(peer, announced(rig.pop, peer, mine))
            rig.decider.overrides = {rig.pop.name: tuple(move(rig.pop, peer, prefix) for prefix in mine)}
            await rig.all_there(overrides)
            rig.actuator.exits.clear()
            async with broken(rig):
                began_s = rig.clock.monotonic_s()
                await rig.stack.kill_neighbour(peer)
                await trial.gone(rig.count, began_s, limit_s)
                rig.no_exits(trial)  # when the broker is back, it starts anew on purpose
                rig.decider.overrides = {rig.pop.name: ()}
            trial.say(f"{trial.seconds[-1]} s")
        trial.leaked += rig.leaked()
