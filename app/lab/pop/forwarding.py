"""Where a packet leaves the PoP, given what every router really holds: next hops are followed router by router.

Longest match is by prefix identity: a router that lacks a prefix uses the covering one, on every hop anew.
"""

from collections.abc import Collection, Sequence
from typing import Literal

import msgspec

from app.config.inventory import Pop
from app.lab.pop.model import RouterTable, Tables

Fate = Literal["link", "black-hole", "loop", "dead-end"]
DeadHops = Collection[tuple[str, str]]  # (router, next hop)


class PacketFate(msgspec.Struct, frozen=True):
    """What becomes of a packet. `link` is where it leaves, or would leave if the next hop lived (black-hole)."""

    fate: Fate
    link: str | None = None


LOOP = PacketFate("loop")
DEAD_END = PacketFate("dead-end")


def trace(
    pop: Pop, tables: Tables, ingress: str, match_order: Sequence[str], dead_hops: DeadHops = frozenset()
) -> PacketFate:
    """The fate of a packet that enters at `ingress`; `match_order` is its prefix and those that cover it, longest
    first. A dead end is a router without a route, or with a next hop that is neither its link nor a loopback."""
    router, visited = ingress, set[str]()
    while router not in visited:
        visited.add(router)
        next_hop = _next_hop(tables.get(router, {}), match_order)
        if next_hop is None:
            return DEAD_END
        if link := pop.link_by_next_hop.get((router, next_hop)):
            return PacketFate("black-hole" if (router, next_hop) in dead_hops else "link", link)
        if next_hop not in pop.router_by_loopback:
            return DEAD_END
        router = pop.router_by_loopback[next_hop]
    return LOOP


def _next_hop(table: RouterTable, match_order: Sequence[str]) -> str | None:
    return next((table[prefix].next_hop for prefix in match_order if prefix in table), None)
