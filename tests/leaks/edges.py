"""The three edges: where their configuration comes from, what their injectors have sent them, how to change them."""

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
from tests.leaks.tail import Tail, changes, monitor

NO_EXPORT = "65535:65281"
Hops = dict[str, str]  # prefix -> next hop of our route
# Next hops are only data here, but BIRD has to believe that it reaches them.
REACHED = """\
protocol static {
    ipv4;
    route 198.51.100.0/24 via "lo";
    route 192.0.2.0/24 via "lo";
}
protocol static {
    ipv6;
    route 2001:db8::/48 via "lo";
    route 2001:db8:ffff::/48 via "lo";
}
"""


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


def edge_config(site: Site, pop: Pop, router: Router) -> str:
    """The configuration of an edge: the one place that knows where the policy under test comes from."""
    r1, r2, r3 = pop.router
    if router.name == r1.name:
        return gobgp.edge_config(site, pop, router, export_policy=True)
    if router.name == r2.name:
        return frr.edge_config(site, pop, router)
    return bird.edge_config(site, pop, r3, REACHED, calls=[r1.name])


def changed(text: str, old: str, new: str) -> str:
    """The text with a part replaced, which must be there."""
    assert old in text, f"the configuration has no {old!r} any more"
    return text.replace(old, new)


class GobgpEdge:
    """A gobgpd. It does not honour NO_EXPORT at all, so nothing is ever stripped here."""

    def __init__(self, site: Site, pop: Pop, router: Router) -> None:
        self.name = self.program = router.name
        self._site, self._pop, self._router = site, pop, router
        self._grpc = gobgp.target(site, router.name)
        self._hops: Hops = {}

    async def start(self, runner: Runner, leaky: bool) -> None:
        config = edge_config(self._site, self._pop, self._router)
        if leaky:
            for family in ("ipv4", "ipv6"):
                denial = f'name = "export-no-marker-{family}"\n'
                condition = 'conditions.bgp-conditions.match-community-set.community-set = "marker"\n'
                rejects, accepts = (
                    f'actions.route-disposition = "{verdict}-route"' for verdict in ("reject", "accept")
                )
                config = changed(config, denial + condition + rejects, denial + condition + accepts)
        await gobgp.start(runner, self._site, self._pop, self._router, config)
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
        for link in self._pop.link:
            for session in link.sessions if link.router == self.name else ():
                await output(binary("gobgp"), "--target", self._grpc, "neighbor", session.peer, "softresetout")


class FrrEdge:
    """A bgpd."""

    def __init__(self, site: Site, pop: Pop, router: Router) -> None:
        self.name = self.program = router.name
        self._site, self._pop, self._router = site, pop, router
        self._vty = frr.vty_socket(site, router)

    async def start(self, runner: Runner, leaky: bool) -> None:
        config = edge_config(self._site, self._pop, self._router)
        if leaky:
            denial = "route-map TO-EBGP deny 10\n"
            config = changed(config, denial, f"route-map TO-EBGP permit 5\n match community marker\n{denial}")
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
            "route-map FROM-INJECTOR permit 10",
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
        self._config = edge_config(self._site, self._pop, self._router)
        if leaky:
            out = "filter to_ebgp {\n"
            self._config = changed(self._config, out, f"{out}    if MARKER ~ bgp_community then accept;\n")
        await bird.start(runner, self._site, self.name, self._config)

    def is_ready(self, received: dict[str, int]) -> Probe:
        up = bird.established(self._site, self.name)

        async def probe() -> str | None:
            if (problem := await up()) is not None:
                return problem
            for peer, count in received.items():
                answer = await ask(self._socket, f"show route protocol {bird.protocol_of(peer)} count")
                if int(re.findall(r"(\d+) of \d+ routes", answer)[-1]) < count:
                    return f"{peer} has sent less than {count} routes: {answer}"
            return None

        return probe

    async def hops(self) -> Hops:
        answer = await ask(self._socket, "show route protocol injector all")
        prefixes = re.findall(r"^([0-9a-f.:]+/\d+) ", answer, re.MULTILINE)
        hops = re.findall(r"BGP.next_hop: (\S+)", answer)
        return dict(zip(prefixes, hops, strict=True))

    async def strip(self, on: bool) -> None:
        accepts = f"bgp_local_pref = {self._pop.override_local_pref} then accept;"
        stripping = accepts.replace("accept;", f"{{ bgp_community.delete(({NO_EXPORT.replace(':', ', ')})); accept; }}")
        text = changed(self._config, accepts, stripping) if on else self._config
        path = self._site.write(f"bird-{self.name}.conf", text)
        answer = await ask(self._socket, f'configure "{path}"')
        assert "econfigur" in answer, answer

    async def announce_again(self) -> None:
        for link in self._pop.link:
            for session in link.sessions if link.router == self.name else ():
                await ask(self._socket, f"reload out {bird.protocol_of(session.peer)}")


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
