"""Kills the neighbour that carries most overrides, and watches how fast both routers let go of them."""

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

POLL_S = 0.05
GIVE_UP_S = 20.0


async def overrides_now(broker: str, pop: str) -> tuple[Override, ...]:
    """What the newest decision wants."""
    newest = await read_topic(broker, topics.DECISIONS.for_pop(pop), last=1)
    return msgspec.json.decode(newest[-1].value, type=Decision).overrides if newest else ()


async def kill_busiest(
    stack: Stack, readers: Mapping[str, RibReader], clock: Clock, died: Callable[[str], None]
) -> Kill | None:
    """Kill it; None when no override points anywhere. `died` is told at once."""
    pop = stack.pop
    carried = Counter(override.exit.peer for override in await overrides_now(stack.broker, pop.name))
    if not carried:
        return None
    peer, _ = carried.most_common(1)[0]
    doomed = [override for override in await overrides_now(stack.broker, pop.name) if override.exit.peer == peer]
    at_s = await stack.kill_neighbour(peer)
    died(peer)
    gone_s = await _moment(clock, lambda: _all_gone(pop, readers, doomed))
    down_s = await peer_down_s(stack.broker, pop.name, peer, at_s - 1)
    return Kill(peer, at_s, len(doomed), down_s if down_s is not None else float("nan"), gone_s)


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
