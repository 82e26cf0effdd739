"""What the actuator remembers of one PoP: each prefix with an override, wanted or still present, and its lease. No I/O.

A prefix enters by a decision (adding, then standing) or because a speaker already held it when the actuator started
(unclaimed). It goes when it is released, when its lease ends, when its exit's router is not heard any more or when it
was not confirmed in time (all leaving), or with its source path (lost).
"""

from collections import Counter
from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

import msgspec

from app.actuation.admission import refusal
from app.actuation.damping import Damping
from app.actuation.journal import NOBODYS, Number
from app.actuation.render import render
from app.bgp.speaker import InjectedRoute
from app.clock import Clock
from app.config.inventory import Pop
from app.contract.schemas import Decision, Exit, Override
from app.te.routing.path import Path

EntryState = Literal["unclaimed", "adding", "standing", "leaving", "lost"]
MAXIMUM_PREFIX_SHARE = 0.8  # at its limit a router drops all our routes


class Entry(msgspec.Struct):
    """What the actuator knows of one prefix. Times are monotonic seconds, except `decided_s`.

    `since_s` is when the prefix entered its state, or when a settled one was not settled on every router any more.
    `decided_s` is when the decision was made that first sent it to its present exit, in Unix seconds. `routes` are
    copied from `path`, the live path as it was at `copied_s`.
    """

    prefix: str
    state: EntryState
    reason: str
    lease_until_s: float
    since_s: float
    add_until_s: float = 0.0
    override: Override | None = None
    path: Path | None = None
    copied_s: float = 0.0
    routes: dict[str, InjectedRoute] = {}
    is_settled: bool = False
    is_behind: bool = False  # the live path has other attributes
    is_judged: bool = False  # by the present inventory
    announced: bool = False
    decided_s: float = 0.0
    number: Number = NOBODYS

    @property
    def exit(self) -> Exit | None:
        """Where the decision sends it; None if nobody decided it."""
        return self.override.exit if self.override is not None else None

    @property
    def wanted(self) -> bool:
        """Whether a decision wants this override."""
        return self.state in ("adding", "standing")

    @property
    def going(self) -> bool:
        """Whether this override is being withdrawn."""
        return self.state in ("leaving", "lost")


class Refusal(NamedTuple):
    """Why a move is refused, and the router that is the reason; None if none is."""

    reason: str
    router: str | None = None


class _Terms(NamedTuple):
    """The times of a decision in monotonic seconds, except `made_unix_s`."""

    made_unix_s: float
    add_until_s: float
    lease_until_s: float


class Judge(Protocol):
    """What the entries have to ask about the world."""

    def held(self, prefix: str) -> Mapping[str, InjectedRoute]:
        """Our routes for this prefix in the speakers, by router."""

    def live_path(self, override: Override) -> Path | None:
        """The live path that this override copies; None if there is none."""

    def gate(self, override: Override) -> Refusal | None:
        """Why this override cannot be added or changed now; None if it can."""

    def refused(self, override: Override, number: Number, refusal: Refusal) -> None:
        """Take note that a decided move was refused."""


class Overrides:
    """The entries of one PoP, by prefix. `newest` is the (epoch, seq) of the last decision."""

    def __init__(self, pop: Pop, clock: Clock, lease_s: float) -> None:
        self.pop = pop
        self.entries: dict[str, Entry] = {}
        self.newest = (-1, -1)
        self._clock = clock
        self._lease_s = lease_s
        self._damping = Damping(clock)
        self._routes_at: Counter[str] = Counter()  # by router, while a decision is applied

    def reconfigure(self, pop: Pop) -> None:
        """Go on with another inventory: every override is judged anew when the next decision asks for it."""
        self.pop = pop
        for entry in self.entries.values():
            entry.is_judged = False

    def apply(self, decision: Decision, judge: Judge) -> set[str]:
        """Take over a decision, newer than the last one, and return the prefixes that it changes.

        A renewed lease alone changes nothing yet.
        """
        self.newest = (decision.epoch, decision.seq)
        terms = self._terms(decision)
        self._routes_at = Counter(
            router
            for entry in self.entries.values()
            for router in entry.routes.keys() | judge.held(entry.prefix).keys()
        )
        new, changed = 0, set()
        for override in decision.overrides:
            entry = self.entries.get(override.prefix)
            if entry is not None and entry.wanted and entry.is_judged and _same_move(entry.override, override):
                self._renew(entry, override, terms)
                continue
            changed.add(override.prefix)
            if (refused := self._want(override, terms, judge, new)) is not None:
                judge.refused(override, self.newest, refused)
            elif entry is None:
                new += 1
        named = {override.prefix for override in decision.overrides}
        for released in decision.released:
            if released.prefix not in named and (entry := self.entries.get(released.prefix)) is not None:
                self.leave(entry, f"released: {released.reason}")
                changed.add(released.prefix)
        return changed

    def adopt(self, prefix: str, route: InjectedRoute) -> None:
        """Add an entry for a route that no decision asked for: unless one claims it, it goes when its lease ends."""
        now_s = self._clock.monotonic_s()
        until_s = min(self._monotonic(route.lease_end_s), now_s + self._lease_s)
        self.entries[prefix] = Entry(prefix, "unclaimed", "nobody decided it", until_s, now_s, announced=True)

    def copy(self, entry: Entry, path: Path) -> None:
        """Copy the attributes of the live path to the routes of a wanted entry."""
        assert entry.override is not None, "a decision wants it"
        entry.path, entry.copied_s, entry.is_behind = path, self._clock.monotonic_s(), False
        entry.routes = render(self.pop, entry.override, path, self.unix_s(entry.lease_until_s))

    def leave(self, entry: Entry, reason: str) -> None:
        """Begin to withdraw an override, in safe order."""
        if not entry.going:
            entry.state, entry.reason, entry.since_s = "leaving", reason, self._clock.monotonic_s()

    def lose(self, entry: Entry) -> None:
        """Withdraw an override at once because its source path is gone; no older decision can bring it back."""
        assert entry.exit is not None, "an unclaimed route goes by what its routers show"
        self._damping.lost(entry.prefix, entry.exit)
        entry.state, entry.reason, entry.since_s = "lost", "source-path-lost", self._clock.monotonic_s()

    def wait_again(self) -> None:
        """Restart the time limits of all entries: until now nothing could be done for them."""
        for entry in self.entries.values():
            entry.since_s = self._clock.monotonic_s()

    def _terms(self, decision: Decision) -> _Terms:
        """The times of a decision; no lease is longer than a full one from now."""
        now_s = self._clock.monotonic_s()
        until_s = min(self._monotonic(decision.hold_until.timestamp()), now_s + self._lease_s)
        return _Terms(decision.made_at.timestamp(), self._monotonic(decision.add_until.timestamp()), until_s)

    def _renew(self, entry: Entry, override: Override, terms: _Terms) -> None:
        """Let a decision renew what it wants; a lease never becomes shorter by that."""
        entry.reason, entry.override, entry.number = override.reason, override, self.newest
        entry.add_until_s = max(entry.add_until_s, terms.add_until_s)
        entry.lease_until_s = max(entry.lease_until_s, terms.lease_until_s)

    def _want(self, override: Override, terms: _Terms, judge: Judge, new: int) -> Refusal | None:
        """Add, change or claim one entry; return the reason if refused. A refused change keeps the old route."""
        entry = self.entries.get(override.prefix)
        if (reason := refusal(self.pop, override)) is not None:
            return Refusal(reason)
        if (path := judge.live_path(override)) is None:
            return Refusal("source-path-not-live", override.exit.router)
        if entry is None or entry.going or self._moves(entry, override, judge):
            if self._clock.monotonic_s() > terms.add_until_s:
                return Refusal("too-late")
            if (refused := self._new_move(override, terms, path, judge)) is not None:
                return refused
            if entry is None and (refused := self._over_budget(override, new)) is not None:
                return refused
            entry = self._open(override)
            entry.decided_s = terms.made_unix_s
        elif not entry.wanted:
            entry.state, entry.since_s = "standing", self._clock.monotonic_s()
        self._renew(entry, override, terms)
        self.copy(entry, path)
        entry.is_judged = True
        return None

    def _new_move(self, override: Override, terms: _Terms, path: Path, judge: Judge) -> Refusal | None:
        """Why a prefix may not be sent to this exit, where it is not yet."""
        reason = self._damping.refusal(override.prefix, override.exit, terms.made_unix_s)
        if reason is not None:
            return Refusal(reason, override.exit.router)
        if path.as_path != override.source_path.as_path:
            return Refusal("source-path-differs", override.exit.router)
        return judge.gate(override)

    def _moves(self, entry: Entry, override: Override, judge: Judge) -> bool:
        """Whether an override would change the next hop of some router."""
        if entry.wanted and _same_move(entry.override, override):
            return False
        routes = render(self.pop, override, None, 0)
        current = entry.routes if entry.wanted else judge.held(override.prefix)
        return any(
            router not in current or current[router].next_hop != route.next_hop for router, route in routes.items()
        )

    def _open(self, override: Override) -> Entry:
        """Return the entry of this prefix, new or reset to the state `adding`."""
        now_s = self._clock.monotonic_s()
        entry = self.entries.setdefault(override.prefix, Entry(override.prefix, "adding", "", now_s, now_s))
        entry.state, entry.since_s, entry.is_settled = "adding", now_s, False
        return entry

    def unix_s(self, monotonic_s: float) -> int:
        """A moment in Unix seconds, as it is written on routes."""
        return round(self._clock.now_s() + monotonic_s - self._clock.monotonic_s())

    def _over_budget(self, override: Override, new: int) -> Refusal | None:
        """Why one more prefix is too many; if it is not, count it."""
        if len(self.entries) >= self.pop.budgets.max_overrides:
            return Refusal("budget-overrides")
        if new >= self.pop.budgets.max_new_per_cycle:
            return Refusal("budget-new-per-cycle")
        for router in override.inject_on:
            if self._routes_at[router] + 1 > MAXIMUM_PREFIX_SHARE * self.pop.routers[router].maximum_prefix:
                return Refusal("maximum-prefix", router)
        self._routes_at.update(override.inject_on)
        return None

    def _monotonic(self, wall_s: float) -> float:
        return self._clock.monotonic_s() + wall_s - self._clock.now_s()


def _same_move(before: Override | None, override: Override) -> bool:
    """Whether two overrides of one prefix differ at most in what is measured, and in the path as telemetry saw it."""
    return before is not None and (before.exit, before.inject_on, before.natural) == (
        override.exit,
        override.inject_on,
        override.natural,
    )
