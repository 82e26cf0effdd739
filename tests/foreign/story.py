"""What happens: calm, a surge that fills the private peering, a move, the end of the surge, and the return."""

import asyncio
import json
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from app.clock import SystemClock
from app.contract import topics
from app.contract.schemas import Actuation, LinkUtilization
from app.feeds.counters import InterfaceCounters
from app.feeds.counters import decode as decode_counters
from app.kafka.read import follow, read_topic
from app.lab.demo.evidence import ByteAccount
from app.lab.pop.model import InstalledPath
from tests.foreign import bird
from tests.foreign.host import own_network
from tests.foreign.rig import (
    FROM_EDGE2,
    HOSTS1,
    HOSTS2,
    IXP_ONLY,
    MOVABLE,
    MOVABLE6,
    ROUTES,
    TRANSIT_ONLY,
    Rig,
    beside,
    foreign_pop,
)
from tests.foreign.wires import Flow, Wires
from tests.patience import PATIENCE_S

CALM_BPS, SURGE_BPS = 0.65e6, 1.05e6  # of each prefix on the private peering: together 5.85 and 9.45 Mb/s of 10
OTHER_BPS = 2e6
POLL_S = 0.1


class Seen(NamedTuple):
    """Where the moved prefix goes at one moment, by the tables of both edges, and what the neighbours were sent."""

    at_edge1: InstalledPath
    at_edge2: bird.BirdPath
    heard: dict[str, set[str]]  # by link


class Evidence(NamedTuple):
    """What the tests judge. `account` was read at `read_s`."""

    wires: Wires
    utilization: list[LinkUtilization]
    actuations: list[Actuation]
    moved: str
    during: Seen
    after: Seen
    account: ByteAccount
    read_s: float
    dead_letters: list[tuple[str, str]]  # topic and reason
    readings: dict[str, list[tuple[float, int]]]  # by link: when its agent's counters came, and the octets sent


class Records:
    """Every record of two of our topics so far."""

    def __init__(self, rig: Rig) -> None:
        self._kafka = rig.kafka
        self.utilization: list[LinkUtilization] = []
        self.actuations: list[Actuation] = []

    async def run(self) -> None:
        """Follow the topics until cancelled."""
        async for record in follow(self._kafka, {topics.LINK_UTILIZATION.name: None, topics.ACTUATIONS.name: None}):
            if record.topic == topics.ACTUATIONS.name:
                self.actuations.append(msgspec.json.decode(record.value, type=Actuation))
            else:
                self.utilization.append(msgspec.json.decode(record.value, type=LinkUtilization))

    def windows(self, link: str, since_s: float) -> list[LinkUtilization]:
        """The trustworthy windows of one of edge1's links that began at this time or later."""
        name = f"foreign/edge1/{link}"
        return [
            each
            for each in self.utilization
            if each.link == name and each.feed == "live" and each.window_start.timestamp() >= since_s
        ]

    def routes(self, *actions: str) -> set[tuple[str, str]]:
        """(router, prefix) of every route that had one of these actions."""
        return {(each.router, each.prefix) for each in self.actuations if each.action in actions}


def destination(prefix: str) -> str:
    """An address in a prefix, to which the packets for that prefix go."""
    return f"{prefix.partition('/')[0].removesuffix('0')}9"


def rates(movable_bps: float) -> dict[Flow, float]:
    """What the hosts send."""
    flows = {Flow(HOSTS1, destination(prefix)): movable_bps for prefix in (*MOVABLE, MOVABLE6)}
    flows[Flow(HOSTS2, destination(FROM_EDGE2))] = movable_bps
    flows[Flow(HOSTS1, destination(IXP_ONLY))] = OTHER_BPS
    flows[Flow(HOSTS2, destination(TRANSIT_ONLY))] = OTHER_BPS
    return flows


def run_story() -> Evidence:
    """Run the whole story in a network namespace of its own."""
    with own_network():
        return asyncio.run(_run())


async def _run() -> Evidence:
    async with foreign_pop() as rig:
        records = Records(rig)
        async with beside(records.run()):
            evidence = await _play(rig, records)
    return evidence


async def _play(rig: Rig, records: Records) -> Evidence:
    clock, wires = SystemClock(), rig.wires
    wires.rates_bps, calm_s = rates(CALM_BPS), clock.now_s()
    await _until("two windows of calm", lambda: all(len(records.windows(link, calm_s)) > 1 for link in ("pni", "ixp")))
    assert not records.actuations, "nothing is moved in calm"

    wires.rates_bps = rates(SURGE_BPS)
    await _until("a move", lambda: records.routes("announced"))
    moved = next(each.prefix for each in records.actuations if each.action == "announced")
    at_both = {(router, moved) for router in rig.pop.routers}
    await _until("the move at both edges", lambda: at_both <= records.routes("confirmed"))
    await _arrives(wires, moved, "ixp")
    during, relieved_s = await _seen(rig, moved), clock.now_s()
    await _until("a window of the relieved link", lambda: records.windows("pni", relieved_s))

    wires.rates_bps = rates(CALM_BPS)
    await _until("the return of every move", lambda: records.routes("announced") <= records.routes("withdrawn"))
    await _until("FRR without any of our routes", lambda: not _overrides(rig))
    await _arrives(wires, moved, "pni")
    account, read_s = await rig.state.get("progress", ByteAccount), clock.now_s()
    letters = [json.loads(record.value) for record in await read_topic(rig.kafka, topics.DEAD_LETTERS.name)]
    return Evidence(
        wires=wires,
        utilization=records.utilization,
        actuations=records.actuations,
        moved=moved,
        during=during,
        after=await _seen(rig, moved),
        account=account,
        read_s=read_s,
        dead_letters=[(letter["topic"], letter["reason"]) for letter in letters],
        readings=await _readings(rig),
    )


async def _readings(rig: Rig) -> dict[str, list[tuple[float, int]]]:
    agents = {name: router.agent_address for name, router in rig.pop.routers.items()}
    links = {(agents[link.router], index): link.name for link in rig.pop.link for index in link.ifindexes}
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in links.values()}
    for record in await read_topic(rig.kafka, topics.COUNTERS.for_pop(rig.pop.name)):
        reading = decode_counters(record.value)
        if isinstance(reading, InterfaceCounters) and (name := links.get((reading.exporter, reading.ifindex))):
            found[name].append((reading.at_s, reading.out_octets))
    return found


async def _until(what: str, happened: Callable[[], object]) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not happened():
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise AssertionError(f"not seen within {PATIENCE_S:g} s: {what}") from None


async def _arrives(wires: Wires, prefix: str, link: str) -> None:
    """Wait until packets for the prefix leave by this link."""
    address = destination(prefix)
    before = wires.arrived_bytes[link, address]
    await _until(f"{prefix} leaving by {link}", lambda: wires.arrived_bytes[link, address] > before)


def _overrides(rig: Rig) -> list[str]:
    """The prefixes whose best route at FRR is one of ours."""
    marker = rig.pop.marker_community
    return [prefix for prefix, path in rig.forwarding.table.items() if marker in path.communities]


async def _seen(rig: Rig, prefix: str) -> Seen:
    return Seen(
        rig.forwarding.table[prefix],
        await bird.best_path(rig.site, "edge2", prefix),
        {link: await bird.heard(rig.site, link) for link in ROUTES},
    )
