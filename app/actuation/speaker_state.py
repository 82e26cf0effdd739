"""What the speaker of one router holds, as far as we know, and what it should hold. No I/O."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from app.actuation.journal import Action
from app.bgp.speaker import InjectedRoute
from app.contract.schemas import InjectorStatus


class Work(NamedTuple):
    """The changes that bring a speaker to its target; withdrawals go first."""

    withdraw: list[str]
    announce: list[InjectedRoute]


class Difference(NamedTuple):
    """A change that a listing of a speaker revealed."""

    action: Action
    route: InjectedRoute
    reason: str


class SpeakerState(msgspec.Struct):
    """The state of one speaker. After a failure `held` is not `certain` until the speaker is listed again."""

    held: dict[str, InjectedRoute] = {}
    target: dict[str, InjectedRoute] = {}
    confirmed: dict[str, InjectedRoute] = {}  # what the router has shown over BMP, already published
    certain: bool = False
    listed: bool = False
    reachable: bool = False
    barred_until_s: float = 0.0

    @property
    def work(self) -> Work:
        """The changes to make now; none while it is uncertain what the speaker holds."""
        if not self.certain:
            return Work([], [])
        return Work(
            [prefix for prefix in self.held if prefix not in self.target],
            [route for prefix, route in self.target.items() if self.held.get(prefix) != route],
        )

    def status(self) -> InjectorStatus:
        """What others should know of it."""
        return InjectorStatus(self.reachable, len(self.held), len(self.target), len(self.confirmed))

    def aim(self, prefix: str, route: InjectedRoute | None) -> bool:
        """Set the target of one prefix; return whether the speaker has to change for it."""
        if route is None:
            self.target.pop(prefix, None)
        else:
            self.target[prefix] = route
        return self.held.get(prefix) != route

    def drop(self, prefix: str) -> InjectedRoute | None:
        """Remove a withdrawn prefix from `held` and return its route, if there was one."""
        self.confirmed.pop(prefix, None)
        return self.held.pop(prefix, None)

    def relist(self, routes: Mapping[str, InjectedRoute]) -> list[Difference]:
        """Take over what the speaker really holds; return the differences to what was known."""
        differences = list(self._differences(routes))
        for difference in differences:
            self.confirmed.pop(difference.route.prefix, None)
        self.held, self.certain, self.listed, self.reachable = dict(routes), True, True, True
        return differences

    def _differences(self, routes: Mapping[str, InjectedRoute]) -> Iterator[Difference]:
        for prefix in self.held.keys() | routes.keys():
            before, now, target = self.held.get(prefix), routes.get(prefix), self.target.get(prefix)
            if now == before:
                continue
            if now is not None and now == target:
                yield Difference("announced", now, "seen after a failure")
            elif now is not None and not self.listed:
                yield Difference("drift", now, "found at start")
            elif now is not None:
                yield Difference("drift", now, "changed by somebody else" if before else "added by somebody else")
            elif before is not None and target is None:
                yield Difference("withdrawn", before, "seen after a failure")
            elif before is not None:
                yield Difference("drift", before, "missing")
