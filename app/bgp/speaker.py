"""The interface of a BGP speaker. Each edge router has one, which holds nothing but our overrides."""

from collections.abc import AsyncIterator, Iterable
from typing import Protocol, Self

import msgspec

from app.errors import SpeakerError
from app.te.routing.path import Origin

NO_EXPORT = "65535:65281"
RESET_ABOVE = 1000  # routes: to withdraw more than these at once, the session is ended
IDLE_S = 10  # so long it then stays down at least; ours is set in gobgpd's configuration
NOTE_KEY_MAX_BYTES, NOTE_MAX_BYTES = 16, 1024


class InjectedRoute(msgspec.Struct, frozen=True):
    """One override as one router receives it: a copy of the source path with our local-pref and communities.

    `communities` are `AS:value` texts, sorted. `large_community` is our AS, the end of the route's lease in Unix
    seconds, and 0: on the wire that is when the route was sent, in Unix seconds of the same clock. The lease rides on
    the route, so no restart of anybody makes it longer.
    """

    prefix: str
    next_hop: str
    as_path: tuple[int, ...]
    origin: Origin
    med: int | None
    local_pref: int
    communities: tuple[str, ...]
    large_community: tuple[int, int, int]

    @property
    def lease_end_s(self) -> int:
        """When this route has to be gone unless it is announced again, in Unix seconds."""
        return self.large_community[1]

    def leased_until(self, lease_end_s: int) -> Self:
        """The same route with another end of its lease."""
        asn, _, rest = self.large_community
        return msgspec.structs.replace(self, large_community=(asn, lease_end_s, rest))


class BgpSpeaker(Protocol):
    """A BGP daemon that holds our routes.

    Every method but `watch_external` ends within a bounded time, which grows with the work, and may raise SpeakerError.
    What was applied is then unknown until it is read again.
    """

    async def probe(self) -> None:
        """Return when the daemon answers and speaks our version of the API."""

    async def routes(self) -> dict[str, InjectedRoute]:
        """Return the routes that carry our marker, by prefix, of both families."""

    async def announce(self, routes: Iterable[InjectedRoute]) -> None:
        """Add these routes, or replace those with the same prefix; repeating a call is harmless."""

    async def withdraw(self, prefixes: Iterable[str]) -> None:
        """Remove our routes for these prefixes; a prefix that is not there is no error."""

    async def reset(self, reason: str) -> None:
        """End the session with the router, which then drops all our routes at once.

        It comes back by itself after IDLE_S or later, with what is held then. The router logs the reason.
        """

    async def notes(self) -> dict[str, bytes]:
        """Return the notes that stand in the daemon, by key. They are sent to no router and end with the daemon."""

    async def put_note(self, key: str, value: bytes) -> None:
        """Write a note, or replace the one with this key: the last writer wins. SpeakerError if it is too long."""

    async def remove_note(self, key: str) -> None:
        """Remove a note; a key that is not there is no error."""

    async def external_paths(self, prefixes: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return the next hops of the paths from eBGP neighbours that the router itself sends us, by prefix.

        Empty means that the router has none. A prefix is left out when that cannot be known: the session with the
        router is down, has not sent everything yet, or has no ADD-PATH in this family.
        """

    def watch_external(self) -> AsyncIterator[set[str]]:
        """Yield the prefixes whose external paths were announced or withdrawn, of both families, until cancelled.

        An empty set means that any may have changed: it comes first, when the router has sent everything, and when the
        session with it goes. Raises SpeakerError when the daemon goes away.
        """

    async def close(self) -> None:
        """Give up the connection and the right to write; the routes stay in the daemon."""


def check_note(key: str, value: bytes) -> None:
    """Refuse a note that does not fit: SpeakerError."""
    if not 0 < len(key.encode()) <= NOTE_KEY_MAX_BYTES:
        raise SpeakerError(f"note {key[:40]!r}: a key has 1 to {NOTE_KEY_MAX_BYTES} bytes")
    if len(value) > NOTE_MAX_BYTES:
        raise SpeakerError(f"note {key!r}: {len(value)} bytes, at most {NOTE_MAX_BYTES} fit")
