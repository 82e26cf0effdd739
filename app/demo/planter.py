"""Routes that somebody else puts in, past Autopilot, as an operator's hand or a broken tool would."""

import asyncio
from collections.abc import Mapping

from app.clock import Clock
from app.demo.evidence import Planted
from app.demo.killer import moment
from app.errors import DaemonError
from app.local.gobgp import gobgp, target
from app.local.stack import Stack
from app.sim.model import BestPath
from app.sim.pop import SimPop
from app.sim.ribs import RibReader

ROUTE_MAP = "PLANTED"


class Planter:
    """Plants routes for the prefix that most IPv4 traffic goes to."""

    def __init__(self, stack: Stack, sim_pop: SimPop, readers: Mapping[str, RibReader], clock: Clock) -> None:
        self._stack, self._readers, self._clock = stack, readers, clock
        self._prefix = _largest(sim_pop)

    async def stray(self, within_s: float) -> Planted:
        """An override with our marker that nobody decided, in r1's injector alone, towards r2.

        Taken out by hand when it still stands after `within_s`.
        """
        pop, (r1, r2) = self._stack.pop, self._stack.pop.router
        injector = target(self._stack.site, f"injector-{r1.name}")
        route = [self._prefix, "nexthop", r2.loopback4, "origin", "igp", "local-pref", str(pop.override_local_pref)]
        await gobgp(injector, "global", "rib", "add", *route, "community", f"{pop.marker_community},no-export")

        def planted(path: BestPath | None) -> bool:
            return path is not None and pop.marker_community in path.communities

        async def stands() -> bool:
            return planted((await self._readers[r1.name].best()).get(self._prefix))

        async def gone() -> bool:
            return not await stands()

        from_s = await moment(self._clock, stands)
        gone_s = await moment(self._clock, gone, within_s)
        if left := gone_s == float("inf"):
            await gobgp(injector, "global", "rib", "del", self._prefix)
            gone_s = await moment(self._clock, gone)
        return Planted("stray", self._prefix, from_s, gone_s, left)

    async def loop(self, for_s: float) -> Planted:
        """r2 originates the prefix by itself, with r1 as its next hop: r1 believes r2 and r2 sends it back.

        The edges share only their best paths, so an override on one router makes no loop here; this does, and as it
        carries no marker and is in no injector, it is not Autopilot's to take out.
        """
        r1, r2 = self._stack.pop.router

        async def stands() -> bool:
            path = (await self._readers[r2.name].best()).get(self._prefix)
            return path is not None and path.next_hop == r1.loopback4 and not path.as_path

        async def gone() -> bool:
            return not await stands()

        await self._configure(
            f"route-map {ROUTE_MAP} permit 10",
            f"set ip next-hop {r1.loopback4}",
            f"set local-preference {self._stack.pop.override_local_pref}",
            *self._network(f"network {self._prefix} route-map {ROUTE_MAP}"),
        )
        from_s = await moment(self._clock, stands)
        await asyncio.sleep(for_s)
        await self._configure(
            *self._network(f"no network {self._prefix} route-map {ROUTE_MAP}"), f"no route-map {ROUTE_MAP}"
        )
        return Planted("loop", self._prefix, from_s, await moment(self._clock, gone), True)

    def _network(self, statement: str) -> tuple[str, ...]:
        return f"router bgp {self._stack.pop.asn}", "address-family ipv4 unicast", statement, "exit", "exit"

    async def _configure(self, *commands: str) -> None:
        """By r2's own command; DaemonError when it refuses."""
        lines = [argument for command in ("configure terminal", *commands) for argument in ("-c", command)]
        argv = ["vtysh", "--vty_socket", str(self._stack.r2_vty.parent), "-d", "bgpd", *lines]
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), 10)
        if process.returncode or out.strip():  # it complains on stdout and ends with 0
            raise DaemonError(f"vtysh ended with status {process.returncode}: {(out + err).decode(errors='replace')}")


def _largest(sim_pop: SimPop) -> str:
    prefixes, by_demand = sim_pop.prefixes.prefixes, sim_pop.demand_bps.sum(axis=0)
    ipv4 = [index for index, prefix in enumerate(prefixes) if ":" not in prefix]
    return prefixes[max(ipv4, key=by_demand.__getitem__)]
