"""Translation between our routes and GoBGP's messages, in both directions. Pure."""

import ipaddress
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.speaker import InjectedRoute
from app.te.routing.path import Origin

ORIGINS: tuple[Origin, ...] = ("igp", "egp", "incomplete")
FAMILIES = (
    pb.Family(afi=pb.Family.AFI_IP, safi=pb.Family.SAFI_UNICAST),
    pb.Family(afi=pb.Family.AFI_IP6, safi=pb.Family.SAFI_UNICAST),
)
SEGMENT_MAX = 255  # AS numbers: RFC 4271 counts them in one byte, and gobgpd 3.10 does not look before it writes it
# A longer AS path does not fit into a BGP message with its other attributes, and ends gobgpd 3.10. No override may have
# one (app/te/routing/path.py): this is the last line.
AS_PATH_MAX = 900
LOCAL = "<nil>"  # neighbor_ip of a route that was added over gRPC

_TYPES: Mapping[str, type[Message]] = {
    f"type.googleapis.com/apipb.{kind.DESCRIPTOR.name}": kind
    for kind in (
        pb.OriginAttribute,
        pb.AsPathAttribute,
        pb.NextHopAttribute,
        pb.MultiExitDiscAttribute,
        pb.LocalPrefAttribute,
        pb.CommunitiesAttribute,
        pb.LargeCommunitiesAttribute,
        pb.MpReachNLRIAttribute,
    )
}


class BestPath(NamedTuple):
    """The path that a router uses for a prefix; `neighbor_ip` is the neighbour it came from."""

    next_hop: str
    as_path: tuple[int, ...]
    communities: tuple[str, ...]
    local_pref: int | None
    neighbor_ip: str


class Attributes(NamedTuple):
    """The path attributes that we understand; absent ones are None or empty."""

    origin: Origin = "incomplete"
    as_path: tuple[int, ...] = ()
    next_hop: str = ""
    med: int | None = None
    local_pref: int | None = None
    communities: tuple[str, ...] = ()
    large_communities: tuple[tuple[int, int, int], ...] = ()

    @property
    def large_community(self) -> tuple[int, int, int]:
        """The only one that our routes have."""
        return self.large_communities[0] if self.large_communities else (0, 0, 0)


def announcement(route: InjectedRoute, sent_s: int = 0) -> pb.Path:
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
    return _path(route.prefix, [_any(attribute) for attribute in attributes])


def _segments(as_path: Sequence[int]) -> Iterator[pb.AsSegment]:
    """An AS path as sequences, each as long as the message allows."""
    for first in range(0, len(as_path), SEGMENT_MAX):
        numbers = as_path[first : first + SEGMENT_MAX]
        yield pb.AsSegment(type=pb.AsSegment.AS_SEQUENCE, numbers=numbers)


def withdrawal(prefix: str) -> pb.Path:
    """Return the message that withdraws exactly this prefix."""
    path = _path(prefix, [])
    path.is_withdraw = True
    return path


def our_routes(
    destinations: Iterable[pb.Destination], marker: str, in_host_time: bool = False
) -> dict[str, InjectedRoute]:
    """Return the routes that were added over gRPC and carry `marker`, by prefix.

    With `in_host_time` their leases end by the clock of the daemon's host, however far that is from the sender's: as
    long after the daemon took the route as the lease had left when it was sent.
    """
    routes: dict[str, InjectedRoute] = {}
    for destination in destinations:
        for path in destination.paths:
            attributes = read_attributes(path.pattrs)
            if path.neighbor_ip == LOCAL and marker in attributes.communities:
                route = _route(destination.prefix, attributes)
                _, lease_end_s, sent_s = attributes.large_community
                if in_host_time and sent_s:
                    route = route.leased_until(path.age.seconds + lease_end_s - sent_s)
                routes[destination.prefix] = route
    return routes


def changes(paths: Iterable[pb.Path]) -> dict[str, BestPath | None]:
    """Return the new best path of each prefix in an event; None if the router no longer has a path."""
    return {_prefix(path): None if path.is_withdraw else _best(path) for path in paths}


def _prefix(path: pb.Path) -> str:
    nlri = pb.IPAddressPrefix.FromString(path.nlri.value)
    return f"{nlri.prefix}/{nlri.prefix_len}"


def _best(path: pb.Path) -> BestPath:
    seen = read_attributes(path.pattrs)
    return BestPath(seen.next_hop, seen.as_path, seen.communities, seen.local_pref, path.neighbor_ip)


def read_attributes(packed: Iterable[Any]) -> Attributes:
    """Unpack the path attributes that we understand and ignore the others."""
    values: dict[str, typing.Any] = {}
    for item in packed:
        if (kind := _TYPES.get(item.type_url)) is not None:
            values.update(_value(kind.FromString(item.value)))
    return Attributes()._replace(**values)


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
        case _:
            raise AssertionError(f"no reader for {attribute.DESCRIPTOR.full_name}")


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


def _path(prefix: str, attributes: list[Any]) -> pb.Path:
    network = ipaddress.ip_network(prefix)
    nlri = pb.IPAddressPrefix(prefix=str(network.network_address), prefix_len=network.prefixlen)
    return pb.Path(family=FAMILIES[network.version == 6], nlri=_any(nlri), pattrs=attributes)


def _any(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
