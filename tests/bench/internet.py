"""A full table as pmbmpd tells it: 5 IPv4 prefixes for each IPv6 one, announced by three transit peers.

Everything about a prefix follows from its number, so that nothing is kept. Prefixes nest as they do in the Internet,
and ten of them on average share an origin, and so their AS path and communities by each peer: 120,000 attribute sets a
peer at 1.2 million prefixes, which come in no order.
"""

import json
from collections.abc import Iterator

from tests.bench import network

PEERS = (11, 22, 33)  # links of different routers; the first router has no transit of its own
FULL = 1_200_000
PREFIXES_A_ORIGIN = 10
BLOCK = 10  # prefixes: a /20 and nine in it, or a /32 and nine /48
V6_EVERY = 6  # of so many blocks one is IPv6
MIX = 2_654_435_761  # Knuth's multiplicative hash


def prefix_of(number: int) -> str:
    """The prefix of a number, canonical."""
    block, place = divmod(number, BLOCK)
    turn, family = divmod(block, V6_EVERY)
    if family == 0:
        wide = f"{0x2400 + turn // 50_000:x}:{1 + turn % 50_000:x}"
        return f"{wide}:{place:x}::/48" if place else f"{wide}::/32"
    first = (0x1000 + 2 * (turn * (V6_EVERY - 1) + family - 1)) << 12
    length, inside = [(20, 0), (21, 0), (22, 2048), *((24, 256 * third) for third in range(3, 10))][place]
    value = first + inside
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.0/{length}"


def address_in(number: int) -> str:
    """An address in the prefix of a number, mostly in no more specific one."""
    base = prefix_of(number).partition("/")[0]
    return f"{base}9" if ":" in base else f"{base.removesuffix('.0')}.9"


def sessions() -> list[bytes]:
    """All routers come up with all their eBGP peers."""
    return list(network.session_messages())


def update(number: int, peer: int, prefixes: int, generation: int = 0) -> bytes:
    """The path of a prefix by the peer at this place of PEERS; another `generation`, another path."""
    origin = number * MIX % 2**32 * max(1, prefixes // PREFIXES_A_ORIGIN) >> 32
    seed = (origin * 40_503 + peer * 65_537 + generation * 7_919) * MIX % 2**32
    asn = network.peer_asn(PEERS[peer])
    hops = [1000 + (seed >> 3 * hop) % 70_000 for hop in range(1 + seed % 4)]
    words = [f"{asn}:{(seed >> 2 * word) % 3000}" for word in range(1 + (seed >> 5) % 5)]
    path = {
        "bgp_nexthop": network.next_hop(PEERS[peer]),
        "as_path": " ".join(map(str, [asn, *hops, 100_000 + origin])),
        "comms": " ".join(words),
        "origin": "i",
        **({"med": seed % 50} if seed & 1 else {}),
    }
    return _route(number, peer, "update", **path)


def withdraw(number: int, peer: int) -> bytes:
    return _route(number, peer, "withdraw")


def peer_down(peer: int) -> bytes:
    return network.peer_down(PEERS[peer])


def dump(prefixes: int) -> Iterator[bytes]:
    """Every peer's table, one peer after the other, as routers do."""
    for peer in range(len(PEERS)):
        for number in range(prefixes):
            yield update(number, peer, prefixes)


def _route(number: int, peer: int, kind: str, **path: object) -> bytes:
    link = PEERS[peer]
    router = link // network.LINKS_A_ROUTER
    prefix = prefix_of(number)
    record = {
        "seq": number,
        "log_type": kind,
        "timestamp": "2026-11-21 09:44:24.702108",
        "is_post": 1,
        "is_in": 1,
        "event_type": "log",
        "afi": 2 if ":" in prefix else 1,
        "safi": 1,
        "ip_prefix": prefix,
        **path,
        "timestamp_arrival": "2026-11-21 09:44:26.122560",
        "bmp_router": "127.0.0.1",
        "bmp_router_port": 50_000 + router,
        "peer_ip": network.peer_address(link),
        "peer_tcp_port": 0,
        "bmp_msg_type": "route_monitor",
        "writer_id": "default/1",
    }
    return json.dumps(record).encode()
