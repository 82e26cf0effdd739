"""Forwarding trace: follow next hops from every router to an external link, in each step of applying an override.

Routers forward hop by hop, so every router that a packet passes on its way to the exit router looks up the route again.
An override goes to the exit router first and then to the others one by one; each of these states must deliver packets.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

from app.config.inventory import Pop, Router
from app.contract.schemas import Exit
from app.te.routing.natural import NaturalRouting

LOOP = "would-loop"
DEAD_END = "dead-end"


class Igp:
    """The next hop from each router to each other router, by the inventory's IGP costs and core interfaces."""

    def __init__(self, pop: Pop) -> None:
        self._next = {
            (start.name, end): _towards(pop, start, end)
            for start in pop.router
            for end in pop.routers
            if start.name != end
        }

    def next_router(self, start: str, end: str) -> str | None:
        """The neighbour of `start` on the way to `end`; None if the inventory has no path between them."""
        return self._next.get((start, end))

    def order(self, egress: str, holders: Iterable[str]) -> tuple[str, ...]:
        """The order in which `holders` get an override: the exit router `egress` first, then the nearest to it.

        In this order, packets on their way to the exit pass only routers that already have the override.
        """
        others = sorted((self._hops(name, egress), name) for name in holders if name != egress)
        return (egress, *(name for _, name in others))

    def _hops(self, start: str, end: str) -> int:
        here: str | None = start
        for hops in range(len(self._next) + 1):
            if here is None or here == end:
                return hops
            here = self._next.get((here, end))
        return len(self._next)


def _towards(pop: Pop, start: Router, end: str) -> str | None:
    if not start.core:
        return end  # no topology given: every loopback is one hop (or tunnel) away
    costs = {neighbour: _cost(start, neighbour) + _cost(pop.routers[neighbour], end) for neighbour in start.core}
    nearest = min(costs, key=lambda neighbour: (costs[neighbour], neighbour))
    if costs[nearest] < inf:
        return nearest
    return end if end in start.core else None


def _cost(start: Router, end: str) -> float:
    return 0 if start.name == end else start.igp_cost.get(end, inf)


def trace(start: str, exits: Mapping[str, Exit], igp: Igp) -> str:
    """The id of the link by which a packet leaves that enters at router `start`, or LOOP or DEAD_END.

    `exits` is the exit that each router chooses; a router that is missing from it has no route.
    """
    here, visited = start, set[str]()
    while here not in visited:
        visited.add(here)
        egress = exits.get(here)
        if egress is None:
            return DEAD_END
        if egress.router == here:
            return egress.link
        following = igp.next_router(here, egress.router)
        if following is None:
            return DEAD_END
        here = following
    return LOOP


def fault(natural: NaturalRouting, igp: Igp, prefix: str, egress: Exit, inject_on: Sequence[str]) -> str | None:
    """LOOP or DEAD_END if any step of moving `prefix` to `egress` would lose packets, else None.

    `inject_on` are the routers that get the override, in order. Routers that hold no path for the prefix before or
    after are not checked: they never carried its traffic.
    """
    before = natural.exits(prefix)
    for step in range(1, len(inject_on) + 1):
        injected = inject_on[:step]
        exits = natural.exits(prefix, hidden=injected) | dict.fromkeys(injected, egress)
        outcomes = [trace(router, exits, igp) for router in before.keys() | set(inject_on)]
        if LOOP in outcomes:
            return LOOP
        if DEAD_END in outcomes:
            return DEAD_END
    return None
