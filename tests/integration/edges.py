"""Real edge routers that run what `autopilot render routers` writes, beside the little that an operator adds."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from app.config.inventory import Pop, load_pop
from app.lab.daemons import exabgp, frr, gobgp
from app.lab.daemons.commands import output
from app.lab.daemons.machine import Site, binary, make_run_dir, open_site
from app.lab.daemons.runner import Program, Runner
from app.routers.router_files import Collector, injector_config, neighbours, router_config
from tests.foreign.host import tool
from tests.integration.conftest import INVENTORY, PREFIXES, announced

ROUTER = "r1"
CANARY = "198.19.0.0/16"  # an own prefix that the router announces last
INJECTOR_ADDRESS, ROUTER_ADDRESS = "127.0.0.21", "127.0.0.11"
BOTH = ("ipv4", "ipv6")
Change = Callable[[str], str]


def unchanged(config: str) -> str:
    return config


def a_pop(maximum_prefix: int = 300) -> Pop:
    """The demo's PoP with one router more own prefix, and with this limit at its routers."""
    pop = load_pop(INVENTORY)
    routers = tuple(msgspec.structs.replace(router, maximum_prefix=maximum_prefix) for router in pop.router)
    return msgspec.structs.replace(pop, router=routers, own_prefixes=(*pop.own_prefixes, CANARY))


class Edge:
    """Router r1 as one daemon, with its injector and its eBGP neighbours."""

    def __init__(self, platform: str, runner: Runner, site: Site, pop: Pop) -> None:
        self.platform = platform
        self.runner = runner
        self.site = site
        self.pop = pop
        self.router = pop.routers[ROUTER]
        self.injector = gobgp.target(site, f"injector-{ROUTER}")
        self.peers = [neighbour.peer for neighbour in neighbours(pop, self.router)]

    async def start(self, change: Change) -> None:
        """Start the router; `change` is made to what was rendered for it."""
        raise NotImplementedError

    async def local_prefs(self) -> dict[str, set[int]]:
        """The local-prefs of all paths by prefix, of both families."""
        raise NotImplementedError

    async def announce_canary(self) -> None:
        """Announce CANARY to the eBGP neighbours: what they heard before it is all that was sent before it."""
        raise NotImplementedError

    def rendered(self) -> str:
        return router_config(self.pop, self.router, self.platform, Collector("127.0.0.1", self.site.ports.bmp))

    async def start_injector(self, change: Change) -> None:
        config = change(injector_config(self.pop, self.router))
        local = f'transport.config.local-address = "{INJECTOR_ADDRESS}"'
        assert local in config
        config = config.replace(local, f"{local}\ntransport.config.remote-port = {self.site.ports.bgp}")
        await gobgp.start(self.runner, self.site, f"injector-{ROUTER}", config)

    async def start_neighbours(self) -> None:
        sessions = [session for link in self.pop.link if link.router == ROUTER for session in link.sessions]
        for session in sessions:
            routes = announced()[session.peer]
            await exabgp.start_neighbour(self.runner, self.site, self.pop, self.router, session, routes)
        for session in sessions:
            own = self.pop.own_prefixes[:2]
            await self.runner.ready(exabgp.name_of(session.peer), exabgp.hears(self.site, session.peer, own))

    async def inject(self, prefix: str, *, community: str = "64512:911", local_pref: int = 1000) -> None:
        """Add a route to the injector, without NO_EXPORT."""
        family, hop = ("ipv6", "2001:db8:ffff::2") if ":" in prefix else ("ipv4", "198.51.100.2")
        attributes = ["origin", "igp", "aspath", "64602 65010", "local-pref", str(local_pref), "community", community]
        await gobgp.gobgp(self.injector, "global", "rib", "add", prefix, "nexthop", hop, *attributes, "-a", family)

    async def offered(self, prefix: str) -> set[str]:
        """The next hops that the router has sent to its injector for a prefix."""
        family = "ipv6" if ":" in prefix else "ipv4"
        found = await gobgp.gobgp(self.injector, "neighbor", ROUTER_ADDRESS, "adj-in", prefix, "-a", family)
        paths = (found or {}).get(prefix, [])
        return {attribute["nexthop"] for path in paths for attribute in path["attrs"] if "nexthop" in attribute}

    async def sent(self) -> set[str]:
        """The prefixes that the injector has sent to the router."""
        tables = [await gobgp.gobgp(self.injector, "neighbor", ROUTER_ADDRESS, "adj-out", "-a", f) for f in BOTH]
        return {prefix for table in tables for prefix in table or {}}

    def heard(self) -> set[str]:
        """Every prefix that any eBGP neighbour has heard from the router."""
        return {line.split()[0] for peer in self.peers for line in exabgp.received(self.site, peer)}


class Frr(Edge):
    async def start(self, change: Change) -> None:
        lines = [f" neighbor {INJECTOR_ADDRESS} passive", f" bgp router-id {self.router.loopback4}"]
        lines += [" no bgp default ipv4-unicast", " no bgp network import-check", " timers bgp 3 9"]
        for neighbour in neighbours(self.pop, self.router):
            peer = f" neighbor {neighbour.peer}"
            lines += [f"{peer} disable-connected-check", f"{peer} passive"]
            lines += [f"{peer} update-source {ROUTER_ADDRESS}"]
        for family, own in zip(BOTH, self.pop.own_prefixes, strict=False):
            lines += [f" address-family {family} unicast", f"  network {own}"]
            for peer in self.peers:
                lines += [f"  neighbor {peer} activate", f"  neighbor {peer} route-map ALL in"]
            lines += [" exit-address-family"]
        base = [f"hostname {ROUTER}", "log stdout notifications", "bgp route-map delay-timer 0"]
        own_part = "\n".join([*base, "route-map ALL permit 10", f"router bgp {self.pop.asn}", *lines, ""])
        config = self.site.write(f"{ROUTER}.conf", f"{change(self.rendered())}\n{own_part}")
        folder = self.site.make_directory(ROUTER)
        argv = (
            *(binary("bgpd"), "-Z", "-n", "-S", "-M", "bmp", "-f", str(config)),
            *("-p", str(self.site.ports.bgp), "-l", ROUTER_ADDRESS, "-P", "0"),
            *("-i", str(folder / "bgpd.pid"), "--vty_socket", str(folder)),
        )
        await self.runner.start(Program(name=ROUTER, argv=argv), frr.established(self.vty, {}))

    @property
    def vty(self) -> Path:
        return frr.vty_socket(self.site, self.router)

    async def local_prefs(self) -> dict[str, set[int]]:
        tables = [await frr.vty(self.vty, f"show bgp {family} unicast json") for family in BOTH]
        return {
            prefix: {path.get("locPrf", 100) for path in paths}
            for table in tables
            for prefix, paths in table.get("routes", {}).items()
        }

    async def announce_canary(self) -> None:
        await self.configure(f"router bgp {self.pop.asn}", "address-family ipv4 unicast", f"network {CANARY}")

    async def configure(self, *lines: str) -> None:
        """Type these lines in configuration mode."""
        commands = [argument for line in ("configure terminal", *lines) for argument in ("-c", line)]
        await output("vtysh", "--vty_socket", str(self.vty.parent), "-d", "bgpd", *commands)


class Bird(Edge):
    async def start(self, change: Change) -> None:
        rendered = change(self.rendered())
        listens = f"local {ROUTER_ADDRESS} as {self.pop.asn};"
        assert listens in rendered
        port = f"local {ROUTER_ADDRESS} port {self.site.ports.bgp} as {self.pop.asn}; strict bind; passive;"
        sessions = [
            f"protocol bgp n{number} from autopilot_ebgp {{\n"
            f"    {port} multihop; neighbor {neighbour.peer} as {neighbour.asn};\n"
            + "".join(f"    {family} {{ import all; next hop address {hop}; }};\n" for family, hop in self._hops())
            + "}\n"
            for number, neighbour in enumerate(neighbours(self.pop, self.router))
        ]
        config = (
            f"log stderr all;\nrouter id {self.router.loopback4};\nprotocol device {{}}\n"
            f"{rendered.replace(listens, port)}\n"
            f"protocol static own4 {{ ipv4; route {self.pop.own_prefixes[0]} unreachable; }}\n"
            f"protocol static own6 {{ ipv6; route {self.pop.own_prefixes[1]} unreachable; }}\n"
            f"protocol static canary {{ disabled; ipv4; route {CANARY} unreachable; }}\n{''.join(sessions)}"
        )
        path = self.site.write(f"{ROUTER}.conf", config)
        socket = self.site.path("bird.ctl")
        argv = (tool("bird"), "-f", "-c", str(path), "-s", str(socket))

        async def answers() -> str | None:
            return None if socket.exists() else f"{socket} does not exist yet"

        await self.runner.start(Program(name=ROUTER, argv=argv, keeps_user=True), answers)

    def _hops(self) -> list[tuple[str, str]]:
        assert self.router.loopback4
        assert self.router.loopback6
        return [("ipv4", self.router.loopback4), ("ipv6", self.router.loopback6)]

    async def local_prefs(self) -> dict[str, set[int]]:
        answer = await self.ask("show route all")
        found: dict[str, set[int]] = {}
        prefix = ""
        for line in answer.splitlines():
            if match := re.match(r"([0-9a-f.:]+/\d+) ", line):
                prefix = match[1]
                found[prefix] = set()
            elif match := re.match(r"\s+BGP.local_pref: (\d+)", line):
                found[prefix].add(int(match[1]))
        return found

    async def announce_canary(self) -> None:
        await self.ask("enable canary")

    async def ask(self, command: str) -> str:
        return await output(tool("birdc"), "-s", str(self.site.path("bird.ctl")), command)


class Gobgp(Edge):
    async def start(self, change: Change) -> None:
        """The router's own tables stand before those that were rendered, its neighbours behind them."""
        head = (
            f'[global.config]\nas = {self.pop.asn}\nrouter-id = "{self.router.loopback4}"\n'
            f'port = {self.site.ports.bgp}\nlocal-address-list = ["{ROUTER_ADDRESS}"]\n'
        )
        passive = "transport.config.passive-mode = true"
        local = f'transport.config.local-address = "{ROUTER_ADDRESS}"'
        rendered = change(self.rendered()).replace(local, f"{local}\n{passive}")
        for neighbour in neighbours(self.pop, self.router):
            rendered += (
                f'\n[[neighbors]]\nconfig.neighbor-address = "{neighbour.peer}"\nconfig.peer-as = {neighbour.asn}\n'
                f"{local}\n{passive}\n"
                + "".join(f'[[neighbors.afi-safis]]\nconfig.afi-safi-name = "{family}-unicast"\n' for family in BOTH)
            )
        await gobgp.start(self.runner, self.site, ROUTER, head + rendered)
        for prefix in self.pop.own_prefixes[:2]:
            await self._own(prefix)

    @property
    def target(self) -> str:
        return gobgp.target(self.site, ROUTER)

    async def _own(self, prefix: str) -> None:
        family, hop = "ipv6" if ":" in prefix else "ipv4", self.router.loopback(prefix)
        await gobgp.gobgp(self.target, "global", "rib", "add", prefix, "nexthop", hop, "-a", family)

    async def local_prefs(self) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        for family in BOTH:
            table: dict[str, list[dict[str, Any]]] = await gobgp.gobgp(self.target, "global", "rib", "-a", family) or {}
            for prefix, paths in table.items():
                values = [attribute["value"] for path in paths for attribute in path["attrs"] if attribute["type"] == 5]
                found[prefix] = {*values} or {100}
        return found

    async def announce_canary(self) -> None:
        await self._own(CANARY)


EDGES: dict[str, type[Edge]] = {"frr": Frr, "bird": Bird, "gobgp": Gobgp}


@asynccontextmanager
async def edge(
    platform: str, change: Change = unchanged, injector: Change = unchanged, maximum_prefix: int = 300
) -> AsyncIterator[Edge]:
    """A router of this platform with its injector and its neighbours; both configurations may be changed."""
    pop = a_pop(maximum_prefix)
    router = pop.routers[ROUTER]
    peers = [neighbour.peer for neighbour in neighbours(pop, router)]
    site = open_site(make_run_dir(None), [router.ibgp_address, router.injector.address, *peers])
    try:
        async with Runner(site.run_dir, site.user) as runner:
            running = EDGES[platform](platform, runner, site, pop)
            await running.start(change)
            await running.start_injector(injector)
            await running.start_neighbours()
            probe = gobgp.established(running.injector, {router.ibgp_address: 0})
            await runner.ready(f"injector-{ROUTER}", probe)
            yield running
    finally:
        await asyncio.to_thread(shutil.rmtree, site.run_dir)


OVERRIDE = PREFIXES[0]
