"""What the speaker of one router holds, as far as we know, and what it should hold. No I/O."""

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import NamedTuple

import msgspec

from app.actuation.journal import Action
from app.actuation.safe_order import same
from app.bgp.speaker import InjectedRoute
from app.contract.schemas import InjectorStatus

AT_ONCE = 1000  # routes in one announcement: a withdrawal waits for no more than these


class Work(NamedTuple):
    """The changes that bring a speaker to its target; withdrawals go first."""

    withdraw: list[str]
    announce: list[InjectedRoute]


NO_WORK = Work([], [])


class Difference(NamedTuple):
    """A change that a listing of a speaker revealed."""

    action: Action
    route: InjectedRoute
    reason: str


class SpeakerState(msgspec.Struct):
    """The state of one speaker. After a failure `held` is not `certain` until the speaker is listed again.

    `sent` are the prefixes of announcements whose answer did not come: they may be held. `up_since_s` is since when
    the speaker answers, is ours to write to (`owned`) and has its session with the router, in monotonic seconds; inf
    while one of these fails. `guarded`: a reaper looks after it; None if that is not known.
    """

    held: dict[str, InjectedRoute] = {}
    target: dict[str, InjectedRoute] = {}
    sent: set[str] = set()
    differing: set[str] = set()  # prefixes for which the speaker has to change
    confirmed: dict[str, InjectedRoute] = {}  # what the router has shown over BMP, already published
    certain: bool = False
    listed: bool = False
    reachable: bool = False
    owned: bool = False
    holder: str | None = None  # another writer, whose claim to the speaker is in force
    guarded: bool | None = None
    up_since_s: float = inf
    barred_until_s: float = 0.0

    @property
    def work(self) -> Work:
        """The changes to make now. Withdrawals do not wait until it is certain what the speaker holds."""
        if not self.owned or not self.differing:
            return NO_WORK
        withdraw = [prefix for prefix in self.differing if prefix not in self.target]
        if not self.certain:
            return Work(withdraw, [])
        announce = [self.target[prefix] for prefix in self.differing if prefix in self.target]
        return Work(withdraw, announce[:AT_ONCE])

    def status(self) -> InjectorStatus:
        """What others should know of it."""
        return InjectorStatus(
            self.reachable, len(self.held), len(self.target), len(self.confirmed), self.holder, self.guarded
        )

    def aim(self, prefix: str, route: InjectedRoute | None) -> bool:
        """Set the target of one prefix; return whether the speaker has to change for it."""
        if route is None:
            self.target.pop(prefix, None)
        else:
            self.target[prefix] = route
        return self._compare(prefix)

    def take(self, route: InjectedRoute) -> None:
        """The speaker took this route."""
        self.held[route.prefix] = route
        self.sent.discard(route.prefix)
        self._compare(route.prefix)

    def doubt(self, unanswered: Iterable[InjectedRoute]) -> None:
        """The speaker did not answer: what it holds is unknown, and it may hold `unanswered`, too."""
        self.certain = self.reachable = False
        for route in unanswered:
            self.sent.add(route.prefix)
            self._compare(route.prefix)

    def drop(self, prefix: str) -> InjectedRoute | None:
        """Remove a withdrawn prefix from `held` and return its route, if there was one."""
        self.sent.discard(prefix)
        self.confirmed.pop(prefix, None)
        route = self.held.pop(prefix, None)
        self._compare(prefix)
        return route

    def _compare(self, prefix: str) -> bool:
        """Note whether the speaker has to change for a prefix."""
        target = self.target.get(prefix)
        differs = self.held.get(prefix) != target or (target is None and prefix in self.sent)
        if differs:
            self.differing.add(prefix)
        else:
            self.differing.discard(prefix)
        return differs

    def relist(self, routes: Mapping[str, InjectedRoute]) -> list[Difference]:
        """Take over what the speaker really holds; return the differences to what was known."""
        changed = {each for each in self.held.keys() | routes.keys() if self.held.get(each) != routes.get(each)}
        differences = list(self._differences(routes, changed))
        for difference in differences:
            self.confirmed.pop(difference.route.prefix, None)
        changed |= self.sent
        self.held, self.certain, self.listed, self.reachable = dict(routes), True, True, True
        self.sent.clear()
        for prefix in changed:
            self._compare(prefix)
        return differences

    def _differences(self, routes: Mapping[str, InjectedRoute], changed: Iterable[str]) -> Iterator[Difference]:
        for prefix in changed:
            before, now, target = self.held.get(prefix), routes.get(prefix), self.target.get(prefix)
            if now is not None and same(before, now):
                continue  # a renewal whose answer did not come
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
