"""The bookkeeping of one cycle: planned loads so far, and the room left on links, on sessions and in budgets."""

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
    """A prefix that could move as a whole: `off_bps` is its load by link now, `targets` the paths it could take.

    A `held` prefix already has an override, so moving it does not add one.
    """

    prefix: str
    off_bps: Mapping[str, float]
    samples: float
    targets: Sequence[Alternate]
    held: bool = False

    @cached_property
    def bps(self) -> float:
        """The load of the prefix on all links, bits per second."""
        return sum(self.off_bps.values())


class Move(msgspec.Struct, frozen=True):
    """The move of a candidate to a target."""

    candidate: Candidate
    target: Alternate


class Ledger:
    """The planned loads so far, and the room left on links, on sessions and in budgets.

    `limit_bps` has only links that may receive traffic, `session_room_bps` only (router, peer) sessions with a cap.
    `untrusted` links may have room, but their figures cannot be trusted.
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
        """The targets with room for the candidate, cheapest first; targets on the link `source` are left out."""
        room_bps, off_bps, bps = self._room_bps, candidate.off_bps, candidate.bps
        fitting = [
            target
            for target in candidate.targets
            if (link := target.exit.link) not in (source, self._barred)
            and bps - off_bps.get(link, 0.0) <= room_bps.get(link, -1.0)
            and bps <= self._session_room_bps.get((target.exit.router, target.exit.peer), bps)
        ]
        return sorted(fitting, key=lambda target: (self._cost[target.exit.link], target.exit.next_hop))

    def shortage(self, candidate: Candidate, source: str) -> str:
        """The reason code why `targets` is empty: UNTRUSTED if any target is on an untrusted link, else NO_ROOM."""
        target_links = {target.exit.link for target in candidate.targets} - {source}
        return UNTRUSTED if target_links & self._untrusted else NO_ROOM

    def room_bps(self, links: Iterable[str]) -> float:
        """The most that any one of these links may still receive, bits per second."""
        return max((self._room_bps.get(link, 0.0) for link in links), default=0.0)

    def headroom_bps(self, link: str) -> float | None:
        """What this link may still receive, bits per second; None if it may not receive anything at all."""
        return self._room_bps.get(link)

    def lack(self, candidate: Candidate, target: Alternate) -> str | None:
        """The reason code that keeps `target` out of `targets`, or None if there is room. For explanations only."""
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
        """Within this context, `link` receives nothing."""
        self._barred = link
        yield
        self._barred = ""

    def affords(self, candidate: Candidate) -> bool:
        """Whether the budgets allow this move."""
        return self._budget.allows(candidate.bps, candidate.held)

    def apply(self, move: Move) -> None:
        """Book a move: its load, its session and its budget."""
        self._book(move, 1)

    def revert(self, move: Move) -> None:
        """Undo a booked move."""
        self._book(move, -1)

    def shift(self, off_bps: Mapping[str, float], onto_bps: Mapping[str, float]) -> None:
        """Shift load from some links to others without booking a move; both arguments are by link id."""
        for sign, loads in ((-1, off_bps), (1, onto_bps)):
            for link, bps in loads.items():
                self.load_bps[link] = self.load_bps.get(link, 0.0) + sign * bps
                if link in self._room_bps:
                    self._room_bps[link] -= sign * bps

    def _book(self, move: Move, sign: int) -> None:
        egress, bps = move.target.exit, move.candidate.bps
        self._budget.spend(bps, move.candidate.held, times=sign)
        off, onto = move.candidate.off_bps, {egress.link: bps}
        if sign > 0:
            self.shift(off, onto)
        else:
            self.shift(onto, off)
        session = egress.router, egress.peer
        if session in self._session_room_bps:
            self._session_room_bps[session] -= sign * bps
