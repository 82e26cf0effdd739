"""A BGP speaker that injects routes through a real gobgpd 3."""

from collections.abc import AsyncIterator, Iterable

from app.bgp.client import GobgpClient
from app.bgp.speaker import InjectedRoute
from app.bgp.wire import announcement, our_routes, withdrawal


class GobgpSpeaker:
    """The speaker at `target` (`unix:///path`, or `host:port` on loopback). Our routes are those with `marker`."""

    def __init__(self, target: str, marker: str, timeout_s: float = 2.0) -> None:
        """Call this inside a running event loop."""
        self._client = GobgpClient(target, timeout_s)
        self._marker = marker

    async def probe(self) -> None:
        await self._client.global_config()

    async def routes(self) -> dict[str, InjectedRoute]:
        return our_routes(await self._client.destinations(), self._marker)

    async def announce(self, routes: Iterable[InjectedRoute]) -> None:
        await self._client.send(announcement(route) for route in routes)

    async def withdraw(self, prefixes: Iterable[str]) -> None:
        # Path by path, never DeletePath: without a path, DeletePath removes every local route.
        await self._client.send(withdrawal(prefix) for prefix in prefixes)

    async def notes(self) -> dict[str, bytes]:
        raise NotImplementedError

    async def put_note(self, key: str, value: bytes) -> None:
        raise NotImplementedError

    async def remove_note(self, key: str) -> None:
        raise NotImplementedError

    async def external_paths(self, prefixes: Iterable[str]) -> dict[str, frozenset[str]]:
        raise NotImplementedError

    def watch_external(self) -> AsyncIterator[set[str]]:
        raise NotImplementedError

    async def close(self) -> None:
        await self._client.close()
