"""A speaker without a daemon, for tests and dry runs; a contract test holds it to the behaviour of the real one."""

from collections.abc import Iterable

from app.bgp.speaker import InjectedRoute
from app.errors import SpeakerError


class MemorySpeaker:
    """A speaker that keeps its routes in `held`.

    While `down` is set, every call fails as with a stopped gobgpd; `lose` acts like a restart of gobgpd.
    """

    def __init__(self) -> None:
        self.held: dict[str, InjectedRoute] = {}
        self.down = False

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

    async def close(self) -> None:
        self.down = True

    def lose(self) -> None:
        """Forget every route, as a restart of gobgpd does."""
        self.held.clear()

    def _answer(self, call: str) -> None:
        if self.down:
            raise SpeakerError(f"memory speaker: {call} failed: no connection (it is down)")
