"""What each router's speaker should hold for one prefix at this moment, so that every step on the way is safe. Pure.

An override sends every router to one exit, and the exit out of a link. A router that is sent to the exit while the
exit has no override of its own makes a loop: the exit's natural way may lead back. So the exit comes first and goes
last, and a route towards a router lives only as long as that router shows, over BMP, a route of ours that leads out.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from app.actuation.bmp_witness import Shown
from app.bgp.speaker import InjectedRoute

RoutesByRouter = Mapping[str, InjectedRoute]  # by router


class PrefixSight(NamedTuple):
    """One prefix as it stands: in the speakers, in the routers' Adj-RIB-In, and in the neighbours' announcements."""

    actual: RoutesByRouter
    shown: Mapping[str, Shown]
    loopbacks: Mapping[str, str]  # loopback -> router
    alive: Callable[[str, str], bool]  # (router, external next hop) -> its path is usable

    def leads_out(self, router: str, next_hop: str, seen: frozenset[str] = frozenset()) -> bool:
        """Traffic that `router` sends to `next_hop` reaches a live external path by routes that routers show."""
        if (onward := self.loopbacks.get(next_hop)) is None:
            return self.alive(router, next_hop)
        if onward in seen or (route := self.shown.get(onward)) is None:
            return False
        return self.leads_out(onward, route.next_hop, seen | {onward})

    def safe(self) -> dict[str, InjectedRoute]:
        """The routes held now that lead out."""
        return {router: route for router, route in self.actual.items() if self.leads_out(router, route.next_hop)}

    def used(self, trust_speakers: bool) -> set[str]:
        """Routers that another router is sent to: by what its speaker holds, or by what it still shows."""
        hops = {(router, route.next_hop) for router, route in self.actual.items()}
        if not trust_speakers:
            hops |= {(router, shown.next_hop) for router, shown in self.shown.items()}
        return {self.loopbacks[hop] for router, hop in hops if self.loopbacks.get(hop, router) != router}

    def shows(self, router: str, route: InjectedRoute) -> bool:
        """The router has this very route, of this epoch."""
        return self.shown.get(router) == Shown(route.next_hop, route.epoch)


def same(one: InjectedRoute | None, other: InjectedRoute) -> bool:
    """Equal but for the decision's number, which a renewal alone does not carry to the routers."""
    if one is None or one.epoch != other.epoch:
        return False
    return one == msgspec.structs.replace(other, large_community=one.large_community)


def to_hold(sight: PrefixSight, want: RoutesByRouter, exit_router: str) -> dict[str, InjectedRoute]:
    """On the way to `want`: the exit at once, the others once the exit shows it; until then they keep what is safe."""
    confirmed = sight.shows(exit_router, want[exit_router])
    safe = sight.safe()
    hold = {router: route for router, route in to_leave(sight).items() if router not in want}
    for router, route in want.items():
        if router == exit_router or confirmed:
            present = sight.actual.get(router)
            hold[router] = present if present is not None and same(present, route) else route
        elif router in safe:
            hold[router] = safe[router]
    return hold


def to_leave(sight: PrefixSight, trust_speakers: bool = False) -> dict[str, InjectedRoute]:
    """On the way to nothing: what is still needed, because another router is sent there and it leads out."""
    used = sight.used(trust_speakers)
    return {router: route for router, route in sight.safe().items() if router in used}


def settled(sight: PrefixSight, want: RoutesByRouter) -> bool:
    """Every router holds and shows its route, and no other router holds one."""
    return sight.actual.keys() == want.keys() and all(
        same(sight.actual[router], route) and sight.shows(router, sight.actual[router])
        for router, route in want.items()
    )
