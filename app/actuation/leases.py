"""When the leases that our routes carry are renewed, run out, and have ended. Pure but for the clock."""

from collections.abc import Sequence
from zlib import crc32

from app.bgp.speaker import InjectedRoute
from app.clock import Clock


def renewal_left_s(prefix: str, lease_s: float) -> float:
    """How much of a lease is left when it is renewed: a third to a sixth of it, at a moment of the prefix's own."""
    return lease_s / 6 * (1 + _spread(prefix))


def unwinding_left_s(prefix: str, lease_s: float) -> float:
    """How much of a lease is left when its override is given up: a sixth to a thirtieth of it.

    All overrides that end together are thus withdrawn over that time, in safe order, before the reaper does it.
    """
    return lease_s / 30 * (1 + 4 * _spread(prefix))


def _spread(prefix: str) -> float:
    return crc32(prefix.encode()) % 1000 / 1000


class Leases:
    """Judges leases. What is left of one is looked up once, when it is first seen, and is never more than `lease_s`.

    So neither a step of the clock nor what somebody wrote makes it longer, or shorter.
    """

    def __init__(self, clock: Clock, lease_s: float, grace_s: float) -> None:
        self._clock = clock
        self._lease_s = lease_s
        self._grace_s = grace_s
        self._ends_s: dict[tuple[str, int], float] = {}

    def ended(self, routes: Sequence[InjectedRoute]) -> list[InjectedRoute]:
        """The routes whose lease ended more than `grace_s` ago. Call it with all routes: others are forgotten."""
        now_s, unix_s = self._clock.monotonic_s(), self._clock.now_s()
        ends_s = {}
        for route in routes:
            lease = route.prefix, route.lease_end_s
            left_s = min(route.lease_end_s - unix_s, self._lease_s)
            ends_s[lease] = self._ends_s.get(lease, now_s + left_s)
        self._ends_s = ends_s
        return [route for route in routes if now_s - ends_s[route.prefix, route.lease_end_s] > self._grace_s]
