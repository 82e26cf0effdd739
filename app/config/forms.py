"""The forms of single values in inventory and settings: what each may be, and what to write instead.

A rule takes a value of the right type and returns it, perhaps in another spelling; ValueError says what is wrong with
it, as the rest of a sentence that begins with the value. `Annotated` types below carry the rules (app/config/toml.py).
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import datetime
from math import inf
from typing import Annotated, Any

from msgspec import Meta

from app.config import endpoints
from app.contract.schemas import NAME_MAX

UINT16_MAX, UINT31_MAX, UINT32_MAX = 2**16 - 1, 2**31 - 1, 2**32 - 1
SELF_IFINDEX = 0x3FFFFFFF  # sFlow v5: the packet was made by, or sent to, the device itself
BPS_MIN, BPS_MAX = 1e6, 100e12
EXPONENTS = {"K": 3, "M": 6, "G": 9, "T": 12}
SECONDS_MAX = 10_000_000  # dates far away cannot be written in a record
TOPIC_NAME_MAX = 100  # Kafka's bound is 249; our names stand in those of topics and changelogs
TEXT_MAX = 255
LINK_ID_MAX = NAME_MAX - 112  # ids of records add a prefix, an action, numbers and times to one
WINDOW_MAX_S = 600  # the page keeps half an hour, so three windows
OVERRIDES_MAX = 10_000  # what a decision may have (app/contract/schemas.py), as one record
RESERVED_ASNS = (  # IANA's registry of AS numbers
    (range(1), "is no AS number (RFC 7607); write the neighbour's or your own"),
    (range(23456, 23457), "is AS_TRANS (RFC 6793), which stands for a number of 4 bytes; write that number"),
    (range(65535, 65536), "is reserved (RFC 7300); nobody has it"),
    (range(65552, 131072), "is reserved by IANA; nobody has it"),
    (range(UINT32_MAX, 2**32), "is reserved (RFC 7300); nobody has it"),
)
# gobgpd takes 127/8 as a withdrawal, and FRR resets the session because of it: all its overrides would go for 13 s.
MARTIANS = tuple(map(ipaddress.ip_network, ("127.0.0.0/8", "0.0.0.0/8", "224.0.0.0/3", "::/127", "ff00::/8")))
MAPPED = ipaddress.ip_network("::ffff:0:0/96")
LINK_LOCAL = ipaddress.ip_network("fe80::/10")

Address4or6 = ipaddress.IPv4Address | ipaddress.IPv6Address


def next_hop_is_martian(next_hop: str) -> bool:
    """Whether a router would not take this address as a next hop, or not from another router; ValueError if it is none.

    A link-local next hop means something only to the router whose port it is on.
    """
    address = ipaddress.ip_address(next_hop)
    return any(address in network for network in (*MARTIANS, LINK_LOCAL))


def address(text: str) -> str:
    """A unicast address as pmacct prints it (RFC 5952)."""
    return str(_unicast(text))


def next_hop(text: str) -> str:
    """An address that a neighbour may announce as next hop."""
    parsed = _unicast(text)
    if any(parsed in network for network in MARTIANS):
        raise ValueError("is never a next hop; write the neighbour's address on the link")
    return str(parsed)


def loopback4(text: str) -> str:
    """An IPv4 address that other routers may use as next hop."""
    return _loopback(text, 4)


def loopback6(text: str) -> str:
    """An IPv6 address that other routers may use as next hop."""
    return _loopback(text, 6)


def _loopback(text: str, version: int) -> str:
    parsed = _unicast(text)
    if parsed.version != version:
        raise ValueError(f"is IPv{parsed.version}; write the router's IPv{version} address")
    if next_hop_is_martian(str(parsed)):
        raise ValueError("is no address that another router accepts as a next hop; write the one that iBGP uses")
    return str(parsed)


def _unicast(text: str) -> Address4or6:
    parsed = _parsed(text)
    if parsed.is_unspecified or parsed.is_multicast or parsed == ipaddress.IPv4Address(UINT32_MAX):
        raise ValueError("is not the address of one host")
    return parsed


def _parsed(text: str) -> Address4or6:
    if "%" in text:
        raise ValueError(f"has a zone; write {text.partition('%')[0]!r}")
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"is not an IP address{_instead(text)}") from None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        raise ValueError(f"is an IPv4 address in IPv6; write {str(parsed.ipv4_mapped)!r}")
    if isinstance(parsed, ipaddress.IPv6Address) and 1 < int(parsed) <= UINT32_MAX:
        raise ValueError(f"is of an obsolete form; write {str(ipaddress.IPv4Address(int(parsed)))!r}")
    return parsed


def _instead(text: str) -> str:
    """What to write instead of something that is almost an address."""
    stripped = text.strip()
    with_port = re.fullmatch(r"\[(.+)\]:\d{1,5}|([\d.]+):\d{1,5}", stripped)
    bare, _, length = (with_port[1] or with_port[2] if with_port else stripped.strip("[]")).partition("/")
    if re.fullmatch(r"\d{1,9}(\.\d{1,9}){3}", bare):  # some programs read leading zeros as octal numbers
        bare = ".".join(str(int(part)) for part in bare.split("."))
    try:
        interface = ipaddress.ip_interface(f"{bare}/{length}" if length else bare)
    except ValueError:
        return "; write its digits, not a name" if re.fullmatch(r"[a-zA-Z][\w.-]*", bare) else ""
    if interface.ip == interface.network.network_address and interface.network.num_addresses > 1:
        return "; it is a prefix: write the address of each host"
    address = str(getattr(interface.ip, "ipv4_mapped", None) or interface.ip)
    return f"; write {address!r}" if address != text else ""


def prefix(text: str) -> str:
    """A prefix in canonical form, the only one that the guards read."""
    bare, slash, length = text.partition("/")
    if "%" in text:
        raise ValueError(f"has a zone; write {bare.partition('%')[0] + slash + length!r}")
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("is not a prefix; write ADDRESS/LENGTH") from None
    if not slash:
        raise ValueError(f"has no length; write '{network.network_address}/LENGTH'")
    if isinstance(network, ipaddress.IPv6Network) and (mapped := network.network_address.ipv4_mapped):
        shorter = f"{mapped}/{network.prefixlen - MAPPED.prefixlen}"
        raise ValueError(f"is an IPv4 prefix in IPv6; write {shorter!r}")
    if str(network) != text:
        raise ValueError(f"is not a prefix in canonical form; write {str(network)!r}")
    return text


def own_prefix(text: str) -> str:
    """A prefix that may be ours: none that covers much of the Internet."""
    network = ipaddress.ip_network(prefix(text))
    if network.prefixlen < (8 if network.version == 4 else 16):
        raise ValueError(
            "is too large to be your own; nothing in it would ever be moved: write the prefixes you announce"
        )
    if network.is_multicast or network.is_loopback or network.is_link_local:
        raise ValueError("is not routed between networks; write the prefixes you announce")
    return text


def ifindex(number: int) -> int:
    """An interface of a router (RFC 2863, InterfaceIndex)."""
    if number == SELF_IFINDEX:
        raise ValueError("stands for the device itself in sFlow; write the ifIndex of the port")
    if not 1 <= number <= UINT31_MAX:
        raise ValueError(f"is not an ifIndex; write one from 1 to {UINT31_MAX}, as SNMP shows it")
    return number


def asn(number: int) -> int:
    """An AS number that a network may have."""
    if not 0 <= number <= UINT32_MAX:
        raise ValueError(f"is not an AS number; write one from 1 to {UINT32_MAX}")
    for numbers, why in RESERVED_ASNS:
        if number in numbers:
            raise ValueError(why)
    return number


def asn_instead(raw: Any) -> str | None:
    """An AS number in one piece, for one in text or in two pieces (RFC 5396, asdot)."""
    if isinstance(raw, float):
        return "AS numbers in one piece: of X.Y that is 65536 * X + Y"
    if not isinstance(raw, str) or not (parts := re.fullmatch(r"(?:AS)?(?:(\d{1,5})\.)?(\d{1,10})", raw.strip(), re.I)):
        return None
    return f"{65536 * int(parts[1] or 0) + int(parts[2])}, without quotes"


def bps_instead(raw: Any) -> str | None:
    """Bits per second, for a number with a unit in text."""
    parts = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([kMGT])(?:b|bit|bps|bit/s|b/s)?", str(raw).strip(), re.I)
    return f"{parts[1]}e{EXPONENTS[parts[2].upper()]}, without quotes" if parts else None


def capacity_bps(bps: float) -> float:
    """The capacity of a port or LAG. What is far too small was written in another unit."""
    if not BPS_MIN <= bps <= BPS_MAX:
        raise ValueError(f"is not a capacity in bits per second; for 100 Gb/s write 100e9 ({BPS_MIN:g} to {BPS_MAX:g})")
    return bps


def cap_bps(bps: float) -> float:
    """A limit of a session; 0 lets nothing be moved to it."""
    if bps and not BPS_MIN <= bps <= BPS_MAX:
        raise ValueError("is not a limit in bits per second; for 10 Gb/s write 10e9, or 0 to move nothing there")
    return bps


def cost(value: float) -> float:
    """A cost that can be compared."""
    if not 0 <= value < inf:
        raise ValueError("is not a cost; write 0 or more")
    return value


def name(text: str) -> str:
    """The name of a router: part of ids, in which a slash separates the parts, and of paths."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]*", text) or len(text) > TEXT_MAX:
        raise ValueError("is not a name; write letters, digits, dots, dashes, underscores or colons")
    return text


def topic_name(text: str) -> str:
    """A name that topics, consumer groups and folders may have in theirs."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text) or len(text) > TOPIC_NAME_MAX:
        raise ValueError(
            "cannot be part of a topic's name; write letters, digits, dots, dashes or underscores,"
            f" at most {TOPIC_NAME_MAX}"
        )
    return text


def text(value: str) -> str:
    """Something that people can read and that is not empty."""
    if not value.strip() or value != value.strip() or not value.isprintable() or len(value) > TEXT_MAX:
        raise ValueError("is empty, too long or has spaces around it; write it as the router shows it")
    return value


def host(text: str) -> str:
    """A name or address by which a request may ask for a server, in lower case."""
    bare = text.strip("[]") if text.startswith("[") else text
    if ":" in bare or re.fullmatch(r"[0-9.]+", bare):
        return address(bare)
    if not re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", bare.lower()):
        raise ValueError("is no name of a host; write it without a scheme, a port or a wildcard")
    return bare.lower()


def header_name(text: str) -> str:
    """The name of an HTTP header."""
    if not re.fullmatch(r"[A-Za-z0-9-]+", text):
        raise ValueError("is no name of a header; write letters, digits and hyphens")
    return text


def public_key(text: str) -> str:
    """The 32 bytes of an Ed25519 public key."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) != 32 or base64.b64encode(decoded).decode() != text:
        raise ValueError("is not a public key; write it as `autopilot keys show FILE` prints it")
    return text


def moment(at: datetime) -> datetime:
    """A time that means the same everywhere."""
    if at.tzinfo is None:
        raise ValueError("has no zone; write it with a Z for UTC, such as 2026-12-01T00:00:00Z")
    return at


def between(low: float, high: float) -> Callable[[Any], Any]:
    """The rule that a number lies between two bounds, both included; nan does not."""
    return _bounded(lambda number: low <= number <= high, f"from {low:.10g} to {high:.10g}")


def above(low: float, high: float) -> Callable[[Any], Any]:
    """The rule that a number is above `low` and not above `high`."""
    return _bounded(lambda number: low < number <= high, f"above {low:.10g}, and at most {high:.10g}")


def _bounded(holds: Callable[[float], bool], bounds: str) -> Callable[[Any], Any]:
    def rule(number: float) -> float:
        if not holds(number):
            raise ValueError(f"is out of range; write a number {bounds}")
        return number

    return rule


def _typed(rule: Callable[[Any], Any]) -> Meta:
    return Meta(extra={"rule": rule})


def _hinted(hint: Callable[[Any], str | None]) -> Meta:
    """What to write instead of a value of another type; None if there is nothing better than the name of the type."""
    return Meta(extra={"hint": hint})


Address = Annotated[str, _typed(address)]
NextHop = Annotated[str, _typed(next_hop)]
Loopback4 = Annotated[str, _typed(loopback4)]
Loopback6 = Annotated[str, _typed(loopback6)]
Prefix = Annotated[str, _typed(prefix)]
OwnPrefix = Annotated[str, _typed(own_prefix)]
IfIndex = Annotated[int, _typed(ifindex), Meta(extra={"kind": "number or name"})]
IfIndexes = Annotated[tuple[IfIndex, ...], Meta(extra={"one_will_do": True})]
Asn = Annotated[int, _typed(asn), _hinted(asn_instead)]
CapacityBps = Annotated[float, _typed(capacity_bps), _hinted(bps_instead)]
CapBps = Annotated[float, _typed(cap_bps), _hinted(bps_instead)]
Cost = Annotated[float, _typed(cost)]
Name = Annotated[str, _typed(name)]
TopicName = Annotated[str, _typed(topic_name)]
Text = Annotated[str, _typed(text)]
Host = Annotated[str, _typed(host)]
HeaderName = Annotated[str, _typed(header_name)]
PublicKey = Annotated[str, _typed(public_key)]
Moment = Annotated[datetime, _typed(moment)]
Grpc = Annotated[str, _typed(endpoints.grpc)]
Broker = Annotated[str, _typed(endpoints.brokers)]
Port = Annotated[int, _typed(between(1, UINT16_MAX))]
PortOrNone = Annotated[int, _typed(between(0, UINT16_MAX))]
Uint16 = Annotated[int, _typed(between(0, UINT16_MAX))]
MarkerAsn = Annotated[int, _typed(between(1, UINT16_MAX - 1))]  # 0 and 65535: well-known communities
Uint32 = Annotated[int, _typed(between(0, UINT32_MAX))]
Overrides = Annotated[int, _typed(between(0, OVERRIDES_MAX))]
BmpSilence = Annotated[float, _typed(between(10, 600))]
AtLeastOne = Annotated[int, _typed(between(1, UINT32_MAX))]
Replicas = Annotated[int, _typed(between(1, 2**15 - 1))]
SessionTimeout = Annotated[float, _typed(between(6, 1800))]  # the bounds of a broker's default configuration
AnswerWait = Annotated[float, _typed(between(10, 300))]
ZeroOrOne = Annotated[int, _typed(between(0, 1))]
Seconds = Annotated[float, _typed(between(0, SECONDS_MAX))]
SecondsAbove0 = Annotated[float, _typed(above(0, SECONDS_MAX))]
WholeSeconds = Annotated[int, _typed(between(0, SECONDS_MAX))]
WholeSecondsAbove0 = Annotated[int, _typed(above(0, SECONDS_MAX))]
WindowLength = Annotated[int, _typed(between(1, WINDOW_MAX_S))]
Share = Annotated[float, _typed(between(0, 1))]
ShareAbove0 = Annotated[float, _typed(above(0, 1))]
Ratio = Annotated[float, _typed(above(1, 1000))]
Length4 = Annotated[int, _typed(between(0, 32))]
Length6 = Annotated[int, _typed(between(0, 128))]
