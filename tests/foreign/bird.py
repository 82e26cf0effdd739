"""BIRD as edge router and as the PoP's eBGP neighbours. It is queried with its command line client."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import NamedTuple

from app.config.inventory import Link, Pop, Router
from app.lab.daemons.commands import output
from app.lab.daemons.machine import Site
from app.lab.daemons.policy import HOLD_S, KEEPALIVE_S, own_by_version
from app.lab.daemons.runner import Probe, Program, Runner
from tests.foreign.host import tool

ORIGIN_ASN = 65010


class BirdPath(NamedTuple):
    """The best path of a prefix in BIRD's table."""

    protocol: str
    next_hop: str
    local_pref: int
    communities: frozenset[str]


async def start_edge(runner: Runner, site: Site, pop: Pop, router: Router, interface: str, core: str) -> None:
    """Start an edge with one external link, whose interface is `interface`; `core` leads to the other edge."""
    other = next(peer for peer in pop.router if peer is not router)
    (link,) = (link for link in pop.link if link.router == router.name)
    (session,) = link.sessions
    own = own_by_version(pop)
    config = _fill(
        "bird-edge.conf",
        name=router.name,
        asn=pop.asn,
        address=router.ibgp_address,
        bgp=site.ports.bgp,
        loopback4=router.loopback4,
        loopback6=router.loopback6,
        interface=interface,
        core=core,
        own4=_static(own[4]),
        own6=_static(own[6]),
        marker=pop.marker_community.replace(":", ", "),
        override_local_pref=pop.override_local_pref,
        maximum_prefix=router.maximum_prefix,
        injector=router.injector.address,
        other=other.name,
        other_address=other.ibgp_address,
        peer=session.peer,
        peer_asn=session.asn,
        local_pref=link.local_pref,
        hold_s=HOLD_S,
        keepalive_s=KEEPALIVE_S,
    )
    await start(runner, site, router.name, config)


async def start_neighbour(
    runner: Runner, site: Site, pop: Pop, link: Link, prefixes: Sequence[str], edges: Sequence[str]
) -> None:
    """Start the neighbour on this link. It announces `prefixes` to the `edges`, which are addresses."""
    (session,) = link.sessions
    next_hops = {ipaddress.ip_address(hop).version: hop for hop in session.next_hops}
    config = _fill(
        "bird-neighbour.conf",
        link=link.name,
        peer=session.peer,
        peer_asn=session.asn,
        origin_asn=ORIGIN_ASN,
        routes4=_static(prefix for prefix in prefixes if ":" not in prefix),
        routes6=_static(prefix for prefix in prefixes if ":" in prefix),
        next_hop4=next_hops[4],
        next_hop6=next_hops[6],
        hold_s=HOLD_S,
        keepalive_s=KEEPALIVE_S,
    )
    for edge in edges:
        config += f"protocol bgp from edge {{ neighbor {edge} port {site.ports.bgp} as {pop.asn}; }}\n"
    await start(runner, site, link.name, config)


def established(site: Site, name: str) -> Probe:
    """A probe: every BGP session of this BIRD is up."""

    async def probe() -> str | None:
        answer = await ask(site, name, "show protocols")
        down = [line.split()[0] for line in answer.splitlines() if " BGP " in line and "Established" not in line]
        return f"not established: {', '.join(down)}" if down else None

    return probe


async def best_path(site: Site, name: str, prefix: str) -> BirdPath:
    """The best path of a prefix, which must be there."""
    return parse_path(await ask(site, name, f"show route for {prefix} primary all"))


def parse_path(answer: str) -> BirdPath:
    """The path in the answer to `show route ... primary all`."""
    protocol = re.search(r"\[(\S+) ", answer)
    values = dict(re.findall(r"^\s+(?:BGP\.)?(\w+): ?(.*?)\s*$", answer, re.MULTILINE))
    assert protocol is not None, answer
    communities = re.findall(r"\((\d+),(\d+)\)", values.get("community", ""))
    return BirdPath(
        protocol[1],
        values["next_hop"].split()[0],  # IPv6 has a link-local one, too
        int(values["local_pref"]),
        frozenset(":".join(halves) for halves in communities),
    )


async def heard(site: Site, link: str) -> set[str]:
    """The prefixes that the neighbour on this link has from the PoP now."""
    answer = await ask(site, link, "show route where source = RTS_BGP")
    return set(re.findall(r"^([0-9a-f.:]+/\d+) ", answer, re.MULTILINE))


async def ask(site: Site, name: str, command: str) -> str:
    """The answer of this BIRD to a command."""
    return await output(tool("birdc"), "-s", str(socket_of(site, name)), command)


async def start(runner: Runner, site: Site, name: str, config: str) -> None:
    """Start a BIRD and wait until it takes commands."""
    path = site.write(f"bird-{name}.conf", config)
    socket = socket_of(site, name)
    argv = (tool("bird"), "-f", "-c", str(path), "-s", str(socket))

    async def answers() -> str | None:
        return None if socket.exists() else f"{socket} does not exist yet"

    # As root: the edge writes the kernel's table.
    await runner.start(Program(name=f"bird-{name}", argv=argv, keeps_user=True), answers)


def socket_of(site: Site, name: str) -> Path:
    """The control socket of the BIRD with this name."""
    return site.path(f"bird-{name}.ctl")


def _static(prefixes: Iterable[str]) -> str:
    return "\n".join(f"    route {prefix} unreachable;" for prefix in prefixes)


def _fill(template: str, **values: object) -> str:
    return Template((Path(__file__).parent / template).read_text(encoding="utf-8")).substitute(values)
