"""Translation between our routes and notes and GoBGP's messages, in both directions. Pure."""

import ipaddress
import typing
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from google.protobuf.message import Message

from app.bgp.dialect import Dialect
from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.speaker import NOTE_KEY_MAX_BYTES, InjectedRoute
from app.te.routing.path import Origin

ORIGINS: tuple[Origin, ...] = ("igp", "egp", "incomplete")
UNICAST = 1
FAMILIES = (pb.Family(afi=1, safi=UNICAST), pb.Family(afi=2, safi=UNICAST))  # IPv4 and IPv6
SEGMENT_MAX = 255  # AS numbers: RFC 4271 counts them in one byte, and gobgpd 3.10 does not look before it writes it
# A longer AS path does not fit into a BGP message with its other attributes, and ends gobgpd 3.10. No override may have
# one (app/te/routing/path.py): this is the last line.
AS_PATH_MAX = 900
AS_SEQUENCE = 2
LOCAL = ("<nil>", "")  # neighbor_ip of a route that was added over gRPC, in GoBGP 3 and 4
# Notes are routes of a family that routers do not speak (IPv6 encapsulation, RFC 5512), so none of them is ever sent.
# GoBGP 3.10 takes no routes of its own key-value family over gRPC.
NOTES = pb.Family(afi=2, safi=7)  # a note's key is its address
NOTE_ATTRIBUTE = 255  # reserved for development by RFC 2042
OPTIONAL = 0x80
SENDS, RECEIVES = 2, 1  # bits of the ADD-PATH capability's mode


class BestPath(NamedTuple):
    """The path that a router uses for a prefix; `neighbor_ip` is the neighbour it came from."""

    next_hop: str
    as_path: tuple[int, ...]
    communities: tuple[str, ...]
    local_pref: int | None
    neighbor_ip: str


class Attributes(NamedTuple):
    """The path attributes that we understand; absent ones are None or empty. `note` is one of ours."""

    origin: Origin = "incomplete"
    as_path: tuple[int, ...] = ()
    next_hop: str = ""
    med: int | None = None
    local_pref: int | None = None
    communities: tuple[str, ...] = ()
    large_communities: tuple[tuple[int, int, int], ...] = ()
    note: bytes | None = None

    @property
    def large_community(self) -> tuple[int, int, int]:
        """The only one that our routes have."""
        return self.large_communities[0] if self.large_communities else (0, 0, 0)


class SeenPath(NamedTuple):
    """One path of one prefix in a table. `neighbor_ip` is the neighbour it came from, one of LOCAL if none."""

    prefix: str
    attributes: Attributes
    neighbor_ip: str
    best: bool = False

    @property
    def local(self) -> bool:
        """Whether it was added over gRPC."""
        return self.neighbor_ip in LOCAL


def announcement(dialect: Dialect, route: InjectedRoute, sent_s: int = 0) -> pb.Path:
    """Return the message that announces `route`; GoBGP replaces its route with the same prefix.

    `sent_s` is the time in Unix seconds by the clock that the lease goes by; 0 if that is not known.
    """
    # An empty attribute would reset FRR's session with the injector, and all our routes with it.
    assert route.communities, f"{route.prefix}: every route of ours carries its marker"
    assert len(route.as_path) <= AS_PATH_MAX, f"{route.prefix}: an AS path of {len(route.as_path)} numbers"
    admin, lease_end_s, _ = route.large_community
    attributes: list[Message] = [
        pb.OriginAttribute(origin=ORIGINS.index(route.origin)),
        pb.AsPathAttribute(segments=list(_segments(route.as_path))),
        pb.NextHopAttribute(next_hop=route.next_hop),
        pb.LocalPrefAttribute(local_pref=route.local_pref),
        pb.CommunitiesAttribute(communities=[community_number(text) for text in route.communities]),
        pb.LargeCommunitiesAttribute(
            communities=[pb.LargeCommunity(global_admin=admin, local_data1=lease_end_s, local_data2=sent_s)]
        ),
    ]
    if route.med is not None:
        attributes.append(pb.MultiExitDiscAttribute(med=route.med))
    return _path(dialect, route.prefix, attributes)


def withdrawal(dialect: Dialect, prefix: str) -> pb.Path:
    """Return the message that withdraws exactly this prefix."""
    path = _path(dialect, prefix, [])
    path.is_withdraw = True
    return path


def note(dialect: Dialect, key: str, value: bytes | None) -> pb.Path:
    """Return the message that writes a note under `key`, or removes it if the value is None."""
    address = ipaddress.IPv6Address(key.encode().ljust(NOTE_KEY_MAX_BYTES, b"\0"))
    path = pb.Path(family=NOTES, nlri=dialect.pack(pb.EncapsulationNLRI(address=str(address))))
    if value is None:
        path.is_withdraw = True
        return path
    attributes: tuple[Message, ...] = (
        pb.OriginAttribute(),
        pb.NextHopAttribute(next_hop="::1"),
        pb.UnknownAttribute(flags=OPTIONAL, type=NOTE_ATTRIBUTE, value=value),
    )
    path.pattrs.extend(map(dialect.pack, attributes))
    return path


def notes(paths: Iterable[SeenPath]) -> dict[str, bytes]:
    """Return the notes among these paths, by key."""
    return {
        _note_key(path.prefix): path.attributes.note
        for path in paths
        if path.local and path.attributes.note is not None
    }


def seen(dialect: Dialect, destination: pb.Destination) -> Iterator[SeenPath]:
    """Yield every path of one destination in a listed table."""
    for path in destination.paths:
        yield SeenPath(destination.prefix, read_attributes(dialect, path.pattrs), path.neighbor_ip, path.best)


class RouteReader:
    """Reads our routes, which carry `marker`, from the best paths of a gobgpd.

    With `in_host_time` their leases end by the clock of the daemon's host, however far that is from the sender's: as
    long after the daemon took the route as the lease had left when it was sent. Most paths are as they were the last
    time, byte for byte, and are not unpacked again.
    """

    def __init__(self, marker: str, in_host_time: bool = False) -> None:
        self._marker = marker
        self._in_host_time = in_host_time
        self._known: dict[bytes, InjectedRoute | None] = {}

    def read(self, dialect: Dialect, paths: Iterable[bytes]) -> dict[str, InjectedRoute]:
        """Return the unicast routes among these paths that were added over gRPC and are ours, by prefix."""
        known, self._known = self._known, {}
        for packed in paths:
            self._known[packed] = known[packed] if packed in known else self._route(dialect, packed)
        return {route.prefix: route for route in self._known.values() if route}

    def _route(self, dialect: Dialect, packed: bytes) -> InjectedRoute | None:
        path = pb.Path.FromString(packed)
        if path.neighbor_ip not in LOCAL or path.family.safi != UNICAST:
            return None
        attributes = read_attributes(dialect, path.pattrs)
        if self._marker not in attributes.communities:
            return None
        route = _route(prefix_of(dialect, path), attributes)
        _, lease_end_s, sent_s = attributes.large_community
        if self._in_host_time and sent_s:
            return route.leased_until(path.age.seconds + lease_end_s - sent_s)
        return route


def changes(dialect: Dialect, paths: Iterable[bytes]) -> dict[str, BestPath | None]:
    """Return the new best path of each unicast prefix in an event; None if the router no longer has a path."""
    unpacked = [pb.Path.FromString(packed) for packed in paths]
    return {
        prefix_of(dialect, path): None if path.is_withdraw else _best(dialect, path)
        for path in unpacked
        if path.family.safi == UNICAST
    }


def prefix_of(dialect: Dialect, path: pb.Path) -> str:
    """Return the prefix of a unicast path."""
    nlri = typing.cast(pb.IPAddressPrefix, dialect.unpack(pb.Nlri, path.nlri))
    return f"{nlri.prefix}/{nlri.prefix_len}"


def is_established(peer: pb.Peer) -> bool:
    """Whether the session with this peer is up."""
    return peer.state.session_state == pb.PeerState.ESTABLISHED


def families_with_all_paths(dialect: Dialect, peer: pb.Peer) -> list[pb.Family]:
    """Return the unicast families in which this peer sends us more than its best path (ADD-PATH)."""
    if not is_established(peer):
        return []
    theirs, ours = (_add_path(dialect, packed) for packed in (peer.state.remote_cap, peer.state.local_cap))
    return [each for each in FAMILIES if theirs.get(each.afi, 0) & SENDS and ours.get(each.afi, 0) & RECEIVES]


def has_sent_all(peer: pb.Peer, family: pb.Family) -> bool:
    """Whether this peer has sent its whole table of this family: its End-of-RIB has come (RFC 4724)."""
    return any(
        each.mp_graceful_restart.state.end_of_rib_received for each in peer.afi_safis if each.state.family == family
    )


def _add_path(dialect: Dialect, packed: Iterable[bytes]) -> dict[int, int]:
    """The mode of ADD-PATH by AFI, for unicast."""
    capabilities = [dialect.unpack(pb.Capability, each) for each in packed]
    return {
        each.family.afi: each.mode
        for capability in capabilities
        if isinstance(capability, pb.AddPathCapability)
        for each in capability.tuples
        if each.family.safi == UNICAST
    }


def read_attributes(dialect: Dialect, packed: Iterable[bytes]) -> Attributes:
    """Unpack the path attributes that we understand and ignore the others."""
    values = {name: value for each in packed for name, value in _read(dialect, each)}
    return Attributes(**values)


# Routes share most of their attributes. Those of one IPv6 route alone are pushed out first.
@lru_cache(maxsize=4096)
def _read(dialect: Dialect, packed: bytes) -> tuple[tuple[str, typing.Any], ...]:
    attribute = dialect.unpack(pb.Attribute, packed)
    return tuple(_value(attribute).items()) if attribute else ()


def community_number(text: str) -> int:
    """Return a community such as `64512:911` as its 32-bit number on the wire."""
    high, low = (int(part) for part in text.split(":"))
    return high << 16 | low


def community_text(number: int) -> str:
    """Return a 32-bit community as text, such as `64512:911`."""
    return f"{number >> 16}:{number & 0xFFFF}"


def _value(attribute: Message) -> dict[str, typing.Any]:
    match attribute:
        case pb.OriginAttribute():
            return {"origin": ORIGINS[attribute.origin]}
        case pb.AsPathAttribute():
            return {"as_path": tuple(number for segment in attribute.segments for number in segment.numbers)}
        case pb.NextHopAttribute():
            return {"next_hop": attribute.next_hop}
        case pb.MpReachNLRIAttribute():
            return {"next_hop": attribute.next_hops[0]}
        case pb.MultiExitDiscAttribute():
            return {"med": attribute.med}
        case pb.LocalPrefAttribute():
            return {"local_pref": attribute.local_pref}
        case pb.CommunitiesAttribute():
            return {"communities": tuple(sorted(map(community_text, attribute.communities)))}
        case pb.LargeCommunitiesAttribute():
            large = [
                (community.global_admin, community.local_data1, community.local_data2)
                for community in attribute.communities
            ]
            return {"large_communities": tuple(large)}
        case pb.UnknownAttribute():
            return {"note": attribute.value} if attribute.type == NOTE_ATTRIBUTE else {}
        case _:
            raise AssertionError(f"no reader for {attribute.DESCRIPTOR.full_name}")


def _note_key(address: str) -> str:
    return ipaddress.IPv6Address(address).packed.rstrip(b"\0").decode(errors="replace")


def _segments(as_path: Sequence[int]) -> Iterator[pb.AsSegment]:
    """An AS path as sequences, each as long as the message allows."""
    for first in range(0, len(as_path), SEGMENT_MAX):
        yield pb.AsSegment(type=AS_SEQUENCE, numbers=as_path[first : first + SEGMENT_MAX])


def _best(dialect: Dialect, path: pb.Path) -> BestPath:
    attributes = read_attributes(dialect, path.pattrs)
    return BestPath(
        attributes.next_hop, attributes.as_path, attributes.communities, attributes.local_pref, path.neighbor_ip
    )


def _route(prefix: str, attributes: Attributes) -> InjectedRoute:
    asn, lease_end_s, _ = attributes.large_community
    return InjectedRoute(
        prefix=prefix,
        next_hop=attributes.next_hop,
        as_path=attributes.as_path,
        origin=attributes.origin,
        med=attributes.med,
        local_pref=attributes.local_pref if attributes.local_pref is not None else 100,
        communities=attributes.communities,
        large_community=(asn, lease_end_s, 0),
    )


def _path(dialect: Dialect, prefix: str, attributes: Iterable[Message]) -> pb.Path:
    address, _, length = prefix.partition("/")  # not by ipaddress: it took most of the time of a large withdrawal
    nlri = pb.IPAddressPrefix(prefix=address, prefix_len=int(length))
    return pb.Path(
        family=FAMILIES[":" in prefix],
        nlri=dialect.pack(nlri),
        pattrs=[dialect.pack(attribute) for attribute in attributes],
    )
