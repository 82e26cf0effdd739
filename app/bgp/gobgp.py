"""A BGP speaker that injects routes through a real gobgpd 3."""

from collections.abc import Iterable

from app.bgp.client import GobgpClient
from app.bgp.lock import lock_for
from app.bgp.speaker import InjectedRoute
from app.bgp.wire import announcement, our_routes, withdrawal
from app.clock import Clock, SystemClock


class GobgpSpeaker:
    """The speaker at `target` (`unix:///path`, or `host:port` on loopback). Our routes are those with `marker`.

    Leases go by `clock`.
    """

    def __init__(self, target: str, marker: str, timeout_s: float = 2.0, clock: Clock | None = None) -> None:
        """Call this inside a running event loop; SpeakerError if another process already writes to this gobgpd."""
        self._lock = lock_for(target)
        self._client = GobgpClient(target, timeout_s)
        self._marker = marker
        self._clock = clock or SystemClock()

    async def probe(self) -> None:
        await self._client.global_config()

    async def routes(self) -> dict[str, InjectedRoute]:
        return our_routes(await self._client.destinations(), self._marker)

    async def announce(self, routes: Iterable[InjectedRoute]) -> None:
        sent_s = round(self._clock.now_s())
        await self._client.send(announcement(route, sent_s) for route in routes)

    async def withdraw(self, prefixes: Iterable[str]) -> None:
        # Path by path, never DeletePath: without a path, DeletePath removes every local route.
        await self._client.send(withdrawal(prefix) for prefix in prefixes)

    async def close(self) -> None:
        await self._client.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
