"""pmbmpd's topic: one BMP message of one router per Kafka message (pmacct 1.7.7, no dump configured)."""

import ipaddress
import socket
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from app.feeds.as_path import read_as_path
from app.feeds.rejected import REASON_CHARS_MAX, RECORD_BYTES_MAX, Rejected, decode_or_rejected
from app.te.routing.lpm import FAMILIES, parse_network
from app.te.routing.path import Origin, Path

ORIGINS: dict[str | int, Origin] = {"i": "igp", "e": "egp", "u": "incomplete", 0: "igp", 1: "egp", 2: "incomplete"}
# Words for communities that decide something here. pmacct prints four others: internet, no-export, no-advertise,
# local-AS; other collectors print these, too.
WELL_KNOWN = {"graceful-shutdown": "65535:0", "llgr-stale": "65535:6", "blackhole": "65535:666"}
UNICAST = 1
UINT32_MAX = 2**32 - 1
Uint32 = Annotated[int, msgspec.Meta(ge=0, le=UINT32_MAX)]
_CACHED = 1 << 14  # the same peers and next hops occur over and over
REMOVALS = ("withdraw", "delete")
END_OF_RIB = "end-of-rib"  # pmacct 1.7.8
KEY_BYTES_MAX = 1 << 20  # of a record that is only read for the path that it replaces


class RouteKey(msgspec.Struct, frozen=True):
    """The keys of a record that say which session and peer it is of, and which path it replaces."""

    event_type: str
    bmp_router: str = ""
    bmp_router_port: int = 0
    writer_id: str = ""
    seq: int = 0
    bmp_msg_type: str = ""
    log_type: str = ""
    is_in: int = 0
    is_post: int = 0
    is_loc: int = 0
    is_out: int = 0
    safi: int = UNICAST
    peer_ip: str = ""
    peer_type: int = 0
    rd: str = ""
    ip_prefix: str = ""
    as_path_id: Uint32 = 0

    @property
    def session(self) -> str:
        """The id of the BMP session. Two routers on one host may share an address, so port and writer belong to it."""
        return f"{self.writer_id}|{self.bmp_router}|{self.bmp_router_port}"

    @property
    def is_global(self) -> bool:
        """Whether this is of a peer in the global table, the only one we steer.

        RFC 7854, section 4.2: a peer is its type, distinguisher and address. Types 1 and 2 and distinguishers are of
        VRFs, type 3 is the Loc-RIB (RFC 9069). RFC 8671, section 6.1: peer_up and peer_down are of the BGP session,
        whether or not they are marked as of its Adj-RIB-Out.
        """
        return self.peer_type == 0 and not self.is_loc and not self.rd.strip("0:")

    @property
    def is_route(self) -> bool:
        """Whether this is a unicast route of the post-policy Adj-RIB-In: only that RIB shows what a router may use."""
        of_rib = self.is_in == 1 and self.is_post == 1 and not self.is_out and self.safi == UNICAST and self.is_global
        is_message = self.event_type == "log" and self.bmp_msg_type in ("route_monitor", "internal")
        return of_rib and is_message and self.log_type != END_OF_RIB


class BmpRecord(RouteKey, frozen=True):
    """One record of pmbmpd: the keys that we use. Which of them are present depends on `bmp_msg_type`."""

    bmp_init_info_sysname: str | None = None
    peer_asn: Uint32 = 0
    bgp_nexthop: str = ""
    as_path: str | list[Any] = ""
    comms: str | list[str] = ""
    lcomms: str | list[str] = ""
    origin: str | int = "u"
    local_pref: Uint32 | None = None
    med: Uint32 | None = None


class TreatedAsWithdraw(msgspec.Struct, frozen=True):
    """An update that cannot be read, although the path that it replaces is known: `withdraw` takes that path away.

    RFC 7606, section 2: treat-as-withdraw. The router uses the old path no more, whatever the new one is.
    """

    withdraw: BmpRecord
    rejected: Rejected


_decoder = msgspec.json.Decoder(BmpRecord)
_key_decoder = msgspec.json.Decoder(RouteKey)


def decode(message: bytes) -> BmpRecord | TreatedAsWithdraw | Rejected:
    """Decode one message; never raises. A route has a canonical prefix, valid addresses and a numeric AS path.

    One that cannot be used is returned as TreatedAsWithdraw if it replaces a path that is known, else as a Rejected.
    """
    decoded = decode_or_rejected(_decode, message, RECORD_BYTES_MAX)
    return _unusable(message, decoded) if isinstance(decoded, Rejected) else decoded


def _decode(message: bytes) -> BmpRecord:
    record = _decoder.decode(message)
    if record.is_route or (record.is_global and record.bmp_msg_type in ("peer_up", "peer_down")):
        canonical(record.peer_ip)
    if record.is_route:
        _check_route(record)
    return record


def _unusable(message: bytes, rejection: Rejected) -> TreatedAsWithdraw | Rejected:
    """An update that cannot be read, if it can be read which path it replaces."""
    key = decode_or_rejected(_replaced, message, KEY_BYTES_MAX)
    if isinstance(key, Rejected):
        return rejection
    withdraw = BmpRecord(**(msgspec.structs.asdict(key) | {"log_type": "withdraw"}))
    treated = f"treated as a withdraw of {key.ip_prefix} by {key.peer_ip} at {key.bmp_router}: "
    return TreatedAsWithdraw(withdraw, Rejected(rejection.raw, (treated + rejection.reason)[:REASON_CHARS_MAX]))


def _replaced(message: bytes) -> RouteKey:
    """The keys of an update; ValueError if they do not say which path it replaces."""
    key = _key_decoder.decode(message)
    if not key.is_route or key.log_type != "update":
        raise ValueError("no update of a route")
    canonical(key.peer_ip)
    _check_prefix(key.ip_prefix)
    return key


def _check_route(record: BmpRecord) -> None:
    """ValueError unless this is a valid update or removal: any other `log_type` must not pass for a withdraw."""
    _check_prefix(record.ip_prefix)
    if record.log_type == "update":
        if not record.bgp_nexthop:
            raise ValueError("bgp_nexthop is empty: pmacct before 1.7.8 does not print those of RFC 8950")
        canonical(record.bgp_nexthop)
        try:
            read_as_path(record.as_path)
        except ValueError as error:
            raise ValueError(f"as_path {str(record.as_path)[:80]!r}: {error}") from None
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
def canonical(text: str) -> str:
    """The usual spelling of an address, IPv4 in IPv6 as IPv4; ValueError if it is none or has an IPv6 zone."""
    if "%" in text:
        raise ValueError(f"{text!r} has an IPv6 zone, which means nothing outside its router")
    address = ipaddress.ip_address(text)
    return str((address.version == 6 and address.ipv4_mapped) or address)


def to_path(record: BmpRecord, own_asn: int, ebgp: bool, local_pref: int) -> Path:
    """The path of an update; `local_pref` is used if the record has none.

    FRR 8.4 prepends its own AS to eBGP paths and leaves local-pref out, so one leading `own_asn` is removed from them.
    """
    numbers, hops = read_as_path(record.as_path)
    if ebgp and numbers[:1] == (own_asn,):
        numbers, hops = numbers[1:], None if hops is None else hops - 1
    return Path(
        peer=canonical(record.peer_ip),
        next_hop=canonical(record.bgp_nexthop),
        as_path=numbers,
        origin=ORIGINS.get(record.origin, "incomplete"),
        med=record.med,
        local_pref=local_pref if record.local_pref is None else record.local_pref,
        communities=_communities(record.comms),
        large_communities=_words(record.lcomms),
        path_id=record.as_path_id,
        ebgp=ebgp,
        hops=hops,
    )


def _communities(value: str | list[str]) -> tuple[str, ...]:
    words = _words(value)
    return words if WELL_KNOWN.keys().isdisjoint(words) else tuple(WELL_KNOWN.get(word, word) for word in words)


def _words(value: str | list[str]) -> tuple[str, ...]:
    return tuple(value.split()) if isinstance(value, str) else tuple(value)
