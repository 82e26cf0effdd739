"""pmbmpd's topic: one BMP message of one router per Kafka message (pmacct 1.7.7, no dump configured)."""

import ipaddress
import socket
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from app.feeds.rejected import RECORD_BYTES_MAX, Rejected, decode_or_rejected
from app.te.routing.lpm import FAMILIES, parse_network
from app.te.routing.path import Origin, Path

ORIGINS: dict[str, Origin] = {"i": "igp", "e": "egp", "u": "incomplete"}
UNICAST = 1
UINT32_MAX = 2**32 - 1
Uint32 = Annotated[int, msgspec.Meta(ge=0, le=UINT32_MAX)]
_CACHED = 1 << 14  # the same peers, next hops and AS paths occur over and over
REMOVALS = ("withdraw", "delete")


class BmpRecord(msgspec.Struct, frozen=True):
    """One record of pmbmpd: the keys that we use. Which of them are present depends on `bmp_msg_type`."""

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
        """The id of the BMP session. Two routers on one host may share an address, so port and writer belong to it."""
        return f"{self.writer_id}|{self.bmp_router}|{self.bmp_router_port}"

    @property
    def is_route(self) -> bool:
        """Whether this is a unicast route of the post-policy Adj-RIB-In: only that RIB shows what a router may use."""
        of_rib = self.is_in == 1 and self.is_post == 1 and self.safi == UNICAST and not self.rd
        return of_rib and self.bmp_msg_type in ("route_monitor", "internal")


_decoder = msgspec.json.Decoder(BmpRecord)


def decode(message: bytes) -> BmpRecord | Rejected:
    """Decode one message; never raises. A route has a canonical prefix, valid addresses and a numeric AS path.

    A message that cannot be used is returned as a Rejected.
    """
    return decode_or_rejected(_decode, message, RECORD_BYTES_MAX)


def _decode(message: bytes) -> BmpRecord:
    record = _decoder.decode(message)
    if record.is_route or record.bmp_msg_type in ("peer_up", "peer_down"):
        _check_address(record.peer_ip)
    if record.is_route:
        _check_route(record)
    return record


def _check_route(record: BmpRecord) -> None:
    """ValueError unless this is a valid update or removal: any other `log_type` must not pass for a withdraw."""
    _check_prefix(record.ip_prefix)
    if record.log_type == "update":
        _check_address(record.bgp_nexthop)
        try:
            numbers = as_numbers(record.as_path)
        except ValueError:
            raise ValueError(f"as_path {record.as_path!r} is not a list of AS numbers") from None
        if numbers and not 0 <= min(numbers) <= max(numbers) <= UINT32_MAX:
            raise ValueError(f"as_path {record.as_path!r} has an AS number that does not fit 32 bits")
    elif record.log_type not in REMOVALS:
        raise ValueError(f"log_type {record.log_type!r} is neither update nor {' nor '.join(REMOVALS)}")


def _check_prefix(text: str) -> None:
    """ValueError if the prefix is not canonical. `ip_network` alone accepts bare addresses, netmasks and IPv6 zones."""
    if "." not in text or ":" not in text:  # else it is IPv6 with an IPv4 tail, which has two spellings
        network = parse_network(text)
        packed = network.value.to_bytes(network.bits // 8)
        if f"{socket.inet_ntop(FAMILIES[network.version], packed)}/{network.length}" == text:
            return  # ten times as fast as the check below
    if "%" in text or str(ipaddress.ip_network(text)) != text:
        raise ValueError(f"{text!r} is not a prefix in canonical form")


@lru_cache(_CACHED)
def _check_address(text: str) -> None:
    if "%" in text:
        raise ValueError(f"{text!r} has an IPv6 zone, which means nothing outside its router")
    ipaddress.ip_address(text)


def to_path(record: BmpRecord, own_asn: int, ebgp: bool, local_pref: int) -> Path:
    """The path of an update; `local_pref` is used if the record has none.

    FRR 8.4 prepends its own AS to eBGP paths and leaves local-pref out, so one leading `own_asn` is removed from them.
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
    """The AS numbers in order, AS sets flattened; ValueError if one is not a number. pmacct 1.7.9 may send an array."""
    return _numbers(as_path) if isinstance(as_path, str) else _numbers(" ".join(map(str, as_path)))


@lru_cache(_CACHED)
def _numbers(as_path: str) -> tuple[int, ...]:
    if as_path.replace(" ", "").isdecimal():
        return tuple(map(int, as_path.split()))
    words = as_path.split()
    return tuple(int(number) for word in words for number in word.strip("{}()[]").replace(",", " ").split())


def _words(value: str | list[str]) -> tuple[str, ...]:
    return tuple(value.split()) if isinstance(value, str) else tuple(value)
