"""Which of our routes outlived the lease that they carry. Pure but for the clock."""

from collections.abc import Sequence

from app.bgp.speaker import InjectedRoute
from app.clock import Clock


class Leases:
    """Judges leases: none counts for longer than `lease_s` from when it was first seen, whatever it says."""

    def __init__(self, clock: Clock, lease_s: float, grace_s: float) -> None:
        self._clock = clock
        self._lease_s = lease_s
        self._grace_s = grace_s
        self._seen_s: dict[tuple[str, int], float] = {}

    def ended(self, routes: Sequence[InjectedRoute]) -> list[InjectedRoute]:
        """The routes whose lease ended more than `grace_s` ago. Call it with all routes: others are forgotten."""
        now_s, unix_s = self._clock.monotonic_s(), self._clock.now_s()
        leases = {(route.prefix, route.lease_end_s) for route in routes}
        self._seen_s = {lease: self._seen_s.get(lease, now_s) for lease in leases}
        return [
            route
            for route in routes
            if max(
                unix_s - route.lease_end_s,
                now_s - self._seen_s[route.prefix, route.lease_end_s] - self._lease_s,
            )
            > self._grace_s
        ]
