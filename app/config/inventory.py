"""What a PoP is: routers, links, sessions, budgets. One TOML file per PoP; unknown keys are errors."""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Literal

import msgspec

from app.config.interfaces import numbered
from app.config.toml import convert, read_toml
from app.errors import ConfigError

Kind = Literal["pni", "ixp", "transit"]
OVERRIDES_MAX = 2000  # 450 bytes each: a decision of as many has 0.9 MB
UINT16_MAX, UINT32_MAX = 2**16 - 1, 2**32 - 1


class Budgets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits on what Autopilot may do in this PoP; no decision can exceed them."""

    max_overrides: int = 200
    """Overrides of this PoP at the same time, 2,000 at most. Change: begin with 20, raise it as you learn to trust
    it.
    """
    max_moved_share: float = 0.30
    """Share of the PoP's traffic that may be moved at the same time, 0 to 1. Change: begin with 0.05."""
    max_new_per_cycle: int = 100
    """Overrides that one decision may add or change. Change: lower it where routers take updates slowly."""
    min_prefix_length4: int = 8
    """Bits. Shorter IPv4 prefixes are never moved. Change: rarely."""
    max_prefix_length4: int = 24
    """Bits. Longer IPv4 prefixes are never moved. Change: rarely; others filter longer ones, too."""
    min_prefix_length6: int = 19
    """Bits. Shorter IPv6 prefixes are never moved. Change: rarely."""
    max_prefix_length6: int = 48
    """Bits. Longer IPv6 prefixes are never moved. Change: rarely."""


class Injector(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gobgpd beside one router: its BGP address as that router sees it, and where its gRPC listens."""

    address: str
    """IP address of the gobgpd, as its router sees the neighbour. The BMP records of our own routes come from it."""
    grpc: str
    """Where its gRPC listens: `HOST:PORT` or `unix:///PATH`. Only one actuator may write there."""


class Router(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An edge router. `core` maps a neighbouring router's name to this router's ifIndex towards it."""

    name: str
    """Name of the router, unique in the PoP. Records and links use it."""
    agent_address: str
    """IP address that its sFlow samples carry as the exporter (`peer_ip_src`)."""
    loopback4: str
    """IPv4 address that other routers of the PoP use as next hop towards it; not 127/8."""
    loopback6: str
    """IPv6 address, as `loopback4`; not ::1."""
    bmp_sysname: str
    """sysName in its BMP initiation message."""
    injector: Injector
    """Table. The gobgpd beside this router."""
    ibgp_address: str
    """IP address of its iBGP sessions."""
    internal_ifindexes: tuple[int, ...]
    """ifIndexes (or names of `interfaces`) towards the inside of the PoP. Only traffic that enters there may be moved.
    """
    core: dict[str, int] = {}
    """Table: router name = this router's ifIndex towards it, or a name of `interfaces`. Change: needed with more than
    one edge router.
    """
    interfaces: dict[str, int] = {}
    """Table: interface name = its ifIndex on this router. All other keys may then use the name instead of the number.
    Change: useful where a router numbers its interfaces again after a restart.
    """
    igp_cost: dict[str, int] = {}
    """Table: router name = IGP cost of the path to it. Change: needed with more than one edge router; it breaks ties
    as BGP does.
    """
    exports_learned_routes: bool = False
    """true if this router announces learned routes to eBGP neighbours (a fabric, transit customers). An override
    would make them lose the prefix, so moves through it are refused. Change: set it if your export policy has
    more than your own prefixes.
    """
    agent_sources: tuple[str, ...] = ()
    """IP addresses that its sFlow datagrams come from; `agent_address` by default. `autopilot render collectors` makes
    sfacctd's allow list of them. Change: if the router sends from another address, or through a proxy.
    """
    sampling_rates: tuple[int, ...] = ()
    """Its sFlow sampling rates: N for 1 in N packets. Samples with another rate are not counted, which keeps forged
    ones out. Without a list, a rate is refused that is far above those that are usual on its link. Change: as
    configured on the router, all rates of all ports; before you change the router, add the new rate.
    """
    maximum_prefix: int = 300
    """Prefixes that the router accepts from its injector before it drops the session. We stay below 80 % of it.
    Change: as in the router's configuration.
    """
    bmp_address: str | None = None
    """IP address from which its BMP session comes, as the collector sees it. A session that says `bmp_sysname` counts
    only if it comes from there or from another address given here (`ibgp_address`, `agent_address`, a loopback).
    Change: needed if the router sends BMP from none of those, for example from its management port.
    """
    bmp_silence_s: float = 30.0
    """Seconds. After so long without any BMP record the router is doubtful: no move leads to it, and moves that leave
    by it end. Change: at least twice the interval of its BMP statistics reports, which should be 10 s (15 s where
    a router cannot send them more often).
    """

    @property
    def bmp_addresses(self) -> tuple[str, ...]:
        """Every address that its BMP session may come from."""
        own = (self.ibgp_address, self.agent_address, self.loopback4, self.loopback6)
        return own if self.bmp_address is None else (self.bmp_address, *own)


class Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An eBGP session on a link: the peer's address in BMP and the next hops it may announce."""

    peer: str
    """IP address of the neighbour, as BMP reports it."""
    next_hops: tuple[str, ...]
    """IP addresses that this neighbour may announce as next hop, IPv4 and IPv6."""
    asn: int
    """AS number of the neighbour."""
    cap_bps: float | None = None
    """Bits per second. Our moves bring at most this much to the session, whatever the link could take. Change: set
    it if a peering agreement or a port behind an exchange has a limit.
    """


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An egress link: a LAG or a single port, with all ifIndexes under which it is reported. Each byte counts once.

    `local_pref` is what the router's import policy sets: FRR 8.4 leaves it out of the BMP records of eBGP paths.
    """

    name: str
    """Name of the link at its router, such as the interface."""
    router: str
    """Name of its router."""
    kind: Kind
    """`pni` (private peering), `ixp` or `transit`."""
    ifindexes: tuple[int, ...]
    """ifIndexes (or names of `interfaces`) under which it is reported: that of the port or of the LAG. The members of a
    LAG may stand here, too: which is which then follows from their types, speeds and octets.
    """
    sessions: tuple[Session, ...]
    """List of tables: the eBGP sessions on this link."""
    cost: float
    """Any unit, the same for all links. Among links with room the cheapest is filled first."""
    capacity_bps: float | Literal["auto"]
    """Bits per second that the link carries, or `auto` for what its ports report (ifSpeed). A number counts also where
    the ports are faster, and gives way while those that are up add up to less.
    """
    local_pref: int = 100
    """What the import policy of the router sets on routes of this link. FRR 8.4 leaves it out of the BMP records of
    eBGP paths, so it must be given. Change: as in the router's policy.
    """
    urpf: Literal["none", "loose", "strict"] = "none"
    """`none`, `loose` or `strict`: the check of source addresses on packets that come in here. A strict one drops
    what returns by this link once its prefix is routed elsewhere, so such prefixes are not moved. Change: as
    configured on the interface.
    """
    drain: bool = False
    """true excludes the link as a target: nothing is moved to it. Change: before maintenance."""
    members: tuple[int, ...] = ()
    """ifIndexes (or names of `interfaces`) of a LAG's members; `ifindexes` then are those of the LAG itself. Change:
    needed where types and speeds do not say which port is the LAG.
    """

    @property
    def ports(self) -> tuple[int, ...]:
        """Every ifIndex under which the link or a member of it is reported."""
        return self.ifindexes + self.members

    @property
    def configured_bps(self) -> float | None:
        """The capacity in bits per second; None if the counters say it."""
        return None if self.capacity_bps == "auto" else self.capacity_bps


class Pop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """One PoP. Its routers sample each packet once, as it leaves by an external link."""

    name: str
    """Name of the PoP; part of topic names and ids: letters, digits, dots, dashes."""
    asn: int
    """Our AS number."""
    own_prefixes: tuple[str, ...]
    """Our own prefixes, in canonical form. They are never moved, and only they may be announced to eBGP
    neighbours.
    """
    router: tuple[Router, ...]
    """List of tables: the edge routers."""
    link: tuple[Link, ...]
    """List of tables: the egress links."""
    marker: int = 911
    """Second half of the community `ASN:marker` on each of our routes. Change: if 911 has another meaning in your
    network.
    """
    marker_asn: int | None = None
    """First half of that community, 16 bits; `asn` by default. Change: needed with a 4-byte AS number."""
    override_local_pref: int = 1000
    """local_pref of our routes; must be above that of every link. Change: if your policy uses 1000 or more."""
    budgets: Budgets = Budgets()
    """Table. Limits on what may be done."""
    pinned_prefixes: tuple[str, ...] = ()
    """Prefixes that are never moved, in canonical form, nor is any prefix inside them. Change: for whatever must not
    be touched.
    """

    def link_id(self, link: Link) -> str:
        """`pop/router/name`, the id in every record."""
        return f"{self.name}/{link.router}/{link.name}"

    @property
    def marker_community(self) -> str:
        """The community on each of our routes, which every eBGP export policy must deny."""
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
        return {(link.router, index): self.link_id(link) for link in self.link for index in link.ports}

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
    def asn_by_session(self) -> dict[tuple[str, str], int]:
        """(router, peer address) -> AS number of the neighbour."""
        return {(link.router, session.peer): session.asn for link, session in self._sessions()}

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
        core = {(router.name, index): neighbour for router in self.router for neighbour, index in router.core.items()}
        return inside | core

    def session(self, router: str, peer: str) -> Session | None:
        """The eBGP session of `router` with `peer`, or None (an iBGP peer or injector)."""
        sessions = (session for link, session in self._sessions() if (link.router, session.peer) == (router, peer))
        return next(sessions, None)

    def _sessions(self) -> Iterator[tuple[Link, Session]]:
        return ((link, session) for link in self.link for session in link.sessions)


def load_pop(path: Path) -> Pop:
    """Read and check one PoP file; ConfigError lists every mistake in it."""
    problems: list[str] = []
    pop = convert(numbered(read_toml(path), path.name, problems), Pop, path.name, problems)
    if pop is not None:
        problems.extend(f"{path.name}: {problem}" for problem in check_pop(pop))
    if problems or pop is None:
        raise ConfigError(problems)
    return pop


def check_pop(pop: Pop) -> list[str]:
    """List the contradictions between the parts of a PoP; empty if it is consistent."""
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
        "interface": [f"{link.router}/{index}" for link in pop.link for index in link.ports],
        "session": [f"{link.router}/{session.peer}" for link, session in pop._sessions()],
        "next hop": [f"{link.router}/{hop}" for link, session in pop._sessions() for hop in session.next_hops],
    }
    for field, values in named.items():
        yield from (f"{field} {value} is given twice" for value, count in Counter(values).items() if count > 1)


def _references(pop: Pop) -> Iterator[str]:
    for link in pop.link:
        if link.router not in pop.routers:
            yield f"link {link.name}: router {link.router} does not exist; known: {', '.join(pop.routers)}"
        if not link.sessions:
            yield f"link {link.name} of {link.router}: needs at least one session"
        if not link.ifindexes:
            yield f"link {link.name} of {link.router}: needs at least one ifIndex"
    for router in pop.router:
        for neighbour in (*router.core, *router.igp_cost):
            if neighbour not in pop.routers or neighbour == router.name:
                yield f"router {router.name}: {neighbour} is not another router of this PoP"


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
            *router.agent_sources,
            *((router.bmp_address,) if router.bmp_address is not None else ()),
        )
    ]
    addresses += [
        (f"session {session.peer}", address)
        for _, session in pop._sessions()
        for address in (session.peer, *session.next_hops)
    ]
    for owner, address in addresses:
        if not _valid(address, ipaddress.ip_address):
            yield f"{owner}: {address!r} is not an IP address"
    for router in pop.router:
        for loopback in (router.loopback4, router.loopback6):
            if _valid(loopback, ipaddress.ip_address) and ipaddress.ip_address(loopback).is_loopback:
                yield f"router {router.name}: loopback {loopback} is 127/8 or ::1: no router accepts that as a next hop"
    for prefix in (*pop.own_prefixes, *pop.pinned_prefixes):
        if not _valid(prefix, _canonical):
            yield f"prefix {prefix!r} is not a network in canonical form"


def _marking(pop: Pop) -> Iterator[str]:
    """Mistakes in what makes our routes recognisable (the marker) and preferred (the local-pref)."""
    if not 0 < pop.asn <= UINT32_MAX:
        yield f"asn must be 1 to {UINT32_MAX}"
    high, low = (int(half) for half in pop.marker_community.split(":"))
    if not (0 < high < UINT16_MAX and 0 <= low <= UINT16_MAX):  # 0 and 65535 are reserved for well-known communities
        yield (
            f"marker community {pop.marker_community}: both halves have 16 bits; set marker_asn"
            f" (1 to {UINT16_MAX - 1}) and marker (0 to {UINT16_MAX})"
        )
    highest = max((link.local_pref for link in pop.link), default=0)
    if pop.override_local_pref <= highest:
        yield f"override_local_pref must be above the local_pref of every link; the highest is {highest}"
    if pop.override_local_pref > UINT32_MAX:
        yield f"override_local_pref must be at most {UINT32_MAX}"


def _budgets(pop: Pop) -> Iterator[str]:
    budgets = pop.budgets
    if budgets.max_overrides < 0 or budgets.max_new_per_cycle < 0:
        yield "budgets.max_overrides and max_new_per_cycle must not be negative"
    if budgets.max_overrides > OVERRIDES_MAX:
        yield f"budgets.max_overrides must be at most {OVERRIDES_MAX}: a decision must fit into one Kafka record"
    if not 0 <= budgets.max_moved_share <= 1:
        yield "budgets.max_moved_share must lie between 0 and 1"
    if not 0 <= budgets.min_prefix_length4 <= budgets.max_prefix_length4 <= 32:
        yield "budgets: IPv4 prefix lengths must be in order and within 0 to 32"
    if not 0 <= budgets.min_prefix_length6 <= budgets.max_prefix_length6 <= 128:
        yield "budgets: IPv6 prefix lengths must be in order and within 0 to 128"


def _numbers(pop: Pop) -> Iterator[str]:
    """Numbers out of range. The conditions are written so that nan, which TOML allows, is a mistake, too."""
    for link in pop.link:
        if link.configured_bps is not None and not 0 < link.configured_bps < inf:
            yield f"link {link.name} of {link.router}: capacity_bps must be above 0"
        if not link.cost >= 0:
            yield f"link {link.name} of {link.router}: cost must not be negative"
    for link, session in pop._sessions():
        if session.cap_bps is not None and not session.cap_bps >= 0:
            yield f"session {session.peer} of {link.router}: cap_bps must not be negative"
    for router in pop.router:
        if router.maximum_prefix <= 0:
            yield f"router {router.name}: maximum_prefix must be above 0"
        if wrong := [rate for rate in router.sampling_rates if not 0 < rate <= UINT32_MAX]:
            yield f"router {router.name}: sampling_rates must be 1 to {UINT32_MAX}, not {', '.join(map(str, wrong))}"
        if not 10 <= router.bmp_silence_s <= 600:
            yield f"router {router.name}: bmp_silence_s must be 10 to 600"


def _canonical(prefix: str) -> None:
    """Raise ValueError unless a prefix is in canonical form, the only form that the guards read."""
    if "%" in prefix or str(ipaddress.ip_network(prefix)) != prefix:
        raise ValueError(prefix)


def _valid(text: str, parse: Callable[[str], object]) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True
