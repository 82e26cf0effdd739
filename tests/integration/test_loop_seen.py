"""A forwarding loop on the real routers is seen and counted by the simulator: its `loops: 0` means something."""

import pytest

from app.bgp.gobgp import GobgpSpeaker
from app.bgp.speaker import InjectedRoute
from app.clock import SystemClock
from app.config.inventory import load_pop
from app.errors import EnvironmentProblem
from app.lab.daemons import frr
from app.lab.daemons.gobgp import established, target
from app.lab.daemons.stack import Stack
from app.lab.pop.pop import SimPop, generate
from app.lab.pop.ribs import FrrRib, GobgpRib, RibReader
from app.lab.pop.run import SimOptions, Simulation
from app.lab.pop.scenario import Scenario
from tests.integration.bgp import eventually
from tests.integration.conftest import INVENTORY, unavailable

pytestmark = [pytest.mark.services]

CLOCK = SystemClock()
LEASE_S = 120  # longer than the simulation: a reaper stands beside each gobgpd


async def plant(stack: Stack, sim_pop: SimPop) -> None:
    """Each edge is told to send one prefix to the other: what half of an override does where edges share all paths."""
    r1, r2 = stack.pop.router
    (route, *_) = sim_pop.announcements["127.0.0.31"]
    for router, towards in ((r1, r2), (r2, r1)):
        grpc = target(stack.site, f"injector-{router.name}")
        speaker = GobgpSpeaker(grpc, stack.pop.marker_community, clock=CLOCK)
        await speaker.announce(
            [
                InjectedRoute(
                    prefix=route.prefix,
                    next_hop=towards.loopback(route.prefix),
                    as_path=route.as_path,
                    origin="igp",
                    med=None,
                    local_pref=stack.pop.override_local_pref,
                    communities=(stack.pop.marker_community, "65535:65281"),
                    large_community=(stack.pop.asn, round(CLOCK.now_s()) + LEASE_S, 0),
                )
            ]
        )
        await speaker.close()
    up = established(stack.r1_grpc, {r1.injector.address: 1}), frr.established(stack.r2_vty, {r2.injector.address: 1})

    async def is_planted() -> bool:
        return not any([await probe() for probe in up])

    await eventually(is_planted)


async def test_two_contradicting_overrides_are_a_loop() -> None:
    sim_pop = generate(load_pop(INVENTORY), seed=1)
    try:
        async with Stack(INVENTORY, sim_pop.announcements) as stack:
            readers: dict[str, RibReader] = {"r1": GobgpRib(stack.r1_grpc), "r2": FrrRib(stack.r2_vty)}
            await plant(stack, sim_pop)
            sim = Simulation(sim_pop, Scenario(), readers, stack.sflow, CLOCK, SimOptions())
            await sim.run(6)
            summary = sim.summary()
            for reader in readers.values():
                await reader.close()
    except EnvironmentProblem as problem:
        unavailable(problem)
    assert summary.loops > 0
    assert summary.looped_bytes > 0
