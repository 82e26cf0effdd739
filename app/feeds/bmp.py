"""pmbmpd's topic: one BMP message of one router per Kafka message (pmacct 1.7.7, no dump configured)."""

import ipaddress
import socket
from contextlib import suppress
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from app.feeds.as_path import read_as_path
from app.feeds.rejected import REASON_CHARS_MAX, RECORD_BYTES_MAX, Rejected, decode_or_rejected
from app.te.routing.lpm import FAMILIES, parse_network
from app.te.routing.path import AS_NUMBERS_KEPT, BARRED_COMMUNITIES, COMMUNITIES_MAX, Origin, Path

ORIGINS: dict[str | int, Origin] = {"i": "igp", "e": "egp", "u": "incomplete", 0: "igp", 1: "egp", 2: "incomplete"}
# Words for communities that decide something here. pmacct prints four others: internet, no-export, no-advertise,
# local-AS; other collectors print these, too.
WELL_KNOWN = {"graceful-shutdown": "65535:0", "llgr-stale": "65535:6", "blackhole": "65535:666"}
UNICAST = 1
UINT32_MAX = 2**32 - 1
INT64_MAX = 2**63 - 1  # a row keeps no larger number, and JSON has no bound
Uint32 = Annotated[int, msgspec.Meta(ge=0, le=UINT32_MAX)]
Uint16 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Octet = Annotated[int, msgspec.Meta(ge=0, le=0xFF)]
Counter = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
WORD_CHARS_MAX = 64  # an address has up to 45 characters, a prefix up to 49, a community up to 32
Word = Annotated[str, msgspec.Meta(max_length=WORD_CHARS_MAX)]
Writer = Annotated[str, msgspec.Meta(max_length=256)]  # pmacct's own limit is 64
SysName = Annotated[str, msgspec.Meta(max_length=0xFFFF)]  # RFC 7854, section 4.4
_CACHED = 1 << 14  # the same peers and next hops occur over and over
REMOVALS = ("withdraw", "delete")
END_OF_RIB = "end-of-rib"  # pmacct 1.7.8
KEY_BYTES_MAX = 1 << 20  # of a record that is only read for the path that it replaces


class RouteKey(msgspec.Struct, frozen=True):
    """The keys of a record that say which session and peer it is of, and which path it replaces."""

    event_type: Word
    bmp_router: Word = ""
    bmp_router_port: Uint16 = 0
    writer_id: Writer = ""
    bmp_msg_type: Word = ""
    log_type: Word = ""
    is_in: Octet = 0
    is_post: Octet = 0
    is_loc: Octet = 0
    is_out: Octet = 0
    safi: Octet = UNICAST
    peer_ip: Word = ""
    peer_type: Octet = 0
    rd: Word = ""
    ip_prefix: Word = ""
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
    def ends_session(self) -> bool:
        """Whether the BMP session ends with this."""
        return self.event_type == "log_close" or self.bmp_msg_type == "term"

    def is_of_peer(self, *kinds: str) -> bool:
        """Whether this is a message of one of these kinds about a peer in the global table."""
        return self.is_global and self.event_type == "log" and self.bmp_msg_type in kinds

    @property
    def is_route(self) -> bool:
        """Whether this is a unicast route of the post-policy Adj-RIB-In: only that RIB shows what a router may use."""
        of_rib = self.is_in == 1 and self.is_post == 1 and not self.is_out and self.safi == UNICAST and self.is_global
        is_message = self.event_type == "log" and self.bmp_msg_type in ("route_monitor", "internal")
        return of_rib and is_message and self.log_type != END_OF_RIB

    @property
    def other_rib(self) -> str | None:
        """The RIB of our neighbours' routes, other than the one that we use, whose unicast route this is."""
        if self.bmp_msg_type != "route_monitor" or self.log_type != "update" or self.safi != UNICAST:
            return None
        if self.is_loc or self.peer_type == 3:
            return "Loc-RIB"
        if not self.is_global or self.is_post:
            return None
        return "pre-policy Adj-RIB-Out" if self.is_out else "pre-policy Adj-RIB-In"


class BmpRecord(RouteKey, frozen=True):
    """One record of pmbmpd: the keys that we use. Which of them are present depends on `bmp_msg_type`."""

    seq: Counter = 0
    bmp_init_info_sysname: SysName | None = None
    peer_asn: Uint32 = 0
    bgp_nexthop: str = ""
    as_path: str | list[Any] = ""
    comms: str | list[str] = ""
    lcomms: str | list[str] = ""
    origin: Word | Octet = "u"
    local_pref: Uint32 | None = None
    med: Uint32 | None = None


class TreatedAsWithdraw(msgspec.Struct, frozen=True):
    """A record that cannot be read, although it is known what it takes away: `withdraw` takes that away.

    RFC 7606, section 2: treat-as-withdraw. The router does not use the old path any more, whatever the new one is; nor
    is a withdrawn path or a peer that is down there because an attribute beside it is wrong.
    """

    withdraw: BmpRecord
    rejected: Rejected


_decoder = msgspec.json.Decoder(BmpRecord)
_key_decoder = msgspec.json.Decoder(RouteKey)


def decode(message: bytes) -> BmpRecord | TreatedAsWithdraw | Rejected:
    """Decode one message; never raises. A route has a canonical prefix, valid addresses and a numeric AS path.

    One that cannot be used is returned as TreatedAsWithdraw if it is known what it takes away, else as a Rejected.
    """
    decoded = decode_or_rejected(_decode, message, RECORD_BYTES_MAX)
    return _unusable(message, decoded) if isinstance(decoded, Rejected) else decoded


def _decode(message: bytes) -> BmpRecord:
    record = _decoder.decode(message)
    if record.is_of_peer("peer_up", "peer_down"):
        canonical(record.peer_ip)
    return _checked_route(record) if record.is_route else record


def _unusable(message: bytes, rejection: Rejected) -> TreatedAsWithdraw | Rejected:
    """A record that cannot be read, if it can be read what it takes away."""
    key = decode_or_rejected(_taken_away, message, KEY_BYTES_MAX)
    if isinstance(key, Rejected):
        return rejection
    if key.ends_session:
        treated = f"treated as the end of the session of {key.bmp_router}: "
    elif key.is_route:
        treated = f"treated as a withdraw of {key.ip_prefix} by {key.peer_ip} at {key.bmp_router}: "
    else:
        treated = f"treated as a peer_down of {key.peer_ip} at {key.bmp_router}: "
    withdraw = BmpRecord(**msgspec.structs.asdict(key))
    return TreatedAsWithdraw(withdraw, Rejected(rejection.raw, (treated + rejection.reason)[:REASON_CHARS_MAX]))


def _taken_away(message: bytes) -> RouteKey:
    """The keys of a record that takes something away; ValueError if they do not say what."""
    key = _key_decoder.decode(message)
    if key.ends_session:
        return key
    if key.is_of_peer("peer_down"):
        canonical(key.peer_ip)
        return key
    if not key.is_route or key.log_type not in ("update", *REMOVALS):
        raise ValueError("it takes nothing away")
    canonical(key.peer_ip)
    return msgspec.structs.replace(key, log_type="withdraw", ip_prefix=canonical_prefix(key.ip_prefix))


def _checked_route(record: BmpRecord) -> BmpRecord:
    """A valid update or removal; ValueError if it is none: any other `log_type` must not pass for a withdraw."""
    canonical(record.peer_ip)
    if record.log_type == "update":
        if not record.bgp_nexthop:
            raise ValueError("bgp_nexthop is empty: pmacct before 1.7.8 does not print those of RFC 8950")
        canonical(record.bgp_nexthop)
        if any(len(word) > WORD_CHARS_MAX for words in (record.comms, record.lcomms) for word in _split(words)):
            raise ValueError(f"a community has more than {WORD_CHARS_MAX} characters")
        try:
            read_as_path(record.as_path)
        except ValueError as error:
            raise ValueError(f"as_path {str(record.as_path)[:80]!r}: {error}") from None
    elif record.log_type not in REMOVALS:
        raise ValueError(f"log_type {record.log_type!r} is neither update nor {' nor '.join(REMOVALS)}")
    prefix = canonical_prefix(record.ip_prefix)
    return record if prefix == record.ip_prefix else msgspec.structs.replace(record, ip_prefix=prefix)


def canonical_prefix(text: str) -> str:
    """The usual spelling of a prefix, without host bits, which mean nothing (RFC 4271, section 4.3).

    ValueError if it is none. `ip_network` alone accepts bare addresses, netmasks and IPv6 zones.
    """
    if _is_canonical(text):
        return text  # ten times as fast as what follows
    _, _, length = text.partition("/")
    if "%" in text or not (length.isascii() and length.isdecimal()):
        raise ValueError(f"{text!r} is not a prefix")
    return str(ipaddress.ip_network(text, strict=False))


def _is_canonical(text: str) -> bool:
    if "." in text and ":" in text:
        return False  # IPv6 with an IPv4 tail, which has two spellings
    try:
        network = parse_network(text)
    except ValueError:
        return False
    packed = network.value.to_bytes(network.bits // 8)
    return f"{socket.inet_ntop(FAMILIES[network.version], packed)}/{network.length}" == text


@lru_cache(_CACHED)
def canonical(text: str) -> str:
    """The usual spelling of an address, IPv4 in IPv6 as IPv4; ValueError if it is none or has an IPv6 zone."""
    if "%" in text:
        raise ValueError(f"{text!r} has an IPv6 zone, which means nothing outside its router")
    address = ipaddress.ip_address(text)
    return str((address.version == 6 and address.ipv4_mapped) or address)


def to_path(record: BmpRecord, own_asn: int, ebgp: bool) -> Path:
    """The path of an update.

    FRR 8.4 prepends its own AS to eBGP paths and leaves local-pref out, so one leading `own_asn` is removed from them.
    """
    numbers, hops, _ = read_as_path(record.as_path)
    if ebgp and numbers[:1] == (own_asn,):
        numbers, hops = numbers[1:], None if hops is None else hops - 1
    if len(numbers) > AS_NUMBERS_KEPT:
        numbers, hops = numbers[:AS_NUMBERS_KEPT], len(numbers) if hops is None else hops
    return Path(
        peer=canonical(record.peer_ip),
        next_hop=canonical(record.bgp_nexthop),
        as_path=numbers,
        origin=ORIGINS.get(record.origin, "incomplete"),
        med=record.med,
        local_pref=record.local_pref,
        communities=_communities(record.comms),
        large_communities=_words(record.lcomms),
        path_id=record.as_path_id,
        ebgp=ebgp,
        hops=hops,
    )


def _communities(value: str | list[str]) -> tuple[str, ...]:
    """Communities as numbers; of too many, those that bar a path come first and are kept."""
    words = list(map(_community, _split(value)))
    if len(words) > COMMUNITIES_MAX:
        words.sort(key=lambda word: word not in BARRED_COMMUNITIES)
    return tuple(words[: COMMUNITIES_MAX + 1])


@lru_cache(_CACHED)
def _community(word: str) -> str:
    """The usual spelling of a community, which is two numbers; a word that is none of those we know stays as it is."""
    if (known := WELL_KNOWN.get(word.lower().replace("_", "-"))) is not None:
        return known
    if ":" not in word:
        with suppress(ValueError):
            number = int(word, 0)
            return f"{number >> 16}:{number & 0xFFFF}" if 0 <= number <= UINT32_MAX else word
    return word


def _words(value: str | list[str]) -> tuple[str, ...]:
    return tuple(_split(value)[: COMMUNITIES_MAX + 1])


def _split(value: str | list[str]) -> list[str]:
    return value.replace(",", " ").split() if isinstance(value, str) else value
