"""The three edges as daemons: what their injectors have sent them, and how to change them."""

import asyncio
import re
from pathlib import Path
from typing import Protocol

from app.config.inventory import Pop, Router
from app.lab.daemons import frr, gobgp
from app.lab.daemons.commands import output
from app.lab.daemons.machine import Site, binary
from app.lab.daemons.runner import Probe, Runner
from tests.foreign import bird
from tests.leaks import configs
from tests.leaks.tail import Tail, changes, monitor

NO_EXPORT = "65535:65281"
Hops = dict[str, str]  # prefix -> next hop of our route


class Edge(Protocol):
    """An edge router. `leaky` weakens its policy: our routes go out to eBGP neighbours."""

    name: str
    program: str  # what the runner calls it

    async def start(self, runner: Runner, leaky: bool) -> None:
        """Start it and wait until it takes commands."""

    def is_ready(self, received: dict[str, int]) -> Probe:
        """A probe: all its sessions are up, and it has so many routes from each of these eBGP neighbours."""

    async def hops(self) -> Hops:
        """What its injector has sent it."""

    async def strip(self, on: bool) -> None:
        """Take NO_EXPORT from the routes of the injector from now on, or leave it."""

    async def announce_again(self) -> None:
        """Send every eBGP neighbour everything again."""


def edges(site: Site, pop: Pop) -> list[Edge]:
    """r1, r2 and r3."""
    r1, r2, r3 = pop.router
    return [GobgpEdge(site, pop, r1), FrrEdge(site, pop, r2), BirdEdge(site, pop, r3)]


class GobgpEdge:
    """A gobgpd. It does not honour NO_EXPORT at all, so nothing is ever stripped here."""

    def __init__(self, site: Site, pop: Pop, router: Router) -> None:
        self.name = self.program = router.name
        self._site, self._pop, self._router = site, pop, router
        self._grpc = gobgp.target(site, router.name)
        self._hops: Hops = {}

    async def start(self, runner: Runner, leaky: bool) -> None:
        config = configs.gobgpd(self._site, self._pop, self._router, leaky)
        await gobgp.start(runner, self._site, self.name, config)
        for prefix in self._pop.own_prefixes:
            family, hop = "ipv6" if ":" in prefix else "ipv4", self._router.loopback(prefix)
            await gobgp.gobgp(self._grpc, "global", "rib", "add", prefix, "nexthop", hop, "-a", family)
        await runner.start(monitor(f"adj-in-{self.name}", self._grpc, "adj-in", self._router.injector.address))
        self._changes = Tail(runner.log(f"adj-in-{self.name}"))

    def is_ready(self, received: dict[str, int]) -> Probe:
        inside = [each.ibgp_address for each in self._pop.router if each is not self._router]
        return gobgp.established(self._grpc, received | dict.fromkeys([*inside, self._router.injector.address], 0))

    async def hops(self) -> Hops:
        for change in changes(self._changes.lines()):
            if change.neighbour != self._router.injector.address:
                continue  # gobgp begins with the routes of all
            if change.withdrawn:
                self._hops.pop(change.prefix, None)
            else:
                self._hops[change.prefix] = change.next_hop
        return dict(self._hops)

    async def strip(self, on: bool) -> None:
        pass

    async def announce_again(self) -> None:
        for session in configs.sessions(self._pop, self._router):
            await output(binary("gobgp"), "--target", self._grpc, "neighbor", session.peer, "softresetout")


class FrrEdge:
    """A bgpd."""

    def __init__(self, site: Site, pop: Pop, router: Router) -> None:
        self.name = self.program = router.name
        self._site, self._pop, self._router = site, pop, router
        self._vty = frr.vty_socket(site, router)

    async def start(self, runner: Runner, leaky: bool) -> None:
        config = configs.bgpd(self._site, self._pop, self._router, leaky)
        await frr.start(runner, self._site, self._router, config)

    def is_ready(self, received: dict[str, int]) -> Probe:
        inside = [each.ibgp_address for each in self._pop.router if each is not self._router]
        return frr.established(self._vty, received | dict.fromkeys([*inside, self._router.injector.address], 0))

    async def hops(self) -> Hops:
        hops: Hops = {}
        for family in ("ipv4", "ipv6"):
            command = f"show bgp {family} unicast neighbors {self._router.injector.address} routes json"
            for prefix, paths in (await frr.vty(self._vty, command)).get("routes", {}).items():
                for path in paths:
                    hops[prefix] = path["nexthops"][0]["ip"]
        return hops

    async def strip(self, on: bool) -> None:
        no = "" if on else "no "
        await self._run(
            "configure terminal",
            "bgp community-list standard no-export permit no-export",
            "route-map AUTOPILOT-FROM-INJECTOR permit 10",
            f"{no}set comm-list no-export delete",
        )

    async def announce_again(self) -> None:
        for family in ("ipv4", "ipv6"):
            await self._run(f"clear bgp {family} unicast * soft out")

    async def _run(self, *commands: str) -> None:
        asked = [word for command in commands for word in ("-c", command)]
        await output(binary("vtysh"), "--vty_socket", str(self._vty.parent), "-d", "bgpd", *asked)


class BirdEdge:
    """A BIRD."""

    def __init__(self, site: Site, pop: Pop, router: Router) -> None:
        self.name, self.program = router.name, f"bird-{router.name}"
        self._socket = bird.socket_of(site, router.name)
        self._site, self._pop, self._router = site, pop, router

    async def start(self, runner: Runner, leaky: bool) -> None:
        self._config = configs.bird(self._site, self._pop, self._router, leaky)
        await bird.start(runner, self._site, self.name, self._config)

    def is_ready(self, received: dict[str, int]) -> Probe:
        up = bird.established(self._site, self.name)

        async def probe() -> str | None:
            if (problem := await up()) is not None:
                return problem
            for session in configs.sessions(self._pop, self._router):
                answer = await ask(self._socket, f"show route protocol {configs.protocol_of(session)} count")
                if int(re.findall(r"(\d+) of \d+ routes", answer)[-1]) < received[session.peer]:
                    return f"routes of {session.peer} are missing: {answer}"
            return None

        return probe

    async def hops(self) -> Hops:
        answer = await ask(self._socket, "show route protocol autopilot_injector all")
        prefixes = re.findall(r"^([0-9a-f.:]+/\d+) ", answer, re.MULTILINE)
        hops = re.findall(r"BGP.next_hop: (\S+)", answer)
        return dict(zip(prefixes, hops, strict=True))

    async def strip(self, on: bool) -> None:
        accepts = f"bgp_local_pref = {self._pop.override_local_pref} then accept;"
        stripping = accepts.replace("accept;", f"{{ bgp_community.delete(({NO_EXPORT.replace(':', ', ')})); accept; }}")
        text = configs.changed(self._config, accepts, stripping) if on else self._config
        path = self._site.write(f"bird-{self.name}.conf", text)
        answer = await ask(self._socket, f'configure "{path}"')
        assert "econfigur" in answer, answer

    async def announce_again(self) -> None:
        for session in configs.sessions(self._pop, self._router):
            await ask(self._socket, f"reload out {configs.protocol_of(session)}")


async def ask(socket: Path, command: str) -> str:
    """BIRD's answer to a command, without codes. birdc would take longer to start than this takes altogether."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        await _answer(reader)  # a greeting
        writer.write(f"{command}\n".encode())
        return await _answer(reader)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> str:
    """Lines up to the first with a space after its code; one without a code has the code of the line before."""
    lines, code = list[str](), ""
    while not code.endswith(" ") or len(code) == 1:
        line = (await reader.readuntil()).decode()
        code = line[:1] if line[0] == " " else line[:5]
        lines.append(line[len(code) : -1])
    return "\n".join(lines)
