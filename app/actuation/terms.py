"""The terms on which an override stays: the leases on its routes, when it is given up, and when to look at it again."""

from collections.abc import Mapping
from math import inf

from app.actuation.doubt import Doubt
from app.actuation.leases import renewal_left_s, unwinding_left_s
from app.actuation.overrides import Entry, Overrides
from app.actuation.timing import Timing
from app.bgp.speaker import InjectedRoute
from app.clock import Clock

SHORTER_S = 2.0  # a lease on a route is not made shorter by less
EXIT_LAST_S = 3  # how much longer an exit's lease is than those of the routers that are sent there
Routes = Mapping[str, InjectedRoute]  # by router


class Terms:
    """Computes moments in monotonic seconds. `loopbacks` are the next hops that lead to another router."""

    def __init__(
        self, overrides: Overrides, doubt: Doubt, clock: Clock, timing: Timing, loopbacks: Mapping[str, str]
    ) -> None:
        self._overrides = overrides
        self._doubt = doubt
        self._clock = clock
        self._timing = timing
        self._loopbacks = loopbacks

    def leased(self, entry: Entry, held: Routes) -> Routes:
        """The routes of an override, leased for as long as it may stay; less while its exit's router is doubted.

        A router that is sent to the exit never gets more than the exit has: if nobody renews, that one must go first.
        """
        assert entry.exit is not None, "a decision set the exit"
        exit_router = entry.exit.router
        until_s = self._overrides.unix_s(self._until_s(entry, {}))
        at_exit = held.get(exit_router)
        others_s = until_s if at_exit is None else min(until_s, at_exit.lease_end_s)
        return {
            router: route.leased_until(until_s if router == exit_router else others_s - EXIT_LAST_S)
            for router, route in entry.routes.items()
        }

    def is_due(self, present: InjectedRoute, wanted: InjectedRoute) -> bool:
        """Whether the lease on a route has to be renewed, or made shorter because its exit's router is doubted."""
        if wanted.lease_end_s < present.lease_end_s - SHORTER_S:
            return True
        left_s = present.lease_end_s - self._clock.now_s()
        return wanted.lease_end_s > present.lease_end_s and left_s <= self._renewal_left_s(present.prefix)

    def unwinds_at_s(self, entry: Entry, held: Routes) -> float:
        """When an override is given up, early enough before the end of its lease to withdraw it in order."""
        until_s = self._until_s(entry, held)
        lease_s = self._timing.doubt_lease_s if until_s < entry.lease_until_s else self._timing.lease_s
        return until_s - unwinding_left_s(entry.prefix, lease_s)

    def is_doubted(self, entry: Entry, held: Routes) -> bool:
        """Whether an override ends early because its exit's router is doubted."""
        return self._until_s(entry, held) < entry.lease_until_s

    def next_look_s(self, entry: Entry, held: Routes, confirmed_by_s: float) -> float:
        """When time alone may change what is wanted for a prefix; inf if it cannot."""
        now_s, timing = self._clock.monotonic_s(), self._timing
        if entry.going:
            return max(entry.since_s + timing.confirm_s, now_s + timing.tick_s)
        looks = [self.unwinds_at_s(entry, held)]
        if entry.wanted:
            offset_s = now_s - self._clock.now_s() - self._renewal_left_s(entry.prefix)
            looks += [route.lease_end_s + offset_s for route in held.values()]
            looks.append(inf if entry.is_settled else confirmed_by_s)
            looks.append(entry.copied_s + timing.refresh_s if entry.is_behind else inf)
        if entry.state == "adding":
            looks.append(entry.add_until_s)
        return min((look_s for look_s in looks if look_s > now_s), default=inf) + 0.01

    def _until_s(self, entry: Entry, held: Routes) -> float:
        exits = [router for router, route in held.items() if route.next_hop not in self._loopbacks]
        return min(entry.lease_until_s, self._doubt.until_s([entry.exit.router] if entry.exit is not None else exits))

    def _renewal_left_s(self, prefix: str) -> float:
        return renewal_left_s(prefix, self._timing.lease_s)
