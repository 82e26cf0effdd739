"""Configuration of an edge router and of the gobgpd beside it, filled in from the inventory.

One template a platform, in app/routers/templates: Jinja2, as network engineers know it. deploy/routers shows the result
for the example of docs/operator/own-network.md.
"""

import ipaddress
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from app.bgp.speaker import IDLE_S, RESET_ABOVE
from app.config.inventory import Link, Pop, Router, Session

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
INJECTOR = "injector.toml"
# By platform: the name of its template, whose suffix the rendered file has as well.
PLATFORMS = {
    "frr": "frr.conf",
    "bird": "bird.conf",
    "eos": "eos.cfg",
    "junos": "junos.conf",
    "sros": "sros.cfg",
    "iosxr": "iosxr.cfg",
    "gobgp": "gobgp.toml",
}
FAMILIES = (4, 6)
OFFERED_PATHS = 16  # of a prefix, to the injector, where a platform wants a number; SR OS allows no more


class ExternalPeer(NamedTuple):
    """An eBGP neighbour of a router: its address, AS and link, and the IP versions that its session carries."""

    peer: str
    asn: int
    link: str
    families: tuple[int, ...]


class Collector(NamedTuple):
    """Where pmbmpd listens for BMP."""

    address: str
    port: int


def router_files(pop: Pop, platform: str, collector: Collector) -> dict[str, str]:
    """The text of each file by name: two for each router, its own and that of its gobgpd."""
    files = {}
    for router in pop.router:
        name = PLATFORMS[platform]
        files[f"{router.name}.{name}"] = router_config(pop, router, platform, collector)
        files[f"{router.name}.{INJECTOR}"] = injector_config(pop, router)
    return files


def router_config(pop: Pop, router: Router, platform: str, collector: Collector) -> str:
    """What to add to the configuration of one edge router of this platform."""
    return _render(PLATFORMS[platform], pop, router, collector=collector)


def injector_files(pop: Pop, any_address: bool) -> dict[str, str]:
    """The text of each file by name: the configuration of the gobgpd of each router."""
    return {f"{router.name}.{INJECTOR}": injector_config(pop, router, any_address) for router in pop.router}


def injector_config(pop: Pop, router: Router, any_address: bool = False) -> str:
    """The whole configuration of the gobgpd beside one edge router.

    With `any_address` it speaks from whichever address its host has, as in a container behind NAT.
    """
    router_id = _router_id(router.injector.address)
    return _render(INJECTOR, pop, router, router_id=router_id, local=not any_address)


def neighbours(pop: Pop, router: Router) -> list[ExternalPeer]:
    """The eBGP neighbours of a router, as the inventory has them."""
    return [
        ExternalPeer(session.peer, session.asn, link.name, _families(link, session))
        for link in pop.link
        if link.router == router.name
        for session in link.sessions
    ]


def families_of(pop: Pop, router: Router) -> tuple[int, ...]:
    """The IP versions in which this router has eBGP neighbours, and so may get overrides."""
    return tuple(
        family for family in FAMILIES if any(family in neighbour.families for neighbour in neighbours(pop, router))
    )


def own_prefixes(pop: Pop, family: int) -> list[str]:
    """The PoP's own prefixes of one IP version; may be empty."""
    return [prefix for prefix in pop.own_prefixes if ipaddress.ip_network(prefix).version == family]


def _families(link: Link, session: Session) -> tuple[int, ...]:
    """The versions of its next hops. Sessions of one link may share them, and then only one of them names any."""
    hops = session.next_hops or tuple(hop for other in link.sessions for hop in other.next_hops)
    versions = {ipaddress.ip_address(hop).version for hop in hops}
    version = ipaddress.ip_address(session.peer).version
    return tuple(sorted(versions if session.next_hops else versions & {version} or versions))


def _router_id(address: str) -> str:
    """The address itself; of an IPv6 address the last 32 bits, since a router id has no more (RFC 6286)."""
    return str(ipaddress.IPv4Address(int(ipaddress.ip_address(address)) & (2**32 - 1) or 1))


def _render(template: str, pop: Pop, router: Router, **values: Any) -> str:
    own = {family: own_prefixes(pop, family) for family in FAMILIES}
    marker_asn, marker = pop.marker_community.split(":")
    return _environment().get_template(template).render(
        pop=pop,
        router=router,
        injector=router.injector.address,
        marker=pop.marker_community,
        marker_asn=marker_asn,
        marker_number=marker,
        local_pref=pop.override_local_pref,
        maximum_prefix=router.maximum_prefix,
        paths=OFFERED_PATHS,
        own=own,
        reset_above=RESET_ABOVE,
        idle_s=IDLE_S,
        families=families_of(pop, router),
        neighbours=neighbours(pop, router),
        **values,
    )  # fmt: skip


@cache
def _environment() -> "jinja2.Environment":
    import jinja2  # slow to import, and the command line has every platform's name without it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,  # a name without a value is an error, not a gap in a policy
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["quoted"] = _quoted
    environment.filters["length_of"] = lambda prefix: ipaddress.ip_network(prefix).prefixlen
    environment.filters["family_of"] = lambda address: ipaddress.ip_address(address).version
    return environment


def _quoted(values: Iterable[object]) -> str:
    return ", ".join(f'"{value}"' for value in values)
