"""Kills a neighbour as a scenario asks for, and watches how fast both routers let go of the overrides through it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec

from app import topics
from app.clock import Clock
from app.demo.evidence import Kill
from app.demo.gather import peer_down_s
from app.inventory import Pop
from app.kafkaread import read_topic
from app.local.stack import Stack
from app.schemas import Decision, Override
from app.sim.model import RouterTable
from app.sim.ribs import RibReader
from app.sim.scenario import BUSIEST

POLL_S = 0.05
GIVE_UP_S = 20.0


async def overrides_now(broker: str, pop: str) -> tuple[Override, ...]:
    """What the newest decision wants."""
    newest = await read_topic(broker, topics.DECISIONS.for_pop(pop), last=1)
    return msgspec.json.decode(newest[-1].value, type=Decision).overrides if newest else ()


async def kill(
    stack: Stack, readers: Mapping[str, RibReader], clock: Clock, died: Callable[[str], None], whom: str
) -> Kill | None:
    """Kill that peer, or with BUSIEST the one that carries most overrides; None when no override points anywhere.

    `died` is told at once.
    """
    pop = stack.pop
    peer = await _busiest(stack) if whom == BUSIEST else whom
    if peer is None:
        return None
    doomed = [override for override in await overrides_now(stack.broker, pop.name) if override.exit.peer == peer]
    at_s = await stack.kill_neighbour(peer)
    died(peer)
    gone_s = await _moment(clock, lambda: _all_gone(pop, readers, doomed))
    return Kill(peer, at_s, len(doomed), await _down_s(stack, peer, at_s - 1, clock), gone_s)


async def _busiest(stack: Stack) -> str | None:
    carried = Counter(override.exit.peer for override in await overrides_now(stack.broker, stack.pop.name))
    return carried.most_common(1)[0][0] if carried else None


async def _down_s(stack: Stack, peer: str, after_s: float, clock: Clock) -> float:
    """Kafka time of the record of its death, which takes a moment where no override had to go first; nan for none."""
    told_s: list[float] = []

    async def told() -> bool:
        down_s = await peer_down_s(stack.broker, stack.pop.name, peer, after_s)
        told_s.extend([] if down_s is None else [down_s])
        return down_s is not None

    await _moment(clock, told)
    return told_s[-1] if told_s else float("nan")


async def _moment(clock: Clock, happened: Callable[[], Awaitable[bool]]) -> float:
    """When it first was so, unix seconds; infinity when it never was."""
    give_up_s = clock.monotonic_s() + GIVE_UP_S
    while clock.monotonic_s() < give_up_s:
        if await happened():
            return clock.now_s()
        await asyncio.sleep(POLL_S)
    return float("inf")


async def _all_gone(pop: Pop, readers: Mapping[str, RibReader], doomed: Iterable[Override]) -> bool:
    tables = dict(zip(readers, await asyncio.gather(*(reader.best() for reader in readers.values())), strict=True))
    return not any(
        _still(pop, router, tables[router], override) for override in doomed for router in override.inject_on
    )


def _still(pop: Pop, router: str, table: RouterTable, override: Override) -> bool:
    """The router still follows our route through the dead exit."""
    path = table.get(override.prefix)
    exit_ = override.exit
    loopback = pop.routers[exit_.router].loopback6 if ":" in override.prefix else pop.routers[exit_.router].loopback4
    wanted = exit_.next_hop if router == exit_.router else loopback
    return path is not None and pop.marker_community in path.communities and path.next_hop == wanted
