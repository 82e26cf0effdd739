"""Real routers on loopback: they choose what our model of plain BGP says, and a run over them sees what we inject."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest

from app.bgp.gobgp import GobgpSpeaker
from app.bgp.speaker import NO_EXPORT, InjectedRoute
from app.clock import SystemClock
from app.lab.daemons.gobgp import target
from app.lab.daemons.stack import Stack
from app.lab.pop.engine import count_overrides
from app.lab.pop.model import Tables
from app.lab.pop.ribs import FrrRib, GobgpRib, RibReader
from app.lab.pop.run import SimOptions, Simulation
from app.lab.pop.scenario import Scenario
from tests.app.lab.pop.daemons import needed
from tests.app.lab.pop.world import INVENTORY, IXP_1_PEER, LOOPBACK_1, MARKER, PNI_1, inventory, natural, world
from tests.patience import PATIENCE_S

Readers = Mapping[str, RibReader]
PNI_1_PEER = "127.0.0.31"
IXP_HOP = "198.51.100.2"


@pytest.mark.services
async def test_plain_bgp_overrides_and_a_death_on_real_routers() -> None:
    with needed():
        async with Stack(INVENTORY, world().announcements) as stack:
            readers: Readers = {"r1": GobgpRib(stack.r1_grpc), "r2": FrrRib(stack.r2_vty)}
            sim = Simulation(world(), Scenario(), readers, stack.sflow, SystemClock(), SimOptions())
            run = asyncio.create_task(sim.run(60))
            assert choices(await read(readers)) == choices(natural(0))
            moved = await override(stack)
            await until(lambda: overridden(readers, moved))
            await until(lambda: shown(sim, moved))
            before = sim.truth
            await stack.kill_neighbour(IXP_1_PEER)
            sim.neighbour_died(IXP_1_PEER)
            await until(lambda: blackholed(sim))
            await release(stack, moved)
            await until(lambda: is_natural(readers, natural(0, IXP_1_PEER)))
            sim.stop()
            await run
            await asyncio.gather(*(reader.close() for reader in readers.values()))
    assert before.carried[-1, PNI_1] < before.natural[-1, PNI_1]
    summary = sim.summary()
    assert (summary.overrides_max, summary.loops, summary.dead_ends) == (len(moved), 0, 0)
    assert summary.datagrams_failed == 0
    assert summary.blackholed_bytes > 0


async def override(stack: Stack) -> list[str]:
    """Send 20 prefixes of the private peering to the exchange instead, on both routers."""
    cone = {route.prefix for route in world().announcements[PNI_1_PEER]}
    routes = [route for route in world().announcements[IXP_1_PEER] if route.prefix in cone][:20]
    for router, next_hop in {"r1": IXP_HOP, "r2": LOOPBACK_1}.items():
        speaker = GobgpSpeaker(target(stack.site, f"injector-{router}"), MARKER)
        await speaker.announce(
            InjectedRoute(
                prefix=route.prefix,
                next_hop=next_hop,
                as_path=route.as_path,
                origin="igp",
                med=None,
                local_pref=inventory().override_local_pref,
                communities=(MARKER, NO_EXPORT),
                large_community=(inventory().asn, round(SystemClock().now_s()) + 600, 0),
            )
            for route in routes
        )
        await speaker.close()
    return [route.prefix for route in routes]


async def release(stack: Stack, prefixes: list[str]) -> None:
    for router in inventory().routers:
        speaker = GobgpSpeaker(target(stack.site, f"injector-{router}"), MARKER)
        await speaker.withdraw(prefixes)
        await speaker.close()


async def read(readers: Readers) -> Tables:
    return {router: await reader.best() for router, reader in readers.items()}


def choices(tables: Tables) -> dict[tuple[str, str], tuple[str, tuple[int, ...], int]]:
    """What a router chose for every prefix but the PoP's own."""
    return {
        (router, prefix): (path.next_hop, path.as_path, path.local_pref)
        for router, table in tables.items()
        for prefix, path in table.items()
        if prefix not in inventory().own_prefixes
    }


async def overridden(readers: Readers, prefixes: list[str]) -> bool:
    tables = await read(readers)
    assert count_overrides(tables, MARKER) <= len(prefixes)
    return all(MARKER in tables[router][prefix].communities for router in tables for prefix in prefixes)


async def shown(sim: Simulation, prefixes: list[str]) -> bool:
    return sim.snapshot is not None and sim.snapshot.overrides == len(prefixes)


async def blackholed(sim: Simulation) -> bool:
    return sim.snapshot is not None and sim.snapshot.blackholed_bps > 0


async def is_natural(readers: Readers, expected: Tables) -> bool:
    return choices(await read(readers)) == choices(expected)


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await happened():
                return
            await asyncio.sleep(0.05)
