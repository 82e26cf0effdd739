"""pmbmpd's topic: one BMP message of one router per Kafka message (pmacct 1.7.7, no dump configured)."""

import ipaddress
import socket
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from app.feeds.rejected import Rejected, check_size, rejected
from app.te.routing.lpm import FAMILIES, parse_network
from app.te.routing.path import Origin, Path

ORIGINS: dict[str, Origin] = {"i": "igp", "e": "egp", "u": "incomplete"}
UNICAST = 1
UINT32_MAX = 2**32 - 1
Uint32 = Annotated[int, msgspec.Meta(ge=0, le=UINT32_MAX)]
_CACHED = 1 << 14  # the same peers, next hops and paths come again and again
REMOVALS = ("withdraw", "delete")


class BmpRecord(msgspec.Struct, frozen=True):
    """The keys we use; which of them are there depends on `bmp_msg_type`."""

    event_type: str
    bmp_router: str = ""
    bmp_router_port: int = 0
    writer_id: str = ""
    bmp_msg_type: str = ""
    log_type: str = ""
    bmp_init_info_sysname: str = ""
    is_in: int = 0
    is_post: int = 0
    safi: int = UNICAST
    peer_ip: str = ""
    peer_asn: Uint32 = 0
    ip_prefix: str = ""
    bgp_nexthop: str = ""
    as_path: str | list[Any] = ""
    comms: str | list[str] = ""
    lcomms: str | list[str] = ""
    origin: str = "u"
    local_pref: Uint32 | None = None
    med: Uint32 | None = None
    as_path_id: Uint32 = 0
    rd: str = ""

    @property
    def session(self) -> str:
        """The BMP session: on one host both routers may have the same address, so the port and writer count too."""
        return f"{self.writer_id}|{self.bmp_router}|{self.bmp_router_port}"

    @property
    def is_route(self) -> bool:
        """A unicast route of the post-policy Adj-RIB-In, the only RIB that says what a router may really use."""
        of_rib = self.is_in == 1 and self.is_post == 1 and self.safi == UNICAST and not self.rd
        return of_rib and self.bmp_msg_type in ("route_monitor", "internal")


_decoder = msgspec.json.Decoder(BmpRecord)


def decode(message: bytes) -> BmpRecord | Rejected:
    """One message; routes come with a canonical prefix, valid addresses and a numeric AS path, or as a Bad."""
    try:
        check_size(message)
        record = _decoder.decode(message)
        if record.is_route or record.bmp_msg_type in ("peer_up", "peer_down"):
            _check_address(record.peer_ip)
        if record.is_route:
            _check_route(record)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return rejected(message, error)
    return record


def _check_route(record: BmpRecord) -> None:
    """An update, or one of the two words for its end; anything else must not pass for a withdraw."""
    _check_prefix(record.ip_prefix)
    if record.log_type == "update":
        _check_address(record.bgp_nexthop)
        numbers = as_numbers(record.as_path)
        if numbers and not 0 <= min(numbers) <= max(numbers) <= UINT32_MAX:
            raise ValueError(f"as_path {record.as_path}: an AS number has 32 bits")
    elif record.log_type not in REMOVALS:
        raise ValueError(f"log_type {record.log_type!r} is neither update nor {' nor '.join(REMOVALS)}")


def _check_prefix(text: str) -> None:
    """Canonical, with a length in digits: `ip_network` alone would take a bare address, a netmask or an IPv6 zone."""
    if "." not in text or ":" not in text:  # else there are two ways to write it
        network = parse_network(text)
        packed = network.value.to_bytes(network.bits // 8)
        if f"{socket.inet_ntop(FAMILIES[network.version], packed)}/{network.length}" == text:
            return  # ten times as fast as what follows
    if "%" in text or str(ipaddress.ip_network(text)) != text:
        raise ValueError(f"{text!r} is no canonical prefix")


@lru_cache(_CACHED)
def _check_address(text: str) -> None:
    if "%" in text:
        raise ValueError(f"{text!r}: a zone means nothing outside its router")
    ipaddress.ip_address(text)


def to_path(record: BmpRecord, own_asn: int, ebgp: bool, local_pref: int) -> Path:
    """The path of an update, with `local_pref` where the record has none.

    FRR 8.4 puts its own AS in front on eBGP paths, where one leading own AS is taken off, and leaves local-pref out.
    """
    as_path = as_numbers(record.as_path)
    if ebgp and as_path[:1] == (own_asn,):
        as_path = as_path[1:]
    return Path(
        peer=record.peer_ip,
        next_hop=record.bgp_nexthop,
        as_path=as_path,
        origin=ORIGINS.get(record.origin, "incomplete"),
        med=record.med,
        local_pref=local_pref if record.local_pref is None else record.local_pref,
        communities=_words(record.comms),
        large_communities=_words(record.lcomms),
        path_id=record.as_path_id,
        ebgp=ebgp,
    )


def as_numbers(as_path: str | list[Any]) -> tuple[int, ...]:
    """AS numbers in order, AS sets flattened; pmacct 1.7.9 may send an array."""
    return _numbers(as_path) if isinstance(as_path, str) else _numbers(" ".join(map(str, as_path)))


@lru_cache(_CACHED)
def _numbers(as_path: str) -> tuple[int, ...]:
    if as_path.replace(" ", "").isdecimal():
        return tuple(map(int, as_path.split()))
    words = as_path.split()
    return tuple(int(number) for word in words for number in word.strip("{}()[]").replace(",", " ").split())


def _words(value: str | list[str]) -> tuple[str, ...]:
    return tuple(value.split()) if isinstance(value, str) else tuple(value)
