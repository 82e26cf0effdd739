"""What each router's speaker should hold for one prefix at this moment, so that every step on the way is safe. Pure.

An override sends every router to one exit, and the exit out of a link. If a router is sent to the exit while the exit
has no override of its own, traffic may loop: the exit's natural path may lead back. So the exit comes first and goes
last, and a route towards a router stays only while that router shows, over BMP, a route of ours that leads out.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from app.bgp.speaker import InjectedRoute

RoutesByRouter = Mapping[str, InjectedRoute]  # by router
IsDue = Callable[[InjectedRoute, InjectedRoute], bool]  # present, wanted -> send the other lease


class PrefixSight(NamedTuple):
    """The state of one prefix in the speakers, in the routers' Adj-RIB-In, and in the neighbours' announcements."""

    actual: RoutesByRouter
    shown: Mapping[str, str]  # next hop by router
    loopbacks: Mapping[str, str]  # loopback -> router
    alive: Callable[[str, str], bool]  # (router, external next hop) -> its path is usable

    def leads_out(self, router: str, next_hop: str, seen: frozenset[str] = frozenset()) -> bool:
        """Whether traffic from `router` to `next_hop` reaches a live external path over routes that routers show."""
        if (onward := self.loopbacks.get(next_hop)) is None:
            return self.alive(router, next_hop)
        if onward in seen or (further := self.shown.get(onward)) is None:
            return False
        return self.leads_out(onward, further, seen | {onward})

    def safe(self) -> dict[str, InjectedRoute]:
        """Return the routes in the speakers that lead out of the PoP, by router."""
        return {router: route for router, route in self.actual.items() if self.leads_out(router, route.next_hop)}

    def used(self, trust_speakers: bool) -> set[str]:
        """Return the routers that others are sent to, by what speakers hold and, unless trusted, what routers show."""
        hops = {(router, route.next_hop) for router, route in self.actual.items()}
        if not trust_speakers:
            hops |= set(self.shown.items())
        return {self.loopbacks[hop] for router, hop in hops if self.loopbacks.get(hop, router) != router}

    def shows(self, router: str, route: InjectedRoute) -> bool:
        """Whether the router shows our route with this next hop."""
        return self.shown.get(router) == route.next_hop


def never(present: InjectedRoute, wanted: InjectedRoute) -> bool:
    """No lease is renewed."""
    return False


def same(present: InjectedRoute | None, wanted: InjectedRoute) -> bool:
    """Whether two routes differ at most in the end of their lease."""
    return present is not None and present == wanted.leased_until(present.lease_end_s)


def to_hold(
    sight: PrefixSight, want: RoutesByRouter, exit_router: str, is_due: IsDue = never
) -> dict[str, InjectedRoute]:
    """Return the next safe step towards `want`, by router.

    The exit gets its route at once, the others once the exit shows it; until then they keep what is safe. A route that
    differs only in its lease is left alone unless that `is_due`.
    """
    confirmed = sight.shows(exit_router, want[exit_router])
    safe = sight.safe()
    hold = {router: route for router, route in to_leave(sight).items() if router not in want}
    for router, route in want.items():
        if router == exit_router or confirmed:
            present = sight.actual.get(router)
            hold[router] = present if present and same(present, route) and not is_due(present, route) else route
        elif router in safe:
            hold[router] = safe[router]
    return hold


def to_leave(sight: PrefixSight, trust_speakers: bool = False) -> dict[str, InjectedRoute]:
    """Return the routes to keep on the way to none: those that lead out of a router which others are still sent to."""
    used = sight.used(trust_speakers)
    return {router: route for router, route in sight.safe().items() if router in used}


def settled(sight: PrefixSight, want: RoutesByRouter) -> bool:
    """Whether exactly the routers of `want` hold a route, and each holds and shows the wanted one."""
    return sight.actual.keys() == want.keys() and all(
        same(sight.actual[router], route) and sight.shows(router, sight.actual[router])
        for router, route in want.items()
    )
