"""What a PoP is: routers, links, sessions, budgets. One TOML file per PoP; unknown keys are errors.

Addresses are kept as pmacct prints them (RFC 5952), whatever their spelling in the file.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec

from app.config import forms
from app.config.interfaces import numbered
from app.config.inventory_rules import rules
from app.config.toml import Problem, build, parse, parse_again, read_toml
from app.errors import ConfigError

Kind = Literal["pni", "ixp", "transit"]


class Budgets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits on what Autopilot may do in this PoP; no decision can exceed them."""

    max_overrides: forms.Overrides = 200
    """Overrides of this PoP at the same time, 10,000 at most. Change: begin with 20, raise it as you learn to trust
    it.
    """
    max_moved_share: forms.Share = 0.30
    """Share of the PoP's traffic that may be moved at the same time, 0 to 1. Change: begin with 0.05."""
    max_new_per_cycle: forms.Uint32 = 100
    """Overrides that one decision may add or change. Change: lower it where routers take updates slowly."""
    min_prefix_length4: forms.Length4 = 8
    """Bits. Shorter IPv4 prefixes are never moved. Change: rarely."""
    max_prefix_length4: forms.Length4 = 24
    """Bits. Longer IPv4 prefixes are never moved. Change: rarely; others filter longer ones, too."""
    min_prefix_length6: forms.Length6 = 19
    """Bits. Shorter IPv6 prefixes are never moved. Change: rarely."""
    max_prefix_length6: forms.Length6 = 48
    """Bits. Longer IPv6 prefixes are never moved. Change: rarely."""


class Injector(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gobgpd beside one router: its BGP address as that router sees it, and where its gRPC listens."""

    address: forms.Address
    """IP address of the gobgpd, as its router sees the neighbour. The BMP records of our own routes come from it."""
    grpc: forms.Grpc
    """Where its gRPC listens: `HOST:PORT` or `unix:///PATH`. Only one actuator may write there."""


class Router(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An edge router. `core` maps a neighbouring router's name to this router's ifIndexes towards it."""

    name: forms.Name
    """Name of the router, unique in the PoP. Records and links use it."""
    agent_address: forms.Address
    """IP address that its sFlow samples carry as the exporter (`peer_ip_src`)."""
    loopback4: forms.Loopback4 | None = None
    """IPv4 address that other routers of the PoP use as next hop towards it; not 127/8. Change: needed if a session of
    the router has IPv4 next hops and the PoP more than one router; at least one of the two loopbacks is.
    """
    loopback6: forms.Loopback6 | None = None
    """IPv6 address, as `loopback4`; not ::1. Change: as `loopback4`, for IPv6 next hops."""
    bmp_sysname: forms.Text
    """sysName in its BMP initiation message."""
    injector: Injector
    """Table. The gobgpd beside this router."""
    ibgp_address: forms.Address
    """IP address of its iBGP sessions."""
    internal_ifindexes: tuple[forms.IfIndex, ...]
    """ifIndexes (or names of `interfaces`) towards the inside of the PoP. Only traffic that enters there may be moved.
    """
    core: dict[str, forms.IfIndexes] = {}
    """Table: router name = this router's ifIndex towards it, or a name of `interfaces`, or a list of several (parallel
    ports, or the members of a LAG beside it). Change: needed with more than one edge router, on both ends.
    """
    interfaces: dict[str, forms.IfIndex] = {}
    """Table: interface name = its ifIndex on this router, such as `{ ae1 = 501, "xe-0/0/1.100" = 502 }`; a name with a
    slash or a dot needs quotes. All other keys may then use the name instead of the number. Change: useful where a
    router numbers its interfaces again after a restart.
    """
    igp_cost: dict[str, forms.Uint32] = {}
    """Table: router name = IGP cost of the path to it. Change: needed with more than one edge router; it breaks ties
    as BGP does.
    """
    exports_learned_routes: bool = False
    """true if this router announces learned routes to eBGP neighbours (a fabric, transit customers). An override
    would make them lose the prefix, so moves through it are refused. Change: set it if your export policy has
    more than your own prefixes.
    """
    agent_sources: tuple[forms.Address, ...] = ()
    """IP addresses that its sFlow datagrams come from; `agent_address` by default. `autopilot render collectors` makes
    sfacctd's allow list of them. Change: if the router sends from another address, or through a proxy.
    """
    sampling_rates: tuple[forms.AtLeastOne, ...] = ()
    """Its sFlow sampling rates: N for 1 in N packets. Samples with another rate are not counted, which keeps forged
    ones out. Without a list, a rate is refused that is far above those that are usual on its link. Change: as
    configured on the router, all rates of all ports; before you change the router, add the new rate.
    """
    maximum_prefix: forms.AtLeastOne = 300
    """Prefixes that the router accepts from its injector before it drops the session. We stay below 80 % of it.
    Change: as in the router's configuration.
    """
    bmp_address: forms.Address | None = None
    """IP address from which its BMP session comes, as the collector sees it. A session that says `bmp_sysname` counts
    only if it comes from there or from another address given here (`ibgp_address`, `agent_address`, a loopback).
    Change: needed if the router sends BMP from none of those, for example from its management port.
    """
    bmp_silence_s: forms.BmpSilence = 30.0
    """Seconds, 10 to 600. After so long without any BMP record the router is doubtful: no move leads to it, and moves
    that leave by it end. Change: at least twice the interval of its BMP statistics reports, which should be 10 s
    (15 s where a router cannot send them more often).
    """

    @property
    def bmp_addresses(self) -> tuple[str, ...]:
        """Every address that its BMP session may come from."""
        own = (self.bmp_address, self.ibgp_address, self.agent_address, *self.loopbacks)
        return tuple(address for address in own if address is not None)

    @property
    def loopbacks(self) -> tuple[str, ...]:
        """The loopbacks that it has, IPv4 first."""
        return tuple(address for address in (self.loopback4, self.loopback6) if address is not None)

    def loopback(self, prefix: str) -> str:
        """The address that other routers use as next hop towards it for this prefix; ValueError if it has none."""
        loopback = self.loopback6 if ":" in prefix else self.loopback4
        if loopback is None:
            raise ValueError(f"router {self.name} has no loopback of the family of {prefix}")
        return loopback


class Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An eBGP session on a link: the peer's address in BMP and the next hops it may announce."""

    peer: forms.Address
    """IP address of the neighbour, as BMP reports it."""
    next_hops: tuple[forms.NextHop, ...]
    """IP addresses that this neighbour may announce as next hop, IPv4 and IPv6, one by one: a prefix is not taken, and
    what comes with another next hop, such as that of a member behind a route server, is never a target. Sessions of
    one link may share some, as those with the route servers of an exchange do. Only where another session of the
    link names them may the list be empty.
    """
    asn: forms.Asn
    """AS number of the neighbour."""
    cap_bps: forms.CapBps | None = None
    """Bits per second, not above the link's `capacity_bps`. Our moves bring at most this much to the session. Change:
    set it if a peering agreement or a port behind an exchange has a limit.
    """


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An egress link: a LAG or a single port, with all ifIndexes under which it is reported. Each byte counts once.

    `local_pref` is what the router's import policy sets: FRR 8.4 leaves it out of the BMP records of eBGP paths.
    """

    name: forms.Text
    """Name of the link at its router, such as the interface."""
    router: str
    """Name of its router."""
    kind: Kind
    """`pni` (private peering), `ixp` or `transit`."""
    ifindexes: tuple[forms.IfIndex, ...]
    """ifIndexes (or names of `interfaces`) under which it is reported: that of the port or of the LAG. The members of a
    LAG may stand here, too: which is which then follows from their types, speeds and octets.
    """
    sessions: tuple[Session, ...]
    """List of tables: the eBGP sessions on this link."""
    cost: forms.Cost
    """Any unit, the same for all links. Among links with room the cheapest is filled first."""
    capacity_bps: forms.CapacityBps | Literal["auto"]
    """Bits per second that the link carries, 1e6 to 1e14, or `auto` for what its ports report (ifSpeed). A number
    counts also where the ports are faster, and gives way while those that are up add up to less.
    """
    local_pref: forms.Uint32 = 100
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
    members: tuple[forms.IfIndex, ...] = ()
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

    name: forms.TopicName
    """Name of the PoP; part of topic names and ids: letters, digits, dots, dashes, underscores."""
    asn: forms.Asn
    """Our AS number."""
    own_prefixes: tuple[forms.OwnPrefix, ...]
    """Our own prefixes, in canonical form. They are never moved, and only they may be announced to eBGP
    neighbours.
    """
    router: tuple[Router, ...]
    """List of tables: the edge routers."""
    link: tuple[Link, ...]
    """List of tables: the egress links."""
    marker: forms.Uint16 = 911
    """Second half of the community `ASN:marker` on each of our routes. Change: if 911 has another meaning in your
    network.
    """
    marker_asn: forms.MarkerAsn | None = None
    """First half of that community, 16 bits; `asn` by default. Change: needed with a 4-byte AS number."""
    override_local_pref: forms.Uint32 = 1000
    """local_pref of our routes; must be above that of every link. Change: if your policy uses 1000 or more."""
    budgets: Budgets = Budgets()
    """Table. Limits on what may be done."""
    pinned_prefixes: tuple[forms.Prefix, ...] = ()
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
        return {loopback: router.name for router in self.router for loopback in router.loopbacks}

    @cached_property
    def ingress_by_interface(self) -> dict[tuple[str, int], str]:
        """(router, ifIndex of input) -> the router where the packet entered the PoP's edge."""
        inside = {(router.name, index): router.name for router in self.router for index in router.internal_ifindexes}
        core = {
            (router.name, index): neighbour
            for router in self.router
            for neighbour, indexes in router.core.items()
            for index in indexes
        }
        return inside | core

    def leads_out(self, router: str, peer: str, next_hop: str) -> bool:
        """Whether other routers may be given this next hop for a path of this session.

        It must be a next hop of the session's link, whose sessions may share theirs, and mean something elsewhere.
        """
        link = self._usable_next_hops.get((router, next_hop))
        return link is not None and link == self.link_by_session.get((router, peer))

    @cached_property
    def _usable_next_hops(self) -> dict[tuple[str, str], str]:
        hops = self.link_by_next_hop
        return {(router, hop): link for (router, hop), link in hops.items() if not forms.next_hop_is_martian(hop)}

    def session(self, router: str, peer: str) -> Session | None:
        """The eBGP session of `router` with `peer`, or None (an iBGP peer or injector)."""
        sessions = (session for link, session in self._sessions() if (link.router, session.peer) == (router, peer))
        return next(sessions, None)

    def _sessions(self) -> Iterator[tuple[Link, Session]]:
        return ((link, session) for link in self.link for session in link.sessions)


def load_pop(path: Path) -> Pop:
    """Read and check one PoP file; ConfigError lists every mistake in it."""
    problems: list[Problem] = []
    table = parse(numbered(read_toml(path), problems), Pop, problems)
    problems.extend(rules(table))
    if problems:
        raise ConfigError([problem.in_file(path.name) for problem in problems])
    return build(table, Pop)


def check_pop(pop: Pop) -> list[str]:
    """List the mistakes in a PoP that was not read from a file; empty if a file could say the same."""
    problems: list[Problem] = []
    table = parse_again(pop, problems)
    return [str(problem) for problem in (*problems, *rules(table))]
