"""A speaker without a daemon, for tests and dry runs; a contract test holds it to the behaviour of the real one."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from app.bgp.speaker import InjectedRoute, check_note
from app.errors import SpeakerError


class MemorySpeaker:
    """A speaker that keeps its routes in `held`, its notes in `noted`, and why it was reset in `resets`.

    While `down` is set, every call fails as with a stopped gobgpd; `lose` acts like a restart of gobgpd. The router
    sends no external paths until `router_sends` says which.
    """

    def __init__(self) -> None:
        self.held: dict[str, InjectedRoute] = {}
        self.noted: dict[str, bytes] = {}
        self.resets: list[str] = []
        self.down = False
        self._external: dict[str, frozenset[str]] | None = None
        self._watchers: set[asyncio.Queue[set[str]]] = set()

    async def probe(self) -> None:
        self._answer("GetBgp")

    async def routes(self) -> dict[str, InjectedRoute]:
        self._answer("ListPath")
        return dict(self.held)

    async def announce(self, routes: Iterable[InjectedRoute]) -> None:
        self._answer("AddPathStream")
        self.held.update({route.prefix: route for route in routes})

    async def withdraw(self, prefixes: Iterable[str]) -> None:
        self._answer("AddPathStream")
        for prefix in prefixes:
            self.held.pop(prefix, None)

    async def reset(self, reason: str) -> None:
        self._answer("ResetPeer")
        self.resets.append(reason)

    async def notes(self) -> dict[str, bytes]:
        self._answer("ListPath")
        return dict(self.noted)

    async def put_note(self, key: str, value: bytes) -> None:
        check_note(key, value)
        self._answer("AddPathStream")
        self.noted[key] = value

    async def remove_note(self, key: str) -> None:
        self._answer("AddPathStream")
        self.noted.pop(key, None)

    async def external_paths(self, prefixes: Iterable[str]) -> dict[str, frozenset[str]]:
        self._answer("ListPath")
        external = self._external
        return {} if external is None else {prefix: external.get(prefix, frozenset()) for prefix in prefixes}

    async def watch_external(self) -> AsyncIterator[set[str]]:
        self._answer("WatchEvent")
        changes: asyncio.Queue[set[str]] = asyncio.Queue()
        changes.put_nowait(set())
        self._watchers.add(changes)
        try:
            while True:
                changed = await changes.get()
                self._answer("WatchEvent")
                yield changed
        finally:
            self._watchers.discard(changes)

    async def close(self) -> None:
        self.down = True

    def router_sends(self, prefix: str, *next_hops: str) -> None:
        """The router now sends external paths with these next hops for a prefix; none are a withdrawal."""
        first = self._external is None
        self._external = (self._external or {}) | {prefix: frozenset(next_hops)}
        self._changed(set() if first else {prefix})

    def router_gone(self) -> None:
        """The session with the router is down: nothing is known of its paths."""
        self._external = None
        self._changed(set())

    def lose(self) -> None:
        """Forget every route and note, as a restart of gobgpd does."""
        self.held.clear()
        self.noted.clear()

    def _changed(self, prefixes: set[str]) -> None:
        for watcher in self._watchers:
            watcher.put_nowait(prefixes)

    def _answer(self, call: str) -> None:
        if self.down:
            raise SpeakerError(f"memory speaker: {call} failed: no connection (it is down)")
