"""Finds where a packet leaves the PoP by following next hops from router to router through their real tables.

Longest match is by prefix identity: a router that lacks the prefix uses the covering one. Every hop matches again.
"""

from collections.abc import Collection, Sequence
from typing import Literal

import msgspec

from app.config.inventory import Pop
from app.lab.pop.model import RouterTable, Tables

Fate = Literal["link", "black-hole", "loop", "dead-end"]
DeadHops = Collection[tuple[str, str]]  # (router, next hop)


class PacketFate(msgspec.Struct, frozen=True):
    """What becomes of a packet. `link` is where it leaves; for "black-hole", where it would if the hop were alive."""

    fate: Fate
    link: str | None = None


LOOP = PacketFate("loop")
DEAD_END = PacketFate("dead-end")


def trace(
    pop: Pop, tables: Tables, ingress: str, match_order: Sequence[str], dead_hops: DeadHops = frozenset()
) -> PacketFate:
    """The fate of a packet that enters the PoP at router `ingress`.

    `match_order` is its prefix and the prefixes that cover it, longest first. A dead end is a router that has no route,
    or one whose next hop is neither on its links nor a loopback.
    """
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
