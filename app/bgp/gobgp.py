"""A BGP speaker that injects routes through a real gobgpd, GoBGP 3 or 4."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from app.bgp.calls import DEADLINE, Deadline
from app.bgp.client import GobgpClient
from app.bgp.dialect import PeerEvent
from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.speaker import InjectedRoute, check_note
from app.bgp.tls import Tls
from app.bgp.wire import (
    FAMILIES,
    NOTES,
    UNICAST,
    RouteReader,
    families_with_all_paths,
    has_sent_all,
    is_established,
    note,
    notes,
    prefix_of,
)
from app.clock import Clock, SystemClock
from app.errors import SpeakerError

END_OF_RIB_EVERY_S = 1.0


class GobgpSpeaker:
    """The speaker at `target` (`unix:///path` or `host:port`). Our routes are those with `marker`.

    `router` is the address of its session with the edge router; it may be left out if there is no other session. Leases
    go by `clock`.
    """

    def __init__(
        self,
        target: str,
        marker: str,
        deadline: Deadline = DEADLINE,
        router: str = "",
        clock: Clock | None = None,
        tls: Tls | None = None,
    ) -> None:
        """Call this inside a running event loop."""
        self._client = GobgpClient(target, deadline, tls)
        self._marker = marker
        self._reader = RouteReader(marker)
        self._router = router
        self._clock = clock or SystemClock()

    async def probe(self) -> None:
        await self._client.global_config()

    async def routes(self) -> dict[str, InjectedRoute]:
        return await self._client.routes(self._reader)

    async def announce(self, routes: Iterable[InjectedRoute]) -> None:
        await self._client.announce(routes, round(self._clock.now_s()))

    async def withdraw(self, prefixes: Iterable[str]) -> None:
        await self._client.withdraw(prefixes)

    async def reset(self, reason: str) -> None:
        await self._client.reset(reason)

    async def notes(self) -> dict[str, bytes]:
        return notes(await self._client.paths(NOTES))

    async def put_note(self, key: str, value: bytes) -> None:
        check_note(key, value)
        await self._client.send([note(await self._client.dialect(), key, value)])

    async def remove_note(self, key: str) -> None:
        await self._client.send([note(await self._client.dialect(), key, None)])

    async def external_paths(self, prefixes: Iterable[str]) -> dict[str, frozenset[str]]:
        asked = list(prefixes)
        peer = await self._peer()
        next_hops: dict[str, set[str]] = {}
        for family in families_with_all_paths(await self._client.dialect(), peer):
            wanted = [prefix for prefix in asked if family is FAMILIES[":" in prefix]]
            if wanted and has_sent_all(peer, family):
                next_hops |= {prefix: set() for prefix in wanted}
                for path in await self._client.received_paths(peer.conf.neighbor_address, family, wanted):
                    if self._marker not in path.attributes.communities:
                        next_hops[path.prefix].add(path.attributes.next_hop)
        return {prefix: frozenset(hops) for prefix, hops in next_hops.items()}

    async def watch_external(self) -> AsyncIterator[set[str]]:
        yield set()
        while True:
            # A whole table is not told path by path. No event tells of its end.
            while not await self._has_sent_all():
                await asyncio.sleep(END_OF_RIB_EVERY_S)
            async for changed in self._changes():
                yield changed
            yield set()

    async def close(self) -> None:
        await self._client.close()

    async def _changes(self) -> AsyncIterator[set[str]]:
        """As `watch_external`, until the session with the router goes."""
        dialect, router = await self._client.dialect(), (await self._peer()).conf.neighbor_address
        async for event in self._client.watch_received():
            if event.HasField("table"):
                paths = [pb.Path.FromString(packed) for packed in event.table.paths]
                sent = [path for path in paths if path.neighbor_ip == router and path.family.safi == UNICAST]
                if changed := {prefix_of(dialect, path) for path in sent}:
                    yield changed
            elif event.peer.type == PeerEvent.END_OF_INIT:
                yield set()
            elif event.peer.peer.conf.neighbor_address == router and not is_established(event.peer.peer):
                return

    async def _has_sent_all(self) -> bool:
        peer, dialect = await self._peer(), await self._client.dialect()
        families = families_with_all_paths(dialect, peer)
        return bool(families) and all(has_sent_all(peer, family) for family in families)

    async def _peer(self) -> pb.Peer:
        """The session with the router."""
        peers = await self._client.peers(advertised=False)
        found = [peer for peer in peers if self._router in ("", peer.conf.neighbor_address)]
        if len(found) != 1:
            known = ", ".join(sorted(peer.conf.neighbor_address for peer in peers)) or "none"
            wanted = self._router or "exactly one router"
            raise SpeakerError(f"{self._client.target}: needs a session with {wanted}; it has: {known}")
        return found[0]
