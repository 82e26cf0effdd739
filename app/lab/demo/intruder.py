"""Foreign routes, put in past Autopilot as an operator or a broken tool might do.

They are for the prefix that most IPv4 traffic goes to.
"""

import asyncio
from pathlib import Path

from app.errors import DaemonError
from app.lab.daemons.commands import output
from app.lab.daemons.gobgp import gobgp, target
from app.lab.demo.context import RunContext
from app.lab.demo.evidence import Planted
from app.lab.demo.killer import moment
from app.lab.pop.pop import SimPop

ROUTE_MAP = "PLANTED"
LEASE_S = 300.0


async def stray(context: RunContext, within_s: float) -> Planted:
    """Put an override with our marker that no decision contains into r1's injector, towards r2.

    Autopilot must withdraw it; if it is still there after `within_s`, it is withdrawn here.
    """
    stack, pop, (r1, r2) = context.stack, context.stack.pop, context.stack.pop.router
    prefix, injector = largest(context.sim_pop), target(stack.site, f"injector-{r1.name}")

    async def stands() -> bool:
        path = (await context.readers[r1.name].best()).get(prefix)
        return path is not None and pop.marker_community in path.communities

    async def gone() -> bool:
        return not await stands()

    route = [prefix, "nexthop", r2.loopback(prefix), "origin", "igp", "local-pref", str(pop.override_local_pref)]
    lease = f"{pop.asn}:{round(context.clock.now_s() + LEASE_S)}:0"  # without one, the reaper would be first
    marks = ("community", f"{pop.marker_community},no-export", "large-community", lease)
    await gobgp(injector, "global", "rib", "add", *route, *marks)
    from_s = await moment(context.clock, stands)
    gone_s = await moment(context.clock, gone, within_s)
    if left := gone_s == float("inf"):
        await gobgp(injector, "global", "rib", "del", prefix)
        gone_s = await moment(context.clock, gone)
    return Planted("stray", prefix, from_s, gone_s, left)


async def loop(context: RunContext, for_s: float) -> Planted:
    """Make r2 originate the prefix with r1 as next hop for `for_s`: r1 sends to r2, and r2 sends it back.

    The edges share only their best paths, so a single override on one router makes no loop; this route does. It carries
    no marker and is in no injector, so Autopilot may not withdraw it.
    """
    stack, pop, (r1, r2) = context.stack, context.stack.pop, context.stack.pop.router
    prefix = largest(context.sim_pop)

    async def stands() -> bool:
        path = (await context.readers[r2.name].best()).get(prefix)
        return path is not None and path.next_hop == r1.loopback4 and not path.as_path

    async def gone() -> bool:
        return not await stands()

    network = f"network {prefix} route-map {ROUTE_MAP}"
    family = (f"router bgp {pop.asn}", "address-family ipv4 unicast")
    route_map = (
        f"route-map {ROUTE_MAP} permit 10",
        f"set ip next-hop {r1.loopback4}",
        f"set local-preference {pop.override_local_pref}",
        "exit",
    )
    await _configure(stack.r2_vty, *route_map, *family, network)
    from_s = await moment(context.clock, stands)
    await asyncio.sleep(for_s)
    await _configure(stack.r2_vty, *family, f"no {network}", "exit", "exit", f"no route-map {ROUTE_MAP}")
    return Planted("loop", prefix, from_s, await moment(context.clock, gone), True)


def largest(sim_pop: SimPop) -> str:
    """The IPv4 prefix with the highest demand."""
    prefixes, by_demand = sim_pop.prefixes.prefixes, sim_pop.demand_bps.sum(axis=0)
    ipv4 = [index for index, prefix in enumerate(prefixes) if ":" not in prefix]
    return prefixes[max(ipv4, key=by_demand.__getitem__)]


async def _configure(vty: Path, *commands: str) -> None:
    """Change the configuration of FRR with vtysh; DaemonError if it refuses a command."""
    lines = [argument for command in ("configure terminal", *commands) for argument in ("-c", command)]
    if complaint := (await output("vtysh", "--vty_socket", str(vty.parent), "-d", "bgpd", *lines)).strip():
        raise DaemonError(f"vtysh refused: {complaint}")  # it complains on stdout and exits with status 0
