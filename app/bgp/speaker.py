"""What the actuator asks of a BGP speaker: one per edge router, holding nothing but our overrides."""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from app.te.routing.path import Origin

NO_EXPORT = "65535:65281"


class InjectedRoute(msgspec.Struct, frozen=True):
    """One override as one router receives it: a copy of its source path with our preference and marks.

    `communities` are sorted `AS:value` texts; `large_community` is (our AS, epoch, seq of the decision that set it).
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
    def epoch(self) -> int:
        return self.large_community[1]

    @property
    def seq(self) -> int:
        return self.large_community[2]


class BgpSpeaker(Protocol):
    """Every method may raise SpeakerError within its bounded time; what was applied is then unknown: list again."""

    async def probe(self) -> None:
        """Return when the daemon answers and speaks our version of the API."""

    async def routes(self) -> dict[str, InjectedRoute]:
        """Our routes by prefix, both families; nothing without our marker."""

    async def announce(self, routes: Iterable[InjectedRoute]) -> None:
        """Add or replace; repeating is harmless."""

    async def withdraw(self, prefixes: Iterable[str]) -> None:
        """Remove; a prefix that is not there is no error."""

    async def close(self) -> None:
        """Give up the connection and the right to write; routes stay."""
