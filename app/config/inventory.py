"""What a PoP is: routers, links, sessions, budgets. One TOML file per PoP; unknown keys are errors."""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec

from app.config.toml import convert, read_toml
from app.errors import ConfigError

Kind = Literal["pni", "ixp", "transit"]
UINT16_MAX, UINT32_MAX = 2**16 - 1, 2**32 - 1


class Budgets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Autopilot may do at most in this PoP (facts: never overridable by a decision)."""

    max_overrides: int = 200
    max_moved_share: float = 0.30
    max_new_per_cycle: int = 100
    min_prefix_length4: int = 8
    max_prefix_length4: int = 24
    min_prefix_length6: int = 19
    max_prefix_length6: int = 48


class Injector(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gobgpd beside one router: its BGP address as that router sees it, and where its gRPC listens."""

    address: str
    grpc: str


class Router(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An edge router. `core` maps the neighbouring router's name to our ifIndex towards it."""

    name: str
    agent_address: str
    loopback4: str
    loopback6: str
    bmp_sysname: str
    injector: Injector
    ibgp_address: str
    internal_ifindexes: tuple[int, ...]
    core: dict[str, int] = {}
    igp_cost: dict[str, int] = {}
    exports_learned_routes: bool = False
    maximum_prefix: int = 300


class Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An eBGP session on a link: the peer's address in BMP and the next hops it may announce."""

    peer: str
    next_hops: tuple[str, ...]
    asn: int
    cap_bps: float | None = None


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An egress link: a LAG or a single port, with all ifIndexes under which it is reported.

    `local_pref` is what the router's import policy sets: FRR 8.4 leaves it out of the BMP records of eBGP paths.
    """

    name: str
    router: str
    kind: Kind
    ifindexes: tuple[int, ...]
    sessions: tuple[Session, ...]
    cost: float
    capacity_bps: float
    local_pref: int = 100
    urpf: Literal["none", "loose", "strict"] = "none"
    drain: bool = False


class Pop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """One PoP. Its routers sample each packet once, as it leaves by an external link."""

    name: str
    asn: int
    own_prefixes: tuple[str, ...]
    router: tuple[Router, ...]
    link: tuple[Link, ...]
    marker: int = 911
    marker_asn: int | None = None  # with a 4-byte AS, which has no room in a community
    override_local_pref: int = 1000
    budgets: Budgets = Budgets()
    pinned_prefixes: tuple[str, ...] = ()

    def link_id(self, link: Link) -> str:
        """`pop/router/name`, the id in every record."""
        return f"{self.name}/{link.router}/{link.name}"

    @property
    def marker_community(self) -> str:
        """The community on every route of ours, denied on every eBGP export policy."""
        return f"{self.asn if self.marker_asn is None else self.marker_asn}:{self.marker}"

    @cached_property
    def routers(self) -> dict[str, Router]:
        return {router.name: router for router in self.router}

    @cached_property
    def links(self) -> dict[str, Link]:
        return {self.link_id(link): link for link in self.link}

    @cached_property
    def link_by_interface(self) -> dict[tuple[str, int], str]:
        """(router, ifIndex) -> link id."""
        return {(link.router, index): self.link_id(link) for link in self.link for index in link.ifindexes}

    @cached_property
    def link_by_next_hop(self) -> dict[tuple[str, str], str]:
        """(router, next hop) -> link id: where a router sends what it routes to that next hop."""
        return {
            (link.router, hop): self.link_id(link) for link, session in self._sessions() for hop in session.next_hops
        }

    @cached_property
    def link_by_session(self) -> dict[tuple[str, str], str]:
        """(router, peer address) -> link id."""
        return {(link.router, session.peer): self.link_id(link) for link, session in self._sessions()}

    @cached_property
    def router_by_agent(self) -> dict[str, str]:
        """sFlow agent address -> router name."""
        return {router.agent_address: router.name for router in self.router}

    @cached_property
    def router_by_loopback(self) -> dict[str, str]:
        return {loopback: router.name for router in self.router for loopback in (router.loopback4, router.loopback6)}

    @cached_property
    def ingress_by_interface(self) -> dict[tuple[str, int], str]:
        """(router, ifIndex of input) -> the router where the packet entered the PoP's edge."""
        inside = {(router.name, index): router.name for router in self.router for index in router.internal_ifindexes}
        return inside | {(router.name, index): other for router in self.router for other, index in router.core.items()}

    def session(self, router: str, peer: str) -> Session | None:
        """The eBGP session of `router` with `peer`, or None (an iBGP peer or injector)."""
        return next((s for link, s in self._sessions() if (link.router, s.peer) == (router, peer)), None)

    def _sessions(self) -> Iterator[tuple[Link, Session]]:
        return ((link, session) for link in self.link for session in link.sessions)


def load_pop(path: Path) -> Pop:
    """Read and check one PoP file; ConfigError lists every mistake in it."""
    problems: list[str] = []
    pop = convert(read_toml(path), Pop, path.name, problems)
    if pop is not None:
        problems.extend(f"{path.name}: {problem}" for problem in check_pop(pop))
    if problems or pop is None:
        raise ConfigError(problems)
    return pop


def check_pop(pop: Pop) -> list[str]:
    """Mistakes between the parts of a PoP; empty when it is coherent."""
    problems = [*_duplicates(pop), *_references(pop), *_addresses(pop), *_marking(pop), *_budgets(pop), *_numbers(pop)]
    if len(pop.router) < 1 or not pop.link:
        problems.append("needs at least one router and one link")
    return problems


def _duplicates(pop: Pop) -> Iterator[str]:
    named = {
        "router name": [router.name for router in pop.router],
        "agent_address": [router.agent_address for router in pop.router],
        "bmp_sysname": [router.bmp_sysname for router in pop.router],
        "injector grpc": [router.injector.grpc for router in pop.router],
        "link": [f"{link.router}/{link.name}" for link in pop.link],
        "interface": [f"{link.router}/{index}" for link in pop.link for index in link.ifindexes],
        "session": [f"{link.router}/{session.peer}" for link, session in pop._sessions()],
        "next hop": [f"{link.router}/{hop}" for link, session in pop._sessions() for hop in session.next_hops],
    }
    for what, values in named.items():
        yield from (f"{what} {value} is given twice" for value, count in Counter(values).items() if count > 1)


def _references(pop: Pop) -> Iterator[str]:
    for link in pop.link:
        if link.router not in pop.routers:
            yield f"link {link.name}: router {link.router} does not exist; known: {', '.join(pop.routers)}"
        if not link.sessions:
            yield f"link {link.name} of {link.router}: needs at least one session"
        if not link.ifindexes:
            yield f"link {link.name} of {link.router}: needs at least one ifIndex"
    for router in pop.router:
        for other in (*router.core, *router.igp_cost):
            if other not in pop.routers or other == router.name:
                yield f"router {router.name}: {other} is no other router of this PoP"


def _addresses(pop: Pop) -> Iterator[str]:
    addresses = [
        (f"router {router.name}", address)
        for router in pop.router
        for address in (
            router.agent_address,
            router.loopback4,
            router.loopback6,
            router.injector.address,
            router.ibgp_address,
        )
    ]
    addresses += [
        (f"session {session.peer}", address)
        for _, session in pop._sessions()
        for address in (session.peer, *session.next_hops)
    ]
    for what, address in addresses:
        if not _valid(address, ipaddress.ip_address):
            yield f"{what}: {address!r} is not an IP address"
    for router in pop.router:
        for loopback in (router.loopback4, router.loopback6):
            if _valid(loopback, ipaddress.ip_address) and ipaddress.ip_address(loopback).is_loopback:
                yield f"router {router.name}: loopback {loopback} is 127/8 or ::1, which no router takes as a next hop"
    for prefix in (*pop.own_prefixes, *pop.pinned_prefixes):
        if not _valid(prefix, _canonical):
            yield f"prefix {prefix!r} is not a network in canonical form"


def _marking(pop: Pop) -> Iterator[str]:
    """A route of ours must be told from others by its marker, and win against them by its local-pref."""
    if not 0 < pop.asn <= UINT32_MAX:
        yield f"asn must be 1 to {UINT32_MAX}"
    high, low = (int(half) for half in pop.marker_community.split(":"))
    if not (0 < high < UINT16_MAX and 0 <= low <= UINT16_MAX):  # 0 and 65535 are reserved for well-known communities
        yield (
            f"marker community {pop.marker_community}: both halves have 16 bits: give a marker_asn of 1 to"
            f" {UINT16_MAX - 1} and a marker of 0 to {UINT16_MAX}"
        )
    highest = max((link.local_pref for link in pop.link), default=0)
    if pop.override_local_pref <= highest:
        yield f"override_local_pref must be above the local_pref of every link, the highest is {highest}"
    if pop.override_local_pref > UINT32_MAX:
        yield f"override_local_pref must be at most {UINT32_MAX}"


def _budgets(pop: Pop) -> Iterator[str]:
    budgets = pop.budgets
    if budgets.max_overrides < 0 or budgets.max_new_per_cycle < 0:
        yield "budgets.max_overrides and max_new_per_cycle must not be negative"
    if not 0 <= budgets.max_moved_share <= 1:
        yield "budgets.max_moved_share must lie between 0 and 1"
    if not 0 <= budgets.min_prefix_length4 <= budgets.max_prefix_length4 <= 32:
        yield "budgets: IPv4 prefix lengths must be in order and within 0 to 32"
    if not 0 <= budgets.min_prefix_length6 <= budgets.max_prefix_length6 <= 128:
        yield "budgets: IPv6 prefix lengths must be in order and within 0 to 128"


def _numbers(pop: Pop) -> Iterator[str]:
    """Written so that nan, which TOML has, is a mistake too."""
    for link in pop.link:
        if not link.capacity_bps > 0:
            yield f"link {link.name} of {link.router}: capacity_bps must be above 0"
        if not link.cost >= 0:
            yield f"link {link.name} of {link.router}: cost must not be negative"
    for link, session in pop._sessions():
        if session.cap_bps is not None and not session.cap_bps >= 0:
            yield f"session {session.peer} of {link.router}: cap_bps must not be negative"
    for router in pop.router:
        if router.maximum_prefix <= 0:
            yield f"router {router.name}: maximum_prefix must be above 0"


def _canonical(prefix: str) -> None:
    """ValueError unless a prefix is written in the one form that the guards read."""
    if "%" in prefix or str(ipaddress.ip_network(prefix)) != prefix:
        raise ValueError(prefix)


def _valid(text: str, parse: Callable[[str], object]) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True
