"""The network that the benchmark measures with: a PoP of 40 links on four routers, with routes to 20,000 prefixes."""

import json
from collections.abc import Iterator

from tests.faults.traffic import counter_sample

ROUTERS, LINKS_A_ROUTER, PREFIXES = 4, 10, 20_000
LINKS = ROUTERS * LINKS_A_ROUTER
FIRST_IFINDEX = 101
EXITS = 3  # links that announce a prefix; the first has the shortest AS path


def inventory(pop: str, capacity_bps: float) -> str:
    """The PoP as a TOML file, all links alike; `capacity_bps` is that of each link."""
    head = f'name = "{pop}"\nasn = 64512\nown_prefixes = ["198.18.0.0/16"]\n'
    links = [_link(number, capacity_bps) for number in range(LINKS)]
    return "\n".join([head, *[_router(number) for number in range(ROUTERS)], *links])


def link_id(pop: str, link: int) -> str:
    return f"{pop}/r{1 + link // LINKS_A_ROUTER}/{_link_name(link)}"


def agent(link: int) -> str:
    """The sFlow agent address of the router that a link is on."""
    return f"192.0.2.{1 + link // LINKS_A_ROUTER}"


def ifindex(link: int) -> int:
    return FIRST_IFINDEX + link % LINKS_A_ROUTER


def ingress_ifindexes(link: int) -> list[int]:
    """The interfaces by which traffic comes to the router of a link: its own, and one from every other router."""
    router = link // LINKS_A_ROUTER
    return [1, *(2 + other for other in range(ROUTERS) if other != router)]


def exits(prefix: int) -> list[int]:
    """The links that announce a prefix, the natural one first; spread so that the alternates are on other routers."""
    home = prefix * 7 % LINKS
    return [(home + step * (LINKS_A_ROUTER + 1)) % LINKS for step in range(EXITS)]


def origin_asn(prefix: int) -> int:
    """The AS behind ten prefixes on average, as in the Internet, and so with the same paths by every peer."""
    return 4_200_000_000 + prefix // (10 * LINKS) * LINKS + prefix % LINKS


def network_of(prefix: int) -> str:
    return f"{20 + (prefix >> 16)}.{prefix >> 8 & 255}.{prefix & 255}.0/24"


def address_in(prefix: int, host: int) -> str:
    return f"{network_of(prefix).removesuffix('.0/24')}.{host}"


def bmp_messages() -> Iterator[bytes]:
    """What pmbmpd writes when all routers come up with all their eBGP peers, and then tell their routes."""
    yield from session_messages()
    for prefix in range(PREFIXES):
        for rank, link in enumerate(exits(prefix)):
            as_path = " ".join([str(peer_asn(link)), *["65000"] * rank, str(origin_asn(prefix))])
            path = {"peer_ip": peer_address(link), "bgp_nexthop": next_hop(link), "as_path": as_path, "origin": "i"}
            route = {"log_type": "update", "is_in": 1, "is_post": 1, "safi": 1, "ip_prefix": network_of(prefix)}
            yield _bmp(link // LINKS_A_ROUTER, "route_monitor", **route, **path)


def session_messages() -> Iterator[bytes]:
    """The beginning of it, without routes."""
    for number in range(ROUTERS):
        yield _bmp(number, "init", bmp_init_info_sysname=f"r{number + 1}")
    for link in range(LINKS):
        yield _bmp(link // LINKS_A_ROUTER, "peer_up", peer_ip=peer_address(link), peer_asn=peer_asn(link))


def peer_down(link: int) -> bytes:
    """The session with all of its routes is gone."""
    return _bmp(link // LINKS_A_ROUTER, "peer_down", peer_ip=peer_address(link), peer_asn=peer_asn(link))


def counters(link: int, at_s: float, octets: int, capacity_bps: float) -> bytes:
    """One counter sample of a link."""
    return counter_sample(agent(link), ifindex(link), at_s, octets, int(capacity_bps))


def _bmp(router: int, kind: str, **more: object) -> bytes:
    session = {"bmp_router": "127.0.0.1", "bmp_router_port": 50000 + router, "writer_id": "default/1"}
    return json.dumps({"event_type": "log", "bmp_msg_type": kind, **session, **more}).encode()


def _router(number: int) -> str:
    others = [other for other in range(ROUTERS) if other != number]
    return f"""
[[router]]
name = "r{number + 1}"
agent_address = "192.0.2.{1 + number}"
loopback4 = "192.0.2.{101 + number}"
loopback6 = "2001:db8:ffff::{101 + number}"
bmp_sysname = "r{number + 1}"
bmp_address = "127.0.0.1"
ibgp_address = "127.0.0.{11 + number}"
injector = {{ address = "127.0.0.{21 + number}", grpc = "127.0.0.1:{50051 + number}" }}
internal_ifindexes = [1]
core = {{ {", ".join(f"r{other + 1} = {2 + other}" for other in others)} }}
igp_cost = {{ {", ".join(f"r{other + 1} = {10 + other}" for other in others)} }}
"""


def _link(number: int, capacity_bps: float) -> str:
    return f"""
[[link]]
name = "{_link_name(number)}"
router = "r{1 + number // LINKS_A_ROUTER}"
kind = "pni"
ifindexes = [{ifindex(number)}]
capacity_bps = {capacity_bps!r}
cost = 0.0
sessions = [{{ peer = "{peer_address(number)}", asn = {peer_asn(number)}, next_hops = ["{next_hop(number)}"] }}]
"""


def _link_name(link: int) -> str:
    return f"et-0/0/{link % LINKS_A_ROUTER}"


def peer_address(link: int) -> str:
    return f"127.0.1.{1 + link}"


def next_hop(link: int) -> str:
    return f"198.51.100.{1 + link}"


def peer_asn(link: int) -> int:
    return 64600 + link
