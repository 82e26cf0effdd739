"""Kills the neighbour that a scenario names and measures how fast both routers drop the overrides through it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from app.clock import Clock
from app.config.inventory import Pop
from app.config.settings import Kafka
from app.contract import topics
from app.feeds.bmp import BmpRecord, decode
from app.kafka.read import read_topic
from app.lab.daemons.stack import Stack
from app.lab.demo.context import RunContext
from app.lab.demo.evidence import Kill
from app.lab.pop.engine import next_hops_of
from app.lab.pop.model import Tables
from app.lab.pop.ribs import RibReader
from app.lab.pop.scenario import BUSIEST

POLL_S = 0.05
GIVE_UP_S = 120.0


async def kill(context: RunContext, target: str) -> Kill | None:
    """Kill the peer `target`; for BUSIEST the one that most overrides lead to, or None if there are no overrides."""
    pop, readers, clock = context.stack.pop, context.readers, context.clock
    tables = await read_tables(readers)
    peer = _busiest(pop, tables) if target == BUSIEST else target
    if peer is None:
        return None
    doomed = held_through(pop, tables, peer)
    at_s = await context.stack.kill_neighbour(peer)
    context.sim.neighbour_died(peer)

    async def gone() -> bool:
        return not still_sent(pop, await read_tables(readers), peer, doomed)

    gone_s = await moment(clock, gone)
    return Kill(peer, at_s, len(doomed), await _down_s(context.stack, peer, at_s - 1, clock), gone_s)


async def read_tables(readers: Mapping[str, RibReader]) -> Tables:
    """The table of every router now, by router name; SpeakerError if one cannot be read."""
    return dict(zip(readers, await asyncio.gather(*(reader.best() for reader in readers.values())), strict=True))


def held_through(pop: Pop, tables: Tables, peer: str) -> set[str]:
    """The prefixes that some router sends to this neighbour because of an override."""
    hops = next_hops_of(pop, peer)
    return {
        prefix
        for router, table in tables.items()
        for prefix, path in table.items()
        if pop.marker_community in path.communities and (router, path.next_hop) in hops
    }


def still_sent(pop: Pop, tables: Tables, peer: str, doomed: Collection[str]) -> bool:
    """Whether an override still leads to this neighbour, or to a router that has no override for the prefix."""
    return bool(held_through(pop, tables, peer)) or any(
        (path := table.get(prefix)) is not None
        and pop.marker_community in path.communities
        and (onward := pop.router_by_loopback.get(path.next_hop)) is not None
        and ((next_path := tables[onward].get(prefix)) is None or pop.marker_community not in next_path.communities)
        for table in tables.values()
        for prefix in doomed
    )


async def moment(clock: Clock, happened: Callable[[], Awaitable[bool]], within_s: float = GIVE_UP_S) -> float:
    """Poll until `happened` is true; the time in Unix seconds, or infinity if it was not true within `within_s`."""
    give_up_s = clock.monotonic_s() + within_s
    while clock.monotonic_s() < give_up_s:
        if await happened():
            return clock.now_s()
        await asyncio.sleep(POLL_S)
    return float("inf")


def _busiest(pop: Pop, tables: Tables) -> str | None:
    peers = [session.peer for link in pop.link for session in link.sessions]
    overrides = {peer: len(held_through(pop, tables, peer)) for peer in peers}
    peer = max(peers, key=overrides.__getitem__)
    return peer if overrides[peer] else None


async def _down_s(stack: Stack, peer: str, after_s: float, clock: Clock) -> float:
    """Wait for the BMP record of this peer's death and return its Kafka time; NaN if none comes.

    If no override had to go first, the record may take a moment to arrive.
    """
    downs_s: list[float] = []

    async def reported() -> bool:
        down_s = await peer_down_s(stack.kafka, stack.pop.name, peer, after_s)
        downs_s.extend([] if down_s is None else [down_s])
        return down_s is not None

    await moment(clock, reported)
    return downs_s[-1] if downs_s else float("nan")


async def peer_down_s(kafka: Kafka, pop: str, peer: str, after_s: float) -> float | None:
    """Kafka time (Unix seconds) of the first BMP record after `after_s` that reports this peer down; None if none."""
    for record in await read_topic(kafka, topics.BMP.for_pop(pop), last=2000):
        message = decode(record.value)
        is_down = isinstance(message, BmpRecord) and (message.bmp_msg_type, message.peer_ip) == ("peer_down", peer)
        if is_down and record.timestamp / 1000 > after_s:
            return float(record.timestamp / 1000)
    return None
