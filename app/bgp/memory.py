"""The speaker without a daemon, for tests and dry runs; the contract test holds it to the real one's behaviour."""

from collections.abc import Iterable

from app.bgp.speaker import InjectedRoute
from app.errors import SpeakerError


class MemorySpeaker:
    """Holds routes in `held`. While `down`, every call fails as against a stopped gobgpd; `lose` is its restart."""

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
        """What a restart of gobgpd does: nothing is kept."""
        self.held.clear()

    def _answer(self, call: str) -> None:
        if self.down:
            raise SpeakerError(f"memory speaker: {call} failed, unavailable: it is down")
