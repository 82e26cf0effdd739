"""The books of one cycle: loads as planned so far, and the room left in links, sessions and budgets."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property

import msgspec

from app.te.decision.guards import Budget
from app.te.evidence.trust import UNTRUSTED
from app.te.routing.natural import Alternate

NO_ROOM = "no-room"
NOT_USABLE = "not-usable"
SESSION_FULL = "session-full"


class Candidate(msgspec.Struct, frozen=True, dict=True):
    """A prefix that could move as a whole: what it loads now, by link, and where else it could go.

    `held` prefixes have an override already, so that moving them adds none.
    """

    prefix: str
    off_bps: Mapping[str, float]
    samples: float
    targets: Sequence[Alternate]
    held: bool = False

    @cached_property
    def bps(self) -> float:
        return sum(self.off_bps.values())


class Move(msgspec.Struct, frozen=True):
    """A candidate on its way to a target."""

    candidate: Candidate
    target: Alternate


class Ledger:
    """Loads as planned so far, and the room left in links, sessions and budgets.

    `limit_bps` names only links that may receive; `session_room_bps` only (router, peer) with a cap; `untrusted` are
    links that might have room, were their figures to be believed.
    """

    def __init__(
        self,
        load_bps: Mapping[str, float],
        limit_bps: Mapping[str, float],
        cost: Mapping[str, float],
        session_room_bps: Mapping[tuple[str, str], float],
        budget: Budget,
        untrusted: frozenset[str] = frozenset(),
    ) -> None:
        self.load_bps = dict(load_bps)
        self._room_bps = {link: bps - load_bps.get(link, 0.0) for link, bps in limit_bps.items()}
        self._cost = cost
        self._session_room_bps = dict(session_room_bps)
        self._budget = budget
        self._untrusted = untrusted
        self._barred = ""

    def targets(self, candidate: Candidate, source: str) -> list[Alternate]:
        """Where the candidate has room, cheapest first; a target on `source` would not help."""
        room_bps, off_bps, bps = self._room_bps, candidate.off_bps, candidate.bps
        fitting = [
            one
            for one in candidate.targets
            if (link := one.exit.link) not in (source, self._barred)
            and bps - off_bps.get(link, 0.0) <= room_bps.get(link, -1.0)
            and bps <= self._session_room_bps.get((one.exit.router, one.exit.peer), bps)
        ]
        return sorted(fitting, key=lambda one: (self._cost[one.exit.link], one.exit.next_hop))

    def shortage(self, candidate: Candidate, source: str) -> str:
        """Why there are no `targets`: no room, or a link among them that cannot be trusted to have some."""
        others = {one.exit.link for one in candidate.targets} - {source}
        return UNTRUSTED if others & self._untrusted else NO_ROOM

    def room_bps(self, links: Iterable[str]) -> float:
        """The most that one of these links may still receive."""
        return max((self._room_bps.get(link, 0.0) for link in links), default=0.0)

    def headroom_bps(self, link: str) -> float | None:
        """What this link may still receive; None where it may receive nothing at all."""
        return self._room_bps.get(link)

    def lack(self, candidate: Candidate, target: Alternate) -> str | None:
        """What keeps `target` out of `targets`, for people: one rule, or None where there is room."""
        egress, off_bps = target.exit, candidate.off_bps.get(target.exit.link, 0.0)
        room_bps = self._room_bps.get(egress.link)
        if room_bps is None:
            return UNTRUSTED if egress.link in self._untrusted else NOT_USABLE
        if candidate.bps - off_bps > room_bps:
            return NO_ROOM
        session_bps = self._session_room_bps.get((egress.router, egress.peer), candidate.bps)
        return SESSION_FULL if candidate.bps > session_bps else None

    @contextmanager
    def without(self, link: str) -> Iterator[None]:
        """For a while, `link` receives nothing."""
        self._barred = link
        yield
        self._barred = ""

    def affords(self, candidate: Candidate) -> bool:
        """Whether the budgets allow this move."""
        return self._budget.allows(candidate.bps, candidate.held)

    def apply(self, move: Move) -> None:
        """Book a move."""
        self._book(move, 1)

    def revert(self, move: Move) -> None:
        """Take back a booked move."""
        self._book(move, -1)

    def shift(self, off_bps: Mapping[str, float], onto_bps: Mapping[str, float]) -> None:
        """Load that goes from some links to others without being a move of ours."""
        for sign, loads in ((-1, off_bps), (1, onto_bps)):
            for link, bps in loads.items():
                self.load_bps[link] = self.load_bps.get(link, 0.0) + sign * bps
                if link in self._room_bps:
                    self._room_bps[link] -= sign * bps

    def _book(self, move: Move, sign: int) -> None:
        egress, bps = move.target.exit, move.candidate.bps
        self._budget.spend(bps, move.candidate.held, times=sign)
        off, onto = move.candidate.off_bps, {egress.link: bps}
        self.shift(off, onto) if sign > 0 else self.shift(onto, off)
        session = egress.router, egress.peer
        if session in self._session_room_bps:
            self._session_room_bps[session] -= sign * bps
